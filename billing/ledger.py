"""The lines of the ledger, the main app's table of credit transactions: how they are kept.

Append-only (a trigger sees to it): an entry is corrected by another one that names it.
"""

import datetime as dt
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.orm import Session

from billing import copy_in, driver
from billing.arrays import moment
from models.host import CreditTransaction


@dataclass(slots=True)
class Entry:
    """A line of the ledger: `amount` signed credits, `lots` the [lot id, credits] it touched."""

    id: int
    account_id: int
    type: str
    amount: int
    balance_after: int
    description: str
    key: str
    actor: str
    happened_at: dt.datetime
    recorded_at: dt.datetime
    reference: str | None = None
    units: int | None = None
    lots: Sequence[object] | None = None
    details: Mapping[str, object] | None = None
    chain: bytes | None = None


_NEXT_IDS = """
SELECT array_agg(nextval((SELECT pg_get_serial_sequence('igny8_credit_transactions', 'id')
                          ::regclass)))
FROM generate_series(1, %(count)s)
"""


def next_ids(session: Session, count: int) -> list[int]:
    """Ids for `count` new entries, ascending."""
    ((ids,),) = driver.rows(session, _NEXT_IDS, {"count": count})
    return list(ids or ())


_COLUMNS = (
    "id, tenant_id, type, amount, balance_after, description, idempotency_key, actor, happened_at,"
    " created_at, reference, units, lots_used, metadata, chain"
)


def append(session: Session, entries: Iterable[Entry]) -> None:
    """Write these entries, all or none."""
    copy_in.rows(session, "igny8_credit_transactions", _COLUMNS, map(_line, entries))


def _line(e: Entry) -> str:
    text = copy_in.text
    units = copy_in.NULL if e.units is None else e.units
    lots = copy_in.NULL if e.lots is None else e.lots
    details = copy_in.NULL if e.details is None else text(json.dumps(e.details))
    chain = copy_in.NULL if e.chain is None else copy_in.binary(e.chain)
    return (
        f"{e.id}\t{e.account_id}\t{e.type}\t{e.amount}\t{e.balance_after}\t{text(e.description)}\t"
        f"{text(e.key)}\t{text(e.actor)}\t{moment(e.happened_at)}\t{moment(e.recorded_at)}\t"
        # Lists of integers, whose repr is JSON.
        f"{text(e.reference)}\t{units}\t{lots}\t{details}\t{chain}\n"
    )


def entries(session: Session, account_id: int, *, last: int | None = None) -> list[Entry]:
    """The account's entries made by us, oldest first; only the `last` n if given."""
    table = CreditTransaction
    rows = (
        select(table)
        .where(table.account_id == account_id, table.key.is_not(None))
        .order_by(table.id.desc())
        .limit(last)
    )
    return [_entry(row) for row in reversed(session.scalars(rows).all())]


def entries_by_id(session: Session, ids: Iterable[int]) -> dict[int, Entry]:
    """These entries, by id."""
    rows = select(CreditTransaction).where(CreditTransaction.id.in_(list(ids)))
    return {row.id: _entry(row) for row in session.scalars(rows)}


def _entry(row: CreditTransaction) -> Entry:
    return Entry(
        id=row.id,
        account_id=row.account_id,
        type=row.type,
        amount=row.amount,
        balance_after=row.balance_after,
        description=row.description,
        key=row.key or "",
        actor=row.actor or "",
        happened_at=row.happened_at or row.created_at,
        recorded_at=row.created_at,
        reference=row.reference,
        units=row.units,
        lots=row.lots,
        details=row.details,
        chain=row.chain,
    )
