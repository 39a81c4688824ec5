"""Checks the seals of the ledger: has any entry been changed, removed or slipped in since?"""

from collections.abc import Iterator
from typing import Any

from sqlalchemy.orm import Session

from billing import chain
from billing.accounts import Entry
from billing.books import LEDGER_KEY

#: Rows that are fetched at a time: memory stays small whatever the size of the ledger.
FETCHED_AT_ONCE = 5000

_READ = """
SELECT e.id, b.account_id, e.type, e.amount, e.balance_after, e.description, e.idempotency_key,
       e.actor, e.happened_at, e.created_at, e.reference, e.units, e.lots_used, e.metadata, e.chain,
       b.opening_credits, b.chain
FROM billing.books AS b
LEFT JOIN igny8_credit_transactions AS e
       ON e.tenant_id = b.account_id AND e.idempotency_key IS NOT NULL
      AND e.type <> 'opening_balance'
WHERE %(account_id)s::bigint IS NULL OR b.account_id = %(account_id)s
ORDER BY b.account_id, e.id
"""


def broken(
    session: Session, account_id: int | None = None
) -> Iterator[tuple[str, dict[str, object]]]:
    """The first entry of each account whose seal does not cover it and what came before.

    Reads every entry, of one account or of all: about 100,000 a second. An entry that was removed
    shows at the next one, or at the end of the account.
    """
    key = session.info.get(LEDGER_KEY)
    account, previous, last, is_broken = None, b"", b"", False
    for entry, opening, head in _entries(session, account_id):
        if entry.account_id != account:
            if account is not None and not is_broken and previous != last:
                yield _at_the_end(account)
            account, is_broken = entry.account_id, False
            previous = chain.genesis(entry.account_id, opening)
        last = head or chain.genesis(entry.account_id, opening)
        if entry.id is None or is_broken:
            continue
        sealed, previous = entry.chain, chain.seal(key, previous, entry)
        if sealed != previous:
            is_broken = True
            yield f"entry {entry.id}", {"account_id": account, "sealed": sealed is not None}
    if account is not None and not is_broken and previous != last:
        yield _at_the_end(account)


def _at_the_end(account_id: int) -> tuple[str, dict[str, object]]:
    return f"account {account_id}", {"account_id": account_id, "missing": "the last entries"}


def _entries(session: Session, account_id: int | None) -> Iterator[tuple[Any, int, bytes | None]]:
    connection = session.connection().execution_options(
        stream_results=True, max_row_buffer=FETCHED_AT_ONCE
    )
    with connection.exec_driver_sql(_READ, {"account_id": account_id}) as rows:
        for row in rows:
            sealed, opening, head = row[14], row[15], row[16]
            entry = Entry(
                id=row[0],
                account_id=row[1],
                type=row[2],
                amount=row[3],
                balance_after=row[4],
                description=row[5],
                key=row[6],
                actor=row[7],
                happened_at=row[8],
                recorded_at=row[9],
                reference=row[10],
                units=row[11],
                lots=row[12],
                details=row[13],
                chain=sealed and bytes(sealed),
            )
            yield entry, opening, head and bytes(head)
