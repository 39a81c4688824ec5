"""The check of the hash chains: was any entry changed, removed or inserted later?"""

from collections.abc import Iterable, Iterator
from itertools import groupby
from typing import NamedTuple, TypeAlias

from sqlalchemy.orm import Session

from billing.context import Context
from billing.ledger import entry_rows, idempotency
from billing.ledger.entry_rows import Entry

#: Rows fetched at a time, so that memory stays small for any size of the ledger.
FETCHED_AT_ONCE = 5000
#: The type of an account's first entry.
OPENING = "opening_balance"

_READ = """
SELECT e.id, b.account_id, e.type, e.amount, e.balance_after, e.description, e.idempotency_key,
       e.actor, e.happened_at, e.created_at, e.reference, e.units, e.lots_used, e.metadata, e.chain,
       b.opening_credits, b.chain
FROM billing.books AS b
LEFT JOIN igny8_credit_transactions AS e
       ON e.tenant_id = b.account_id AND e.idempotency_key IS NOT NULL
WHERE %(account_id)s::bigint IS NULL OR b.account_id = %(account_id)s
ORDER BY b.account_id, e.id
"""


#: A finding: its subject and its facts.
Finding: TypeAlias = tuple[str, dict[str, object]]


class Row(NamedTuple):
    """An entry, if the account has any, with its account's opening credits and last entry hash."""

    account_id: int
    entry: Entry | None
    opening_credits: int
    head: bytes | None


def broken(ctx: Context, account_id: int | None = None) -> Iterator[Finding]:
    """Find the first entry of each account whose hash does not match it and the entry before.

    Reads every entry of one account or of all, about 100,000 a second. A removed entry shows at the
    next one, or at the end of the account.
    """
    key = ctx.ledger_key
    for account, rows in groupby(_entries(ctx.session, account_id), key=_account_of):
        if finding := _first_broken(key, account, rows):
            yield finding


def _account_of(row: Row) -> int:
    return row.account_id


def _first_broken(key: bytes | None, account_id: int, rows: Iterable[Row]) -> Finding | None:
    previous = last = b""
    for number, (_, entry, opening, head) in enumerate(rows):
        if number == 0:
            previous = entry_rows.opening_hash(account_id, opening)
            last = head or previous
            if opening and not (entry and _is_the_opening(entry, opening)):
                return f"account {account_id}", {"account_id": account_id, "missing": "the opening"}
        if entry is None or (opening and number == 0):
            continue
        previous = entry_rows.entry_hash(
            key, previous, entry_rows.hashed_text(entry), entry.details
        )
        if entry.entry_hash != previous:
            has_hash = entry.entry_hash is not None
            return f"entry {entry.id}", {"account_id": account_id, "sealed": has_hash}
    if previous != last:
        return f"account {account_id}", {"account_id": account_id, "missing": "the last entries"}
    return None


def _is_the_opening(entry: Entry, opening_credits: int) -> bool:
    """Whether the entry is as `billing.open_book` wrote it: with known values and no hash."""
    actual = (entry.type, entry.amount, entry.balance_after, entry.key, entry.actor)
    key = idempotency.own("opening", entry.account_id)
    is_plain = entry.description == "opening balance" and entry.happened_at == entry.recorded_at
    return is_plain and actual == (OPENING, opening_credits, opening_credits, key, "billing")


def _entries(session: Session, account_id: int | None) -> Iterator[Row]:
    connection = session.connection().execution_options(
        stream_results=True, max_row_buffer=FETCHED_AT_ONCE
    )
    with connection.exec_driver_sql(_READ, {"account_id": account_id}) as rows:
        for row in rows:
            # The first columns stand in the order of Entry's fields.
            entry = Entry(*row[:15])
            entry.entry_hash = row[14] and bytes(row[14])
            opening, head = row[15:]
            yield Row(row[1], entry if row[0] else None, opening, head and bytes(head))
