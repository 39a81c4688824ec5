"""How books and lots are read and written: one statement for all accounts of a transaction.

Those of the hot path are SQL functions, whose plans Postgres keeps (migrations/sql/0011_up.sql).
"""

import datetime as dt
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from typing import NamedTuple

from sqlalchemy.orm import Session

from billing.context import Context
from billing.host.accounts import HostAccount
from billing.ledger.balance import Balance
from billing.ledger.lots import OpenLot
from billing.postgres import arrays, driver


class BalanceRow(NamedTuple):
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


def adopt(ctx: Context, ids: Iterable[int]) -> None:
    """Open books with the balances that the app shows, and never ask how they came about."""
    ctx.session.connection().exec_driver_sql(
        "SELECT billing.open_book(id, %(now)s) FROM unnest(%(ids)s::bigint[]) AS id",
        {"ids": arrays.numbers(ids), "now": ctx.now},
    )


class Read(NamedTuple):
    """What was read of an account under its lock; `book` None: it has not been adopted.

    `is_due`: its period has ended, and no sweep has come to it yet.
    """

    account: HostAccount
    balance: BalanceRow | None
    is_due: bool
    lots: list[OpenLot]


_READ_LOCKED = "SELECT * FROM billing.locked_books(%(ids)s::bigint[], %(now)s)"


def read_locked(ctx: Context, ids: Iterable[int]) -> dict[int, Read]:
    """Lock these accounts in ascending id, and read them with their books and open lots.

    Unknown ids are left out. The lock is that of `billing.host.accounts.lock`.
    """
    asked = {"ids": arrays.numbers(ids), "now": ctx.now}
    read: dict[int, Read] = {}
    for row in driver.rows(ctx.session, _READ_LOCKED, asked):
        known = read.get(row[0])
        if known is None:
            # A book without a balance is none.
            balance = None if row[7] is None else BalanceRow._make(row[7:16])
            known = read[row[0]] = Read(HostAccount._make(row[:7]), balance, row[16], [])
        if row[17] is not None:
            known.lots.append(OpenLot(*row[17:]))
    return read


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


def insert_lot(ctx: Context, lot: NewLot) -> OpenLot:
    """Write a new lot; returns it opened."""
    values = {each.name: getattr(lot, each.name) for each in fields(lot)}
    row = ctx.session.connection().exec_driver_sql(_INSERT_LOT, {**values, "recorded_at": ctx.now})
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


_WRITE = """
SELECT billing.write_books(
    %(lot_ids)s::bigint[], %(remaining)s::int[], %(lot_held)s::int[],
    %(ids)s::bigint[], %(credits)s::int[], %(debt)s::int[], %(debt_limit)s::int[], %(held)s::int[],
    %(spent)s::int[], %(spent_since)s::timestamptz[], %(chain)s::bytea[], %(deltas)s::int[])
"""


def write(session: Session, balances: Sequence[Balance], lots: Sequence[OpenLot]) -> None:
    """Write these books and lots as they now stand, and move the main app's balances by as much."""
    if not balances and not lots:
        return
    driver.rows(
        session,
        _WRITE,
        {
            "lot_ids": arrays.numbers([lot.id for lot in lots]),
            "remaining": arrays.numbers([lot.remaining for lot in lots]),
            "lot_held": arrays.numbers([lot.held for lot in lots]),
            "ids": arrays.numbers([balance.account.id for balance in balances]),
            "credits": arrays.numbers([balance.credits for balance in balances]),
            "debt": arrays.numbers([balance.debt for balance in balances]),
            # A debt may be older than the plan's present limit.
            "debt_limit": arrays.numbers(
                [max(balance.debt_limit, balance.debt) for balance in balances]
            ),
            "held": arrays.numbers([balance.held for balance in balances]),
            "spent": arrays.numbers([balance.spent for balance in balances]),
            "spent_since": arrays.moments([balance.spent_since for balance in balances]),
            "chain": arrays.binaries([balance.chain for balance in balances]),
            "deltas": arrays.numbers(
                [balance.credits - balance.was_credits for balance in balances]
            ),
        },
    )
