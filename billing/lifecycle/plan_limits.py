"""Breaches of plan limits: accounts that use more than their plan includes.

A sweep records when a breach begins and ends, and tells the main app; it enforces nothing.
"""

from collections.abc import Iterable

from sqlalchemy import text

from billing.context import Context
from billing.events import outbox
from billing.events.outbox import NewEvent
from billing.host import accounts
from billing.sweep import AT_ONCE, Page, SweepResult

# Returns only new and changed breaches; new ones leave an event.
_RECORD = """
INSERT INTO billing.limit_breaches AS b (account_id, what, used, allowed, since)
SELECT account_id, what, used, allowed, :now FROM billing.plan_limits_exceeded
WHERE account_id = ANY(:ids)
ON CONFLICT (account_id, what) WHERE ended_at IS NULL DO UPDATE
   SET used = excluded.used, allowed = excluded.allowed
   WHERE (b.used, b.allowed) <> (excluded.used, excluded.allowed)
RETURNING account_id, what, used, allowed, xmax = 0 AS is_new
"""
_END = """
UPDATE billing.limit_breaches AS b SET ended_at = :now
WHERE b.account_id = ANY(:ids) AND b.ended_at IS NULL AND NOT EXISTS (
    SELECT FROM billing.plan_limits_exceeded AS e
    WHERE e.account_id = b.account_id AND e.what = b.what)
RETURNING account_id
"""
_PAGE = """
SELECT id FROM igny8_tenants WHERE id > :after AND NOT is_deleted ORDER BY id LIMIT :limit
"""


def check(ctx: Context, account_ids: Iterable[int]) -> list[SweepResult]:
    """Compare accounts with their plans' limits; a new breach leaves `plan.limit_exceeded`.

    Accounts that another transaction has locked are left to the next run.
    """
    values = {"ids": accounts.try_lock(ctx.session, account_ids), "now": ctx.now}
    ended = ctx.session.scalars(text(_END), values).all()
    new = [row for row in ctx.session.execute(text(_RECORD), values) if row.is_new]
    events = [
        NewEvent(
            "plan.limit_exceeded",
            row.account_id,
            {"what": row.what, "used": row.used, "allowed": row.allowed},
        )
        for row in new
    ]
    outbox.leave_all(ctx, events)
    return [SweepResult(row.account_id, "limit_exceeded", ctx.now) for row in new] + [
        SweepResult(account_id, "limit_kept", ctx.now) for account_id in ended
    ]


def sweep(ctx: Context, *, after: int = 0, limit: int = AT_ONCE) -> Page:
    """Check up to `limit` accounts above id `after`; a run checks each account once."""
    ids = ctx.session.scalars(text(_PAGE), {"after": after, "limit": limit}).all()
    return Page(check(ctx, ids), max(ids, default=None))
