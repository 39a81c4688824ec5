"""The rows of trials, in sets: begun, moved, ended; and who may be in one.

An open row may belong to an account that is in no trial any more, where the main app wrote its
status; whoever acts on a row looks at the account, under its lock.
"""

import datetime as dt
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from sqlalchemy import update
from sqlalchemy.orm import Session

from billing.context import Context, Policy
from billing.host.accounts import SYSTEM_SLUGS
from billing.postgres import sql
from models.life import Trial

#: Days before the end on which an account is reminded.
REMINDERS = (7, 3, 1, 0)
DAY = dt.timedelta(days=1)


class OpenTrial(NamedTuple):
    """An open trial, as a sweep reads it."""

    account_id: int
    started_at: dt.datetime
    ends_at: dt.datetime
    suspends_at: dt.datetime
    next_reminder_at: dt.datetime | None


# A day is 24 hours of UTC, whatever the clocks of the customer do. The grace counts from the end
# or, where that was long ago, from now on: nobody is out at once.
_BEGIN = """
WITH found AS (
    SELECT a.id, LEAST(a.created_at, %(now)s) AS started_at,
           COALESCE(policy.trial_days, %(days)s) AS days
    FROM igny8_tenants AS a
    LEFT JOIN billing.plan_policies AS policy ON policy.plan_id = a.plan_id
    LEFT JOIN billing.trials AS t ON t.account_id = a.id
    WHERE a.status = 'trial' AND NOT a.is_deleted AND a.slug <> ALL (%(system)s)
      AND (t.account_id IS NULL OR t.ended_at IS NOT NULL) AND a.id > %(after)s
    ORDER BY a.id LIMIT %(limit)s
), known AS (
    SELECT *, started_at + days * interval '24 hours' AS ends_at FROM found
)
INSERT INTO billing.trials AS t
    (account_id, started_at, ends_at, suspends_at, next_reminder_at, recorded_at)
SELECT id, started_at, ends_at, GREATEST(ends_at, %(now)s) + %(grace)s,
       ends_at - (SELECT max(before) FROM unnest(%(reminders)s::int[]) AS before
                  WHERE before < days OR before = 0) * interval '24 hours', %(now)s
FROM known
ON CONFLICT (account_id) DO UPDATE
   SET ended_at = NULL, outcome = NULL, next_reminder_at = %(now)s,
       suspends_at = GREATEST(t.ends_at, %(now)s) + %(grace)s
RETURNING t.account_id
"""


def begin(ctx: Context, terms: Policy, *, after: int, limit: int) -> list[int]:
    """Give up to `limit` accounts in trial, above id `after`, that know no end one.

    It counts from the account's creation. One whose trial had ended and that the main app put back
    into trial keeps its old end, and gets a grace from now on.
    """
    rows = ctx.session.connection().exec_driver_sql(
        _BEGIN,
        {
            "now": ctx.now,
            "days": terms.trial_days,
            "grace": terms.grace,
            "reminders": sql.numbers(REMINDERS),
            "system": sorted(SYSTEM_SLUGS),
            "after": after,
            "limit": limit,
        },
    )
    return sorted(row[0] for row in rows.all())


_DUE = """
SELECT account_id FROM billing.trials
WHERE ended_at IS NULL AND suspends_at <= %(now)s
ORDER BY suspends_at, account_id LIMIT %(limit)s FOR UPDATE SKIP LOCKED
"""


def due(ctx: Context, *, limit: int) -> list[int]:
    """Claim trials whose grace is over, the longest overdue first.

    The claim comes before the accounts' locks, against their order; that is safe because a sweep
    takes those by SKIP LOCKED, and so never waits.
    """
    rows = ctx.session.connection().exec_driver_sql(_DUE, {"now": ctx.now, "limit": limit})
    return [row[0] for row in rows.all()]


_READ = """
SELECT account_id, started_at, ends_at, suspends_at, next_reminder_at FROM billing.trials
WHERE account_id = ANY(%(ids)s::bigint[]) AND ended_at IS NULL
"""


def read(session: Session, account_ids: Iterable[int]) -> dict[int, OpenTrial]:
    """The open trials of these accounts, by account."""
    rows = session.connection().exec_driver_sql(_READ, {"ids": sql.numbers(account_ids)})
    return {row[0]: OpenTrial._make(row) for row in rows.all()}


_END = """
UPDATE billing.trials SET ended_at = %(now)s, outcome = %(outcome)s
WHERE account_id = ANY(%(ids)s::bigint[]) AND ended_at IS NULL
"""


def end(ctx: Context, account_ids: Sequence[int], *, outcome: str) -> None:
    """End the open trials of these accounts."""
    asked = {"ids": sql.numbers(account_ids), "outcome": outcome, "now": ctx.now}
    ctx.session.connection().exec_driver_sql(_END, asked)


def cut_short(ctx: Context, account_ids: Iterable[int]) -> None:
    """Let these trials end as they began, without a reminder and without grace."""
    ctx.session.execute(
        update(Trial)
        .where(Trial.account_id.in_(sorted(account_ids)), Trial.ended_at.is_(None))
        .values(ends_at=Trial.started_at, suspends_at=ctx.now, next_reminder_at=None)
        .execution_options(synchronize_session=False)
    )


def move(trial: Trial, *, ends_at: dt.datetime, grace: dt.timedelta, now: dt.datetime) -> None:
    """Give an open trial another end; it is reminded of that one anew."""
    trial.ends_at = ends_at
    trial.suspends_at = max(ends_at, now) + grace
    trial.next_reminder_at = next_reminder(ends_at, after=now)


def next_reminder(ends_at: dt.datetime, *, after: dt.datetime) -> dt.datetime | None:
    """When the first reminder after this moment is due; None if the last one was."""
    coming = [ends_at - days * DAY for days in REMINDERS if ends_at - days * DAY > after]
    return min(coming, default=None)
