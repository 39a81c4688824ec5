"""What accounts use beyond their plan, noticed at once or by a sweep; nothing is deleted."""

import datetime as dt
from collections.abc import Iterable

from sqlalchemy import select, text
from sqlalchemy.orm import Session

from billing.events import outbox
from billing.events.outbox import NewEvent
from billing.host import accounts
from billing.sweep import AT_ONCE, Page, Swept
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


def look(session: Session, account_ids: Iterable[int], *, now: dt.datetime) -> list[Swept]:
    """Compare these accounts with their plans; a new breach leaves `plan.limit_exceeded`.

    Accounts that somebody else works on are left to the next look.
    """
    ids = accounts.lock_free(session, account_ids)
    asked = {"ids": ids, "now": now}
    kept = session.scalars(text(_END), asked).all()
    new = [row for row in session.execute(text(_NOTE), asked).all() if row.is_new]
    events = [
        NewEvent(
            "plan.limit_exceeded",
            row.account_id,
            {"what": row.what, "used": row.used, "allowed": row.allowed},
        )
        for row in new
    ]
    outbox.leave_all(session, events, now=now)
    return [Swept(row.account_id, "limit_exceeded", now) for row in new] + [
        Swept(account_id, "limit_kept", now) for account_id in kept
    ]


def sweep(session: Session, *, now: dt.datetime, after: int = 0, limit: int = AT_ONCE) -> Page:
    """Look at accounts above id `after`, up to `limit`; each is looked at once a run."""
    ids = session.scalars(text(_PAGE), {"after": after, "limit": limit}).all()
    return Page(look(session, ids, now=now), max(ids, default=None))


def open_breaches(session: Session, account_id: int) -> list[tuple[str, int, int]]:
    """What the account has too much of: (what, used, allowed)."""
    rows = select(LimitBreach.what, LimitBreach.used, LimitBreach.allowed).where(
        LimitBreach.account_id == account_id, LimitBreach.ended_at.is_(None)
    )
    return [(what, used, allowed) for what, used, allowed in session.execute(rows)]
