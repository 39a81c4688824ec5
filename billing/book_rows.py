"""How books and lots are read and written: one statement for all accounts of a transaction."""

import datetime as dt
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from typing import NamedTuple

from sqlalchemy.orm import Session

from billing import arrays
from billing.lots import OpenLot
from billing.open_book import OpenBook


class BookRow(NamedTuple):
    """A book as it is kept, with the account's spend cap, and what of `held` disputes froze.

    `frozen` is read where there is a cap, and 0 where there is none.
    """

    credits: int
    debt: int
    held: int
    opening_credits: int
    spent: int
    spent_since: dt.datetime | None
    chain: bytes | None
    spend_cap: int | None
    frozen: int


@dataclass(slots=True)
class NewLot:
    """A lot to be written, with the key of the grant that brought it."""

    account_id: int
    source: str
    priority: int
    is_promotional: bool
    granted: int
    remaining: int
    starts_at: dt.datetime | None
    expires_at: dt.datetime | None
    key: str
    period_number: int | None = None


def adopt(session: Session, ids: Iterable[int], now: dt.datetime) -> None:
    """Open books with the balances that the app shows, and never ask how they came about."""
    session.connection().exec_driver_sql(
        "SELECT billing.open_book(id, %(now)s) FROM unnest(%(ids)s::bigint[]) AS id",
        {"ids": arrays.numbers(ids), "now": now},
    )


_READ_BOOKS = """
SELECT b.account_id, b.credits, b.debt, b.held, b.opening_credits, b.spent, b.spent_since, b.chain,
       c.credits,
       CASE WHEN c.credits IS NULL OR b.held = 0 THEN 0 ELSE billing.frozen(b.account_id) END
FROM billing.books AS b LEFT JOIN billing.spend_caps AS c USING (account_id)
WHERE b.account_id = ANY(%(ids)s::bigint[])
"""


def read_books(session: Session, ids: Iterable[int]) -> dict[int, BookRow]:
    """The books there are, by account."""
    found = session.connection().exec_driver_sql(_READ_BOOKS, {"ids": arrays.numbers(ids)})
    return {row[0]: BookRow._make(row[1:]) for row in found.all()}


_LOT_COLUMNS = (
    "account_id, id, source, priority, is_promotional, remaining, held, starts_at, expires_at"
)


def read_lots(session: Session, ids: Iterable[int]) -> dict[int, list[OpenLot]]:
    """The lots with credits left, by account."""
    lots: dict[int, list[OpenLot]] = {}
    found = session.connection().exec_driver_sql(
        f"SELECT {_LOT_COLUMNS} FROM billing.lots"  # noqa: S608 - our own column names
        " WHERE account_id = ANY(%(ids)s::bigint[]) AND is_open",
        {"ids": arrays.numbers(ids)},
    )
    for account_id, *columns in found.all():
        lots.setdefault(account_id, []).append(OpenLot(*columns))
    return lots


def read_lots_by_id(session: Session, lot_ids: Iterable[int]) -> list[OpenLot]:
    """These lots, spent or not."""
    found = session.connection().exec_driver_sql(
        f"SELECT {_LOT_COLUMNS} FROM billing.lots"  # noqa: S608 - our own column names
        " WHERE id = ANY(%(ids)s::bigint[])",
        {"ids": arrays.numbers(lot_ids)},
    )
    return [OpenLot(*columns) for _, *columns in found]


_INSERT_LOT = """
INSERT INTO billing.lots (account_id, source, priority, is_promotional, granted, remaining,
                          starts_at, expires_at, key, period_number, recorded_at)
VALUES (%(account_id)s, %(source)s, %(priority)s, %(is_promotional)s, %(granted)s, %(remaining)s,
        %(starts_at)s, %(expires_at)s, %(key)s, %(period_number)s, %(recorded_at)s)
RETURNING id
"""


def insert_lot(session: Session, lot: NewLot, now: dt.datetime) -> OpenLot:
    """Write a new lot; returns it opened."""
    values = {each.name: getattr(lot, each.name) for each in fields(lot)}
    row = session.connection().exec_driver_sql(_INSERT_LOT, {**values, "recorded_at": now})
    return OpenLot(
        id=row.scalar_one(),
        source=lot.source,
        priority=lot.priority,
        is_promotional=lot.is_promotional,
        remaining=lot.remaining,
        held=0,
        starts_at=lot.starts_at,
        expires_at=lot.expires_at,
    )


_UPDATE_LOTS = """
UPDATE billing.lots SET remaining = changed.remaining, held = changed.held
FROM unnest(%(ids)s::bigint[], %(remaining)s::int[], %(held)s::int[])
    AS changed (id, remaining, held)
WHERE lots.id = changed.id
"""


def update_lots(session: Session, changed: Sequence[OpenLot]) -> None:
    """Write what remains in these lots and what holds set aside."""
    if not changed:
        return
    session.connection().exec_driver_sql(
        _UPDATE_LOTS,
        {
            "ids": arrays.numbers([lot.id for lot in changed]),
            "remaining": arrays.numbers([lot.remaining for lot in changed]),
            "held": arrays.numbers([lot.held for lot in changed]),
        },
    )


_UPDATE_BOOKS = """
UPDATE billing.books
SET credits = changed.credits, debt = changed.debt, debt_limit = changed.debt_limit,
    held = changed.held, spent = changed.spent, spent_since = changed.spent_since,
    chain = changed.chain
FROM unnest(%(ids)s::bigint[], %(credits)s::int[], %(debt)s::int[], %(debt_limit)s::int[],
            %(held)s::int[], %(spent)s::int[], %(spent_since)s::timestamptz[], %(chain)s::bytea[])
    AS changed (id, credits, debt, debt_limit, held, spent, spent_since, chain)
WHERE books.account_id = changed.id
"""


def update_books(session: Session, changed: Sequence[OpenBook]) -> None:
    """Write these books as they now stand."""
    if not changed:
        return
    session.connection().exec_driver_sql(
        _UPDATE_BOOKS,
        {
            "ids": arrays.numbers([book.account.id for book in changed]),
            "credits": arrays.numbers([book.credits for book in changed]),
            "debt": arrays.numbers([book.debt for book in changed]),
            # A debt may be older than the plan's present limit.
            "debt_limit": arrays.numbers([max(book.debt_limit, book.debt) for book in changed]),
            "held": arrays.numbers([book.held for book in changed]),
            "spent": arrays.numbers([book.spent for book in changed]),
            "spent_since": arrays.moments([book.spent_since for book in changed]),
            "chain": arrays.binaries([book.chain for book in changed]),
        },
    )
