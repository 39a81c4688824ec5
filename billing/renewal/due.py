"""The queries of the sweeps: which accounts are due for renewal, expiry, plan change or repair.

Each is one bounded statement, and only proposes: every act locks the accounts and looks again.
System accounts and deleted ones are proposed only where their credit cycle has to end.
"""

from sqlalchemy.orm import Session

from billing.context import Context
from billing.host.accounts import SYSTEM_SLUGS
from billing.host.funding import FUNDED

#: The condition, of an account `a`, that a sweep may change it.
_MAY_TOUCH = "NOT a.is_deleted AND a.slug <> ALL (%(system)s)"


def _ids(session: Session, query: str, **parameters: object) -> list[int]:
    values = {**parameters, "system": sorted(SYSTEM_SLUGS)}
    return [row[0] for row in session.connection().exec_driver_sql(query, values)]


_RENEWALS = """
SELECT account_id FROM billing.credit_calendars
WHERE ended_at IS NULL AND next_due_at <= %(now)s
ORDER BY next_due_at, account_id LIMIT %(limit)s FOR UPDATE SKIP LOCKED
"""


def renewals(ctx: Context, limit: int) -> list[int]:
    """Claim accounts whose period has ended, the longest overdue first.

    The claim keeps two sweeps off the same accounts. It comes before the accounts' locks, against
    their order. That is safe because a sweep takes those by SKIP LOCKED, and so never waits.
    """
    return _ids(ctx.session, _RENEWALS, now=ctx.now, limit=limit)


_LOTS_OVER = f"""
billing.lots AS l JOIN igny8_tenants AS a ON a.id = l.account_id
    WHERE l.is_open AND l.expires_at <= %(now)s AND l.remaining > l.held AND {_MAY_TOUCH}
"""
_EXPIRIES = f"""
SELECT DISTINCT account_id FROM (
    SELECT l.account_id FROM {_LOTS_OVER} ORDER BY l.expires_at LIMIT %(limit)s) AS lots
"""


def expiries(ctx: Context, limit: int) -> list[int]:
    """List the accounts of up to `limit` lots that are over and still have credits to expire."""
    return _ids(ctx.session, _EXPIRIES, now=ctx.now, limit=limit)


_PLAN_CHANGES = f"""
SELECT c.account_id FROM billing.credit_calendars AS c
JOIN igny8_tenants AS a ON a.id = c.account_id JOIN igny8_plans AS p ON p.id = a.plan_id
WHERE c.ended_at IS NULL AND a.plan_id <> COALESCE(c.next_plan_id, c.plan_id)
  AND a.status = 'active' AND p.is_active AND {_MAY_TOUCH}
ORDER BY c.account_id LIMIT %(limit)s
"""


def plan_changes(session: Session, limit: int) -> list[int]:
    """List accounts whose plan is no longer the one of their credit cycle."""
    return _ids(session, _PLAN_CHANGES, limit=limit)


_REPAIRS = f"""
SELECT a.id FROM igny8_tenants AS a
JOIN igny8_plans AS p ON p.id = a.plan_id AND p.is_active
LEFT JOIN billing.credit_calendars AS c ON c.account_id = a.id
WHERE a.id > %(after)s AND {_MAY_TOUCH} AND (
    a.status = 'active' AND NOT {FUNDED.format(now="%(now)s")} AND (
        c.account_id IS NULL OR c.ended_at IS NOT NULL
        OR c.next_due_at > %(now)s AND c.period_number >= c.first_period
           AND p.included_credits > 0 AND c.plan_id = a.plan_id AND NOT EXISTS (
               SELECT FROM billing.lots AS l
               WHERE l.account_id = a.id AND l.period_number = c.period_number))
    OR a.status = 'trial' AND a.credits = 0 AND p.included_credits > 0
       AND NOT EXISTS (SELECT FROM billing.lots AS l WHERE l.account_id = a.id)
       AND NOT EXISTS (SELECT FROM igny8_credit_transactions AS e WHERE e.tenant_id = a.id))
ORDER BY a.id LIMIT %(limit)s
"""


def repairs(ctx: Context, *, after: int, limit: int) -> list[int]:
    """List accounts above id `after` that seem to lack credits, or a credit cycle."""
    return _ids(ctx.session, _REPAIRS, now=ctx.now, after=after, limit=limit)


_PURCHASES_DUE = """
billing.purchases AS p JOIN igny8_tenants AS a ON a.id = p.account_id
    WHERE p.next_due_at <= %(now)s AND NOT a.is_deleted
"""
_PURCHASES = f"""
SELECT p.account_id FROM {_PURCHASES_DUE} ORDER BY p.next_due_at LIMIT %(limit)s
"""


def purchases(ctx: Context, limit: int) -> list[int]:
    """List the accounts of up to `limit` purchases whose next monthly lot is due."""
    return sorted(set(_ids(ctx.session, _PURCHASES, now=ctx.now, limit=limit)))


_COUNT = f"""
SELECT (SELECT count(*) FROM billing.credit_calendars
        WHERE ended_at IS NULL AND next_due_at <= %(now)s)
       + (SELECT count(*) FROM {_PURCHASES_DUE}),
       (SELECT count(*) FROM {_LOTS_OVER})
"""


def count(ctx: Context) -> tuple[int, int]:
    """Count the periods that wait for their renewal and the lots that wait for their expiry.

    The monthly lots of purchases by the year count as periods.
    """
    values = {"now": ctx.now, "system": sorted(SYSTEM_SLUGS)}
    renewals, lots = ctx.session.connection().exec_driver_sql(_COUNT, values).one()
    return renewals, lots
