"""The rows of credit cycles: one statement reads or writes those of all accounts of an act."""

import datetime as dt
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, fields

import sqlalchemy
from sqlalchemy.orm import Session

from billing.context import Context
from billing.postgres import sql
from billing.renewal import periods
from models.calendar import CreditCalendar


@dataclass(slots=True)
class CreditCycle:
    """An account's credit cycle while an act works on it, under the account's lock.

    `next_plan_id`: a smaller plan that begins with the next period.
    """

    account_id: int
    anchor_at: dt.datetime
    period_number: int
    first_period: int
    next_due_at: dt.datetime
    plan_id: int
    next_plan_id: int | None = None
    ended_at: dt.datetime | None = None

    def is_due(self, now: dt.datetime) -> bool:
        """Whether the running period is over."""
        return self.ended_at is None and self.next_due_at <= now

    def go_to(self, number: int, plan_id: int) -> None:
        """Make `number` the running period, with the credits of this plan."""
        self.period_number = number
        self.next_due_at = periods.boundary(self.anchor_at, number)
        self.plan_id = plan_id
        self.next_plan_id = None
        self.ended_at = None


_COLUMNS = ", ".join(field.name for field in fields(CreditCycle))


def read(session: Session, ids: Iterable[int]) -> dict[int, CreditCycle]:
    """Read the cycles of these accounts, by account. Call it under the accounts' locks."""
    rows = session.connection().exec_driver_sql(
        f"SELECT {_COLUMNS} FROM billing.credit_calendars"  # noqa: S608 - our own column names
        " WHERE account_id = ANY(%(ids)s::bigint[]) ORDER BY account_id",
        {"ids": list(ids)},
    )
    return {row[0]: CreditCycle(*row) for row in rows}


def insert(ctx: Context, cycle: CreditCycle) -> None:
    """Write a cycle that was just begun."""
    ctx.session.execute(
        sqlalchemy.insert(CreditCalendar).values(**asdict(cycle), recorded_at=ctx.now)
    )


_UPDATE = """
UPDATE billing.credit_calendars AS c
SET period_number = changed.period_number, next_due_at = changed.next_due_at,
    plan_id = changed.plan_id, next_plan_id = changed.next_plan_id, ended_at = changed.ended_at
FROM unnest(%(ids)s::bigint[], %(numbers)s::int[], %(due)s::timestamptz[], %(plans)s::bigint[],
            %(next_plans)s::bigint[], %(ended)s::timestamptz[])
    AS changed (account_id, period_number, next_due_at, plan_id, next_plan_id, ended_at)
WHERE c.account_id = changed.account_id
"""


def update(session: Session, changed: Sequence[CreditCycle]) -> None:
    """Write these cycles as they are now."""
    if not changed:
        return
    session.connection().exec_driver_sql(
        _UPDATE,
        {
            "ids": sql.numbers([cycle.account_id for cycle in changed]),
            "numbers": sql.numbers([cycle.period_number for cycle in changed]),
            "due": sql.times([cycle.next_due_at for cycle in changed]),
            "plans": sql.numbers([cycle.plan_id for cycle in changed]),
            "next_plans": sql.numbers([cycle.next_plan_id for cycle in changed]),
            "ended": sql.times([cycle.ended_at for cycle in changed]),
        },
    )


def has_lot(session: Session, account_id: int, period_number: int) -> bool:
    """Whether the account has the lot of this period."""
    lots = session.connection().exec_driver_sql(
        "SELECT FROM billing.lots WHERE account_id = %(id)s AND period_number = %(number)s",
        {"id": account_id, "number": period_number},
    )
    return lots.first() is not None
