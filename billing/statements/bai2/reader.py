"""BAI2 by the bai2 library.

Amounts are looked at before the library sees them, control totals counted exactly after it.
"""

import re
from collections.abc import Iterator
from contextlib import suppress
from datetime import date
from typing import Any, BinaryIO

from bai2 import bai2
from bai2.constants import AsOfDateModifier, FundsType, GroupStatus, TypeCodeTransaction
from bai2.exceptions import IntegrityException, NotSupportedYetException, ParsingException

from billing.statements.bai2.checks import check_account, check_sums
from billing.statements.canonical import (
    Account,
    Balance,
    Detail,
    Entry,
    Family,
    HoldReason,
    Statement,
    Status,
)
from billing.statements.draft import Draft
from billing.statements.errors import (
    AmountTooLarge,
    BadDirection,
    BadLine,
    Bai2Refused,
    FileTooLarge,
    Truncated,
)
from billing.statements.limits import MAX_BAI2_BYTES, Budget
from billing.statements.money import MAX_MINOR, currency_exponent
from billing.statements.references import drop_placeholder, plain_iban
from billing.statements.source import guess_encoding, lines_of

# The library's int() takes signs, underscores and every script's digits; an amount of money may
# have none of them.
_DETAIL = re.compile(r"16,[0-9]{3},\+?[0-9]{0,18},.*", re.ASCII | re.DOTALL)
_UNSAFE_NUMBER = re.compile(r"[0-9]_[0-9]|[^\x00-\x7f]")
# Records whose fields are codes and numbers; in 16 only the first are, and in 88 it depends on the
# record before.
_NUMERIC = frozenset({"03", "49", "98", "99"})
_SIGNS = {TypeCodeTransaction.credit: 1, TypeCodeTransaction.debit: -1}
_OPENING, _CLOSING = "010", "015"
_SAME_DAY = {AsOfDateModifier.interim_same_day, AsOfDateModifier.final_same_day}
# What the library raises on a file that it can't read: its own errors, and those of the code in it.
_LIBRARY_ERRORS = (
    ParsingException,
    NotSupportedYetException,
    IntegrityException,
    LookupError,
    ValueError,
    TypeError,
    AttributeError,
    RuntimeError,
    StopIteration,
)


def read_bai2(source: BinaryIO, budget: Budget, name: str | None = None) -> list[Statement]:
    """One statement for each account of each group. Raises the errors of StatementRefused.

    A file whose control totals or counts are wrong is read, and every statement that they cover is
    held.
    """
    if source.seek(0, 2) > MAX_BAI2_BYTES:
        raise FileTooLarge(limit=MAX_BAI2_BYTES)
    source.seek(0)
    encoding, is_doubtful = guess_encoding(source)
    lines, places = _checked_lines(source, encoding)
    file = _parse(lines)
    positions = iter(places)
    drafts = []
    for group in file.children:
        of_group = [
            _read_account(account, group, positions, budget, name) for account in group.children
        ]
        check_sums(
            of_group,
            "98",
            group,
            group.trailer.group_control_total,
            group.trailer.number_of_accounts,
        )
        drafts += of_group
    check_sums(drafts, "99", file, file.trailer.file_control_total, file.trailer.number_of_groups)
    for draft in drafts:
        if is_doubtful:
            draft.hold(
                HoldReason.ENCODING_DOUBT, f"neither UTF-8 nor Windows-1252: read as {encoding}"
            )
    return [draft.finish() for draft in drafts]


def _checked_lines(source: BinaryIO, encoding: str) -> tuple[list[str], list[str]]:
    """The records as lines, and where each record 16 stands.

    Raises BadLine where an amount is no plain number.
    """
    lines, places, kind = [], [], ""
    for number, line in lines_of(source, encoding):
        record = line.strip()
        if not record:
            continue
        position = f"line {number}"
        kind = kind if record.startswith("88") else record[:2]
        if record.startswith("16"):
            if not _DETAIL.fullmatch(record):
                raise BadLine(position, field="record 16", text=record)
            places.append(position)
        elif kind in _NUMERIC and _UNSAFE_NUMBER.search(record):
            raise BadLine(position, field=f"record {kind}", text=record)
        lines.append(record)
    if kind != "99":  # without its last record the library would read the one before it for ever
        raise Truncated(f"behind record {len(lines)}", inside="a BAI2 file")
    return lines, places


def _parse(lines: list[str]) -> Any:
    """The file as the library reads it, its own integrity check made first.

    A file that fails the check is read all the same: what is wrong in it is found again, with the
    exact difference. So is one that passes, for the check leaves the library's rows in disorder.
    """
    try:
        with suppress(IntegrityException):
            bai2.parse_from_lines(lines, check_integrity=True)
        return bai2.parse_from_lines(lines, check_integrity=False)
    except _LIBRARY_ERRORS as error:
        raise Bai2Refused(reason=f"{type(error).__name__}: {error}") from None


def _read_account(
    account: Any, group: Any, positions: Iterator[str], budget: Budget, name: str | None
) -> Draft:
    head, above = account.header, group.header
    number = head.customer_account_number
    budget.spend_statement(f"account {number}")
    currency = (head.currency or above.currency).upper()
    currency_exponent(
        currency, f"account {number}"
    )  # refuses what is no currency; the amounts are minor units already
    iban = plain_iban(number)
    draft = Draft(
        format="BAI2",
        family=Family.REPORT if above.as_of_date_modifier in _SAME_DAY else Family.STATEMENT,
        budget=budget,
        source=name,
        account=Account(
            iban=iban, other=None if iban else number, bank=above.originator_id, currency=currency
        ),
        currency=currency,
        from_date=above.as_of_date,
        to_date=above.as_of_date,
    )
    if above.group_status is not GroupStatus.update:
        draft.hold(
            HoldReason.FAMILY_DOUBT, f"the group is marked {above.group_status.name}, not update"
        )
    draft.opening = _balance(account, _OPENING, currency, above.as_of_date)
    draft.closing = _balance(account, _CLOSING, currency, above.as_of_date)
    for detail in account.children:
        position = next(positions)
        draft.add(_entry(detail, currency, above.as_of_date, position))
    check_account(draft, account)
    return draft


def _balance(account: Any, code: str, currency: str, day: date) -> Balance | None:
    for summary in account.header.summary_items:
        if summary.type_code and summary.type_code.code == code and summary.amount is not None:
            return Balance(code, summary.amount, currency, day)
    return None


def _entry(detail: Any, currency: str, as_of: date, position: str) -> Entry:
    code, amount = detail.type_code, detail.amount or 0
    if amount and code.transaction not in _SIGNS:
        raise BadDirection(position, text=f"type code {code.code}")
    if amount > MAX_MINOR:
        raise AmountTooLarge(position, text=str(amount))
    minor = _SIGNS.get(code.transaction, 1) * amount
    customer = drop_placeholder(detail.customer_reference)
    return Entry(
        position=position,
        amount_minor=minor,
        currency=currency,
        is_credit=_SIGNS.get(code.transaction, 1) > 0,
        status=Status.BOOKED,
        is_reversal=False,
        booking_date=as_of,
        value_date=(detail.availability or {}).get("date")
        if detail.funds_type is FundsType.value_dated
        else None,
        bank_reference=drop_placeholder(detail.bank_reference),
        customer_reference=customer,
        type_code=code.code,
        corrects=None,
        note=code.description,
        details=(Detail(minor, currency, remittance=_text_lines(detail)),),
    )


def _text_lines(detail: Any) -> tuple[str, ...]:
    """The text of a record 16 with each of its 88 lines apart, for a line may break a word."""
    text = (detail.text or "").removesuffix("/")
    more = [row.removesuffix("/") for _, row in detail.rows[1:]]
    tail = len("".join(more)) + len(more)
    first = text[: len(text) - tail] if more and len(text) > tail else "" if more else text
    return tuple(line.strip() for line in (first, *more) if line.strip())
