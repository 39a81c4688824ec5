"""Transfers out of lines: each booked payment that came, and each that was taken back, once.

The line is the money; its details only split it, and only where they add up to it.
"""

from typing import Any

from sqlalchemy import text, update
from sqlalchemy.dialects.postgresql import insert

from billing.context import Context
from models.bank import BankLine
from models.transfers import Transfer

#: Lines that one transaction splits.
AT_ONCE = 500

#: ISO 20022 bank transaction codes, sub-family: a reversal because a payment was returned, or
#: because its cancellation was asked for.
RETURN_CODES = ("RRTN", "RPCR")

#: Lines of accounts that are ours, in the one format that the account recognises money from.
_LINES = """
SELECT l.key::text, l.account, l.currency, l.amount_minor, l.booking_date, b.customer_id,
       (SELECT w.payload FROM billing.line_wordings AS w WHERE w.line = l.key
        ORDER BY w.digest LIMIT 1) AS payload
FROM billing.bank_lines AS l
JOIN billing.bank_accounts AS b
  ON b.number = l.account AND b.currency = l.currency AND b.format = l.format
WHERE NOT l.is_split AND l.status = 'BOOK' AND l.booking_date IS NOT NULL
ORDER BY l.key LIMIT :limit FOR UPDATE OF l SKIP LOCKED
"""


def split_lines(ctx: Context, *, limit: int = AT_ONCE) -> int:
    """Make the transfers of lines that have none yet; returns how many lines were looked at."""
    lines = ctx.session.execute(text(_LINES), {"limit": limit}).all()
    transfers = [
        {
            "line": line.key,
            "place": place,
            "account": line.account,
            "currency": line.currency,
            "amount_minor": amount,
            "booking_date": line.booking_date,
            "payer_iban": detail.get("counterparty_iban"),
            "customer_id": line.customer_id,
            "recorded_at": ctx.now,
        }
        for line in lines
        for place, amount, detail in parts_of(line.payload, line.amount_minor)
        if is_of_interest(line.payload, detail, amount)
    ]
    if transfers:
        ctx.session.execute(insert(Transfer).on_conflict_do_nothing(), transfers)
    keys = [line.key for line in lines]
    ctx.session.execute(update(BankLine).where(BankLine.key.in_(keys)).values(is_split=True))
    return len(lines)


def parts_of(payload: dict[str, Any], amount: int) -> list[tuple[int, int, dict[str, Any]]]:
    """[place, minor units, detail] of a line: of each transaction, where they add up to it."""
    details = payload["details"]
    if details and payload["split_agrees"]:
        return [(place, one["amount_minor"], one) for place, one in enumerate(details)]
    return [(0, amount, {} if details else payload)]


def is_of_interest(payload: dict[str, Any], detail: dict[str, Any], amount: int) -> bool:
    """Whether money came, or money that had come was taken back.

    What we pay ourselves is none of our business here.
    """
    return amount > 0 or (amount < 0 and is_return(payload, detail))


def is_return(payload: dict[str, Any], detail: dict[str, Any]) -> bool:
    """Whether the bank says that this undoes an earlier payment."""
    codes = f"{payload['type_code']} {detail.get('type_code')}"
    is_coded = any(code in codes for code in RETURN_CODES)
    is_said = payload["is_reversal"] or payload["corrects"] or detail.get("return_reason")
    return bool(is_said or is_coded)
