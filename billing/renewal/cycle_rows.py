"""How calendars are read and written: one statement for all accounts of a transaction."""

import datetime as dt
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from sqlalchemy.orm import Session

from billing.context import Context
from billing.postgres import sql
from billing.renewal import periods


@dataclass(slots=True)
class OpenCalendar:
    """One account's calendar while an act works on it, under the account's lock."""

    account_id: int
    anchor_at: dt.datetime
    period_number: int
    first_period: int
    next_due_at: dt.datetime
    plan_id: int
    next_plan_id: int | None = None
    ended_at: dt.datetime | None = None

    def is_due(self, now: dt.datetime) -> bool:
        """Whether a boundary has passed."""
        return self.ended_at is None and self.next_due_at <= now

    def go_to(self, number: int, plan_id: int) -> None:
        """Make `number` the running period, given from this plan."""
        self.period_number = number
        self.next_due_at = periods.boundary(self.anchor_at, number)
        self.plan_id = plan_id
        self.next_plan_id = None
        self.ended_at = None


_COLUMNS = (
    "account_id, anchor_at, period_number, first_period, next_due_at, plan_id, next_plan_id,"
    " ended_at"
)


def read(session: Session, ids: Iterable[int]) -> dict[int, OpenCalendar]:
    """The calendars there are, by account. Call it under the accounts' locks."""
    found = session.connection().exec_driver_sql(
        f"SELECT {_COLUMNS} FROM billing.credit_calendars"  # noqa: S608 - our own column names
        " WHERE account_id = ANY(%(ids)s::bigint[]) ORDER BY account_id",
        {"ids": sql.numbers(ids)},
    )
    return {row[0]: OpenCalendar(*row) for row in found}


def insert(ctx: Context, new: OpenCalendar) -> None:
    """Write a calendar that was just begun."""
    ctx.session.connection().exec_driver_sql(
        "INSERT INTO billing.credit_calendars (account_id, anchor_at, period_number, first_period,"
        " next_due_at, plan_id, recorded_at) VALUES (%(account_id)s, %(anchor_at)s, %(number)s,"
        " %(first)s, %(next_due_at)s, %(plan_id)s, %(now)s)",
        {
            "account_id": new.account_id,
            "anchor_at": new.anchor_at,
            "number": new.period_number,
            "first": new.first_period,
            "next_due_at": new.next_due_at,
            "plan_id": new.plan_id,
            "now": ctx.now,
        },
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


def update(session: Session, changed: Sequence[OpenCalendar]) -> None:
    """Write these calendars as they now stand."""
    if not changed:
        return
    session.connection().exec_driver_sql(
        _UPDATE,
        {
            "ids": sql.numbers([c.account_id for c in changed]),
            "numbers": sql.numbers([c.period_number for c in changed]),
            "due": sql.times([c.next_due_at for c in changed]),
            "plans": sql.numbers([c.plan_id for c in changed]),
            "next_plans": sql.numbers([c.next_plan_id for c in changed]),
            "ended": sql.times([c.ended_at for c in changed]),
        },
    )


def has_lot(session: Session, account_id: int, period_number: int) -> bool:
    """Whether the lot of this period was given."""
    found = session.connection().exec_driver_sql(
        "SELECT FROM billing.lots WHERE account_id = %(id)s AND period_number = %(number)s",
        {"id": account_id, "number": period_number},
    )
    return found.first() is not None
