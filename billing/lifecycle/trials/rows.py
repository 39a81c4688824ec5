"""The rows of trials, in batches: begin, read, move and end.

An open row may belong to an account that has left its trial, where the main app wrote its status.
Code that acts on a row checks the account, under its lock.
"""

import datetime as dt
from collections.abc import Collection, Iterable, Sequence
from typing import NamedTuple

from sqlalchemy import update
from sqlalchemy.orm import Session

from billing.context import Context
from billing.host.accounts import SYSTEM_SLUGS, Locked
from billing.postgres import sql
from billing.sweep import SweepResult
from models.life import Trial

#: Days before the end on which an account is reminded.
REMINDERS = (7, 3, 1, 0)
DAY = dt.timedelta(days=1)
#: The outcome of a trial whose account has another status by now.
OUTCOMES = {"active": "paid", "cancelled": "cancelled", "pending_payment": "awaits_payment"}
#: Outcomes that took the trial's credits and gave no others: a trial that is restored after them
#: gets its credits again.
RESTORABLE = ("expired", "cancelled")


class OpenTrial(NamedTuple):
    """An open trial, as a sweep reads it."""

    account_id: int
    started_at: dt.datetime
    ends_at: dt.datetime
    suspends_at: dt.datetime


# A day has 24 hours in UTC, whatever the customer's clock does. The grace period counts from the
# end or, where that was long ago, from now: no account is suspended at once.
_BEGIN = """
WITH candidates AS (
    SELECT a.id, LEAST(a.created_at, %(now)s) AS started_at,
           COALESCE(policy.trial_days, %(days)s) AS days, t.ended_at, t.outcome
    FROM igny8_tenants AS a
    LEFT JOIN billing.plan_policies AS policy ON policy.plan_id = a.plan_id
    LEFT JOIN billing.trials AS t ON t.account_id = a.id
    WHERE a.status = 'trial' AND NOT a.is_deleted AND a.slug <> ALL (%(system)s)
      AND (t.account_id IS NULL OR t.ended_at IS NOT NULL) AND a.id > %(after)s
    ORDER BY a.id LIMIT %(limit)s FOR NO KEY UPDATE OF a SKIP LOCKED
), terms AS (
    SELECT *, started_at + days * interval '24 hours' AS ends_at FROM candidates
), begun AS (
INSERT INTO billing.trials AS t
    (account_id, started_at, ends_at, suspends_at, next_reminder_at, recorded_at)
SELECT id, started_at, ends_at, GREATEST(ends_at, %(now)s) + %(grace)s,
       ends_at - (SELECT max(before) FROM unnest(%(reminders)s::int[]) AS before
                  WHERE before < days OR before = 0) * interval '24 hours', %(now)s
FROM terms
ON CONFLICT (account_id) DO UPDATE
   SET ended_at = NULL, outcome = NULL, next_reminder_at = %(now)s,
       suspends_at = GREATEST(t.ends_at, %(now)s) + %(grace)s
RETURNING t.account_id
)
SELECT id, CASE WHEN outcome = ANY(%(restorable)s::text[]) THEN ended_at END
FROM candidates JOIN begun ON begun.account_id = candidates.id
"""


def begin(ctx: Context, *, after: int, limit: int) -> dict[int, dt.datetime | None]:
    """Give an end to up to `limit` accounts above id `after` that are in trial and have none.

    A trial counts from the account's creation. Where a trial had ended and the main app put the
    account back into it, it keeps its old end and gets a grace period from now.
    """
    rows = ctx.session.connection().exec_driver_sql(
        _BEGIN,
        {
            "now": ctx.now,
            "days": ctx.policy.trial_days,
            "grace": ctx.policy.grace,
            "reminders": list(REMINDERS),
            "system": sorted(SYSTEM_SLUGS),
            "after": after,
            "limit": limit,
            "restorable": list(RESTORABLE),
        },
    )
    return {row[0]: row[1] for row in sorted(rows.all())}


_DUE = """
SELECT account_id FROM billing.trials
WHERE ended_at IS NULL AND suspends_at <= %(until)s
ORDER BY suspends_at, account_id LIMIT %(limit)s FOR UPDATE SKIP LOCKED
"""


def due(session: Session, until: dt.datetime, limit: int) -> list[int]:
    """Claim trials whose grace period ends by then, the longest overdue first.

    The claim comes before the accounts' locks, against their order. That is safe because a sweep
    takes those by SKIP LOCKED, and so never waits.
    """
    rows = session.connection().exec_driver_sql(_DUE, {"until": until, "limit": limit})
    return [row[0] for row in rows]


_READ = """
SELECT account_id, started_at, ends_at, suspends_at FROM billing.trials
WHERE account_id = ANY(%(ids)s::bigint[]) AND ended_at IS NULL
"""


def read(session: Session, account_ids: Iterable[int]) -> dict[int, OpenTrial]:
    """Read the open trials of these accounts, by account."""
    rows = session.connection().exec_driver_sql(_READ, {"ids": sql.numbers(account_ids)})
    return {row[0]: OpenTrial._make(row) for row in rows}


_END = """
UPDATE billing.trials SET ended_at = %(now)s, outcome = %(outcome)s
WHERE account_id = ANY(%(ids)s::bigint[]) AND ended_at IS NULL
"""


def end(ctx: Context, account_ids: Sequence[int], *, outcome: str) -> None:
    """End the open trials of these accounts."""
    values = {"ids": account_ids, "outcome": outcome, "now": ctx.now}
    ctx.session.connection().exec_driver_sql(_END, values)


def end_not_running(
    ctx: Context, locked: Locked, account_ids: Collection[int]
) -> list[SweepResult]:
    """End the open rows of accounts whose trial no longer runs; the accounts stay as they are."""
    for account_id in sorted(account_ids):
        account = locked.get(account_id)
        is_there = account is not None and not account.is_deleted
        outcome = OUTCOMES.get(account.status, "left") if account and is_there else "deleted"
        end(ctx, [account_id], outcome=outcome)
    return [SweepResult(account_id, "trial_settled", ctx.now) for account_id in sorted(account_ids)]


def cut_short(ctx: Context, account_ids: Iterable[int]) -> None:
    """End these trials at their start, without a reminder and without a grace period."""
    ctx.session.execute(
        update(Trial)
        .where(Trial.account_id.in_(sorted(account_ids)), Trial.ended_at.is_(None))
        .values(ends_at=Trial.started_at, suspends_at=ctx.now, next_reminder_at=None)
        .execution_options(synchronize_session=False)
    )


def move(ctx: Context, trial: Trial, *, ends_at: dt.datetime) -> None:
    """Give an open trial another end, which is to come, with reminders of its own."""
    trial.ends_at = ends_at
    trial.suspends_at = ends_at + ctx.policy.grace
    trial.next_reminder_at = next_reminder(ends_at, after=ctx.now)
    ctx.session.flush()


def next_reminder(ends_at: dt.datetime, *, after: dt.datetime) -> dt.datetime | None:
    """Return when the first reminder after this moment is due; None after the last."""
    coming = [ends_at - days * DAY for days in REMINDERS if ends_at - days * DAY > after]
    return min(coming, default=None)
