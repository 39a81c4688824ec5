"""The balances and entries of a BAI2 account, from the library's objects."""

from datetime import date
from typing import Any

from bai2.constants import FundsType, TypeCodeTransaction

from billing.statements.canonical import Balance, Detail, Entry, Status
from billing.statements.errors import AmountTooLarge, BadDirection
from billing.statements.money import MAX_MINOR
from billing.statements.references import drop_placeholder

_SIGNS = {TypeCodeTransaction.credit: 1, TypeCodeTransaction.debit: -1}


def balance_of(account: Any, code: str, currency: str, day: date) -> Balance | None:
    """The balance with this type code in the summaries of an account."""
    for summary in account.header.summary_items:
        if summary.type_code and summary.type_code.code == code and summary.amount is not None:
            return Balance(code, summary.amount, currency, day)
    return None


def entry_of(detail: Any, currency: str, as_of: date, position: str) -> Entry:
    """The entry of a record 16; raises BadDirection and AmountTooLarge."""
    code, amount = detail.type_code, detail.amount or 0
    if amount and code.transaction not in _SIGNS:
        raise BadDirection(position, text=f"type code {code.code}")
    if amount > MAX_MINOR:
        raise AmountTooLarge(position, text=str(amount))
    sign = _SIGNS.get(code.transaction, 1)
    minor = sign * amount
    is_value_dated = detail.funds_type is FundsType.value_dated
    return Entry(
        position=position,
        amount_minor=minor,
        currency=currency,
        is_credit=sign > 0,
        status=Status.BOOKED,
        is_reversal=False,
        booking_date=as_of,
        value_date=(detail.availability or {}).get("date") if is_value_dated else None,
        bank_reference=drop_placeholder(detail.bank_reference),
        customer_reference=drop_placeholder(detail.customer_reference),
        type_code=code.code,
        corrects=None,
        note=code.description,
        details=(Detail(minor, currency, remittance=_text_lines(detail)),),
    )


def _text_lines(detail: Any) -> tuple[str, ...]:
    """The text of a record 16, with its 88 lines kept apart: a line may break a word."""
    text = (detail.text or "").removesuffix("/")
    lines = [row.removesuffix("/") for _, row in detail.rows[1:]]
    length = len("".join(lines)) + len(lines)
    first = text[: max(len(text) - length, 0)] if lines else text
    return tuple(line.strip() for line in (first, *lines) if line.strip())
