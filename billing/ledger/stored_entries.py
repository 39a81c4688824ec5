"""Entries as they are stored, read as text, so that one odd row stops no audit and no explanation.

SQL may write what Python can't hold: years after 9999, infinity, JSON of another shape, NULL.
"""

import datetime as dt
import json
import re
from collections.abc import Iterable
from dataclasses import replace
from decimal import Decimal
from functools import lru_cache
from math import isfinite
from typing import Any, NamedTuple

from sqlalchemy.orm import Session

from billing.ledger.entry_rows import Entry
from billing.postgres import sql

#: The columns of a row, for a table named `e`; times and JSON as text, in UTC.
COLUMNS = (
    "e.id, e.tenant_id, e.type, e.amount, e.balance_after, e.description, e.idempotency_key,"
    " e.actor, e.happened_at::text, e.created_at::text, e.reference, e.units, e.lots_used::text,"
    " e.metadata::text, e.chain"
)
TABLE = "igny8_credit_transactions"
#: The types of our entries.
TYPES = frozenset(
    (
        "opening_balance", "deduction", "grant", "reversal", "expiry", "rollover", "repayment",
        "take_back",
    )
)  # fmt: skip
#: Columns that may not be NULL in an entry of ours, by their place.
_REQUIRED = {
    2: "type", 3: "amount", 4: "balance_after", 5: "description", 7: "actor", 8: "happened_at",
    9: "created_at",
}  # fmt: skip


#: JSON like [[1, -5], [2, 3]]: lots with their credits.
_LOTS = re.compile(r"\[(\[-?\d+, -?\d+\](, (?=\[)|(?=\])))*\]")
#: Digits of an integer that Python turns into text, and a few to spare.
_DIGITS = 4000


class Unreadable(NamedTuple):
    """An entry that can't be read, with the reason in words."""

    id: int
    account_id: int
    problem: str
    when: dt.datetime | None
    amount: int | None
    balance_after: int | None
    entry_hash: bytes | None

    def __str__(self) -> str:
        return f"entry {self.id} can't be read: {self.problem}"


def parse(row: sql.Row) -> Entry | Unreadable:
    """Return the entry of a row of COLUMNS; its `lots` stay JSON text, its numbers as written."""
    id, account_id, *values = row
    entry_hash = None if row[14] is None else bytes(row[14])
    if problem := _problem(row):
        when = _time_or_none(row[9])
        return Unreadable(id, account_id, problem, when, row[3], row[4], entry_hash)
    type, amount, balance_after, description, key, actor, happened, recorded, *rest = values
    reference, units, lots, details, _ = rest
    return Entry(
        id,
        account_id,
        type,
        amount,
        balance_after,
        description,
        key,
        actor,
        _time(happened),
        _time(recorded),
        reference,
        units,
        lots,
        None if details is None else as_json(details),
        entry_hash,
    )


def _problem(row: sql.Row) -> str | None:
    if None in row[2:6] or None in row[7:10]:
        missing = [name for place, name in _REQUIRED.items() if row[place] is None]
        return f"{' and '.join(missing)} may not be NULL"
    if row[2] not in TYPES:
        return f"the type {row[2]!r} is unknown"
    for name, text in (("happened_at", row[8]), ("created_at", row[9])):
        if _time_or_none(text) is None:
            return f"{name} is {text}, which is no time before the year 10000"
    if row[12] is not None and not _LOTS.fullmatch(row[12]):
        return "lots_used is no list of lots with their credits"
    if row[13] is not None and not is_object(row[13]):
        return "metadata is no JSON object"
    return None


@lru_cache(maxsize=1024)
def _time(text: str) -> dt.datetime:
    return dt.datetime.fromisoformat(text)


def _time_or_none(text: str | None) -> dt.datetime | None:
    try:
        return None if text is None else _time(text)
    except ValueError:
        return None


def lots_of(text: str) -> list[Any]:
    """The pairs of a lot and its credits, of an entry that can be read."""
    lots: list[Any] = json.loads(text)
    return lots


def is_object(text: str) -> bool:
    """Whether the text is a JSON object that Python can read."""
    try:
        return text.startswith("{") and as_json(text) is not None
    except (ValueError, RecursionError):
        return False


def as_json(text: str) -> Any:
    """JSON with its numbers as they are written; Python refuses integers of 4,301 digits."""
    return json.loads(text, parse_int=Decimal, parse_float=Decimal)


_LAST = f"""
SELECT {COLUMNS} FROM igny8_credit_transactions AS e
WHERE e.tenant_id = %(account_id)s AND e.idempotency_key IS NOT NULL AND e.id < %(before)s
ORDER BY e.id DESC LIMIT %(count)s
"""  # noqa: S608 - our own column names


def last(
    session: Session, account_id: int, *, count: int, before: int | None = None
) -> list[Entry | Unreadable]:
    """Read the account's last entries made by us, newest first; those `before` an id, if given."""
    values = {"account_id": account_id, "count": count, "before": before or 2**63 - 1}
    return [_shown(parse(row), row) for row in sql.rows(session, _LAST, values)]


def _shown(entry: Entry | Unreadable, row: sql.Row) -> Entry | Unreadable:
    """The entry with plain numbers, as a screen or a JSON document shows it."""
    if isinstance(entry, Unreadable):
        return entry
    lots, details = row[12:14]
    return replace(entry, lots=lots and lots_of(lots), details=details and shown_json(details))


def shown_json(text: str) -> Any:
    """JSON for a screen; numbers that Python can't hold stay texts."""
    return json.loads(text, parse_int=_shown_int, parse_float=_shown_float)


def _shown_int(text: str) -> int | str:
    return int(text) if len(text) < _DIGITS else text


def _shown_float(text: str) -> float | str:
    return number if isfinite(number := float(text)) else text


def readable(rows: Iterable[Entry | Unreadable]) -> list[Entry]:
    """Those that can be read."""
    return [row for row in rows if isinstance(row, Entry)]
