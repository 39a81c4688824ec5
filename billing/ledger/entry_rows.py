"""The lines of the ledger, the main app's table of credit transactions: how they are kept.

Append-only (a trigger sees to it): an entry is corrected by another one that names it.
"""

import datetime as dt
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import starmap

from sqlalchemy import select
from sqlalchemy.orm import Session

from billing.postgres import copy, driver
from billing.postgres.arrays import moment
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


#: In the order in which `said` names them, then what it does not.
_COLUMNS = (
    "id, tenant_id, type, amount, balance_after, description, idempotency_key, actor, reference,"
    " units, happened_at, created_at, lots_used, metadata, chain"
)
#: Columns that `said` names, less one.
_SEPARATORS = 12


def said(e: Entry) -> str:
    """What an entry says but for its details, in the words that its seal covers; never to change.

    The parts are set apart by the unit separator, which no printable text holds.
    """
    # One f-string: this runs for every debit. The lots are lists of integers, whose repr is the
    # same however they were made.
    return (
        f"{e.id}\x1f{e.account_id}\x1f{e.type}\x1f{e.amount}\x1f{e.balance_after}\x1f"
        f"{e.description}\x1f{e.key}\x1f{e.actor}\x1f{e.reference}\x1f{e.units}\x1f"
        f"{moment(e.happened_at)}\x1f{moment(e.recorded_at)}\x1f{e.lots}"
    )


def append(session: Session, entries: Iterable[tuple[Entry, str]]) -> None:
    """Write these entries, each with what is `said` of it, all or none."""
    copy.rows(session, "igny8_credit_transactions", _COLUMNS, starmap(_line, entries))


def _line(e: Entry, words: str) -> str:
    if (
        words.count(copy.SEPARATOR) != _SEPARATORS
        or "\\" in words
        or "\n" in words
        or "\r" in words
        or copy.NULL in (e.description, e.key, e.actor, e.reference)
    ):
        # The same, as COPY wants it: what is said is said in its order.
        text = copy.text
        words = said(
            replace(
                e,
                description=text(e.description),
                key=text(e.key),
                actor=text(e.actor),
                reference=text(e.reference),
            )
        )
    details = e.details if e.details is None else copy.text(json.dumps(e.details))
    chain = e.chain if e.chain is None else copy.binary(e.chain)
    return f"{words}\x1f{details}\x1f{chain}\n"


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
