"""What accounts use beyond their plan, noticed at once or by a sweep; nothing is deleted."""

from collections.abc import Iterable

from sqlalchemy import select, text
from sqlalchemy.orm import Session

from billing.context import Context
from billing.events import outbox
from billing.events.outbox import NewEvent
from billing.host import accounts
from billing.sweep import AT_ONCE, Page, SweepResult
from models.life import LimitBreach

# Only what is new, or has grown, is returned: the same breach is told once.
_NOTE = """
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


def look(ctx: Context, account_ids: Iterable[int]) -> list[SweepResult]:
    """Compare these accounts with their plans; a new breach leaves `plan.limit_exceeded`.

    Accounts that somebody else works on are left to the next look.
    """
    ids = accounts.try_lock(ctx.session, account_ids)
    asked = {"ids": ids, "now": ctx.now}
    kept = ctx.session.scalars(text(_END), asked).all()
    new = [row for row in ctx.session.execute(text(_NOTE), asked).all() if row.is_new]
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
        SweepResult(account_id, "limit_kept", ctx.now) for account_id in kept
    ]


def sweep(ctx: Context, *, after: int = 0, limit: int = AT_ONCE) -> Page:
    """Look at accounts above id `after`, up to `limit`; each is looked at once a run."""
    ids = ctx.session.scalars(text(_PAGE), {"after": after, "limit": limit}).all()
    return Page(look(ctx, ids), max(ids, default=None))


def open_breaches(session: Session, account_id: int) -> list[tuple[str, int, int]]:
    """What the account has too much of: (what, used, allowed)."""
    rows = select(LimitBreach.what, LimitBreach.used, LimitBreach.allowed).where(
        LimitBreach.account_id == account_id, LimitBreach.ended_at.is_(None)
    )
    return [(what, used, allowed) for what, used, allowed in session.execute(rows)]
