"""The closing of deleted accounts that can no longer be restored, if the policy says so.

Closing erases personal data from our tables, and an event asks the main app to end whatever bills
the account. Entries, lots, payments and invoices are kept, as the law requires.
"""

import datetime as dt
from collections.abc import Sequence
from typing import NamedTuple

from sqlalchemy import text

from billing.bank import erase as bank_erase
from billing.context import Context
from billing.events import outbox
from billing.events.outbox import NewEvent
from billing.host import accounts
from billing.lifecycle.dunning import rows as dunning_rows
from billing.lifecycle.trials import rows as trial_rows
from billing.stripe import erase as stripe_erase
from billing.sweep import AT_ONCE, SweepResult

#: The statements that erase personal data; no table with money is among them.
ERASURES = (
    "DELETE FROM billing.trial_identities WHERE account_id = ANY(:ids)",
    # Letters of the accounts, and webhooks that name their customers, each found by an index.
    """UPDATE billing.dead_letters SET arguments = '{}', raw = NULL, state = 'dropped',
    closed_by = 'billing' WHERE arguments ->> 'account_id' = ANY(:texts)
    OR billing.customers_named(arguments) && CAST(:customers AS text[])""",
)


class DeletedAccount(NamedTuple):
    """A deleted account that can no longer be restored."""

    account_id: int
    slug: str
    deleted_at: dt.datetime | None
    restore_until: dt.datetime


# The view uses the database's clock; the caller's clock counts here.
_LISTED = """
SELECT account_id, slug, deleted_at, restore_until FROM billing.retention_over
WHERE restore_until <= :now ORDER BY restore_until LIMIT :limit
"""
_CLOSE = """
INSERT INTO billing.closures (account_id, restore_until, closed_at)
SELECT a.id, a.restore_until, :now FROM igny8_tenants AS a
WHERE a.id = ANY(:ids) AND a.is_deleted AND a.restore_until <= :now
ON CONFLICT DO NOTHING RETURNING account_id, restore_until
"""
_AT_STRIPE = """
SELECT a.id, a.stripe_customer_id, s.stripe_subscription_id
FROM igny8_tenants AS a LEFT JOIN igny8_subscriptions AS s ON s.tenant_id = a.id
WHERE a.id = ANY(:ids)
"""


def listed(ctx: Context, *, limit: int) -> Sequence[DeletedAccount]:
    """List deleted accounts that are not closed yet, the longest overdue first."""
    rows = ctx.session.execute(text(_LISTED), {"now": ctx.now, "limit": limit}).all()
    return [DeletedAccount(*row) for row in rows]


def sweep(ctx: Context, *, limit: int = AT_ONCE) -> list[SweepResult]:
    """Close up to `limit` accounts; empty when none is left, or if the policy does not close."""
    if not ctx.policy.closes_deleted:
        return []

    def propose(limit: int) -> list[int]:
        return [account.account_id for account in listed(ctx, limit=limit)]

    return close(ctx, accounts.lock_due(ctx.session, propose(limit), propose, limit=limit))


def close(ctx: Context, account_ids: Sequence[int]) -> list[SweepResult]:
    """Close those of these accounts that can no longer be restored and that are not locked."""
    ids = accounts.try_lock(ctx.session, account_ids)
    closed = {
        row.account_id: row.restore_until
        for row in ctx.session.execute(text(_CLOSE), {"ids": ids, "now": ctx.now}).all()
    }
    if not closed:
        return []
    trial_rows.end(ctx, list(closed), outcome="deleted")
    dunning_rows.close(ctx, closed, outcome="account_deleted")
    at_stripe = ctx.session.execute(text(_AT_STRIPE), {"ids": list(closed)}).all()
    customers = [row.stripe_customer_id for row in at_stripe if row.stripe_customer_id]
    _erase(ctx, list(closed), customers)
    events = [
        NewEvent(
            "account.closed",
            row.id,
            {
                "restore_until": closed[row.id].isoformat(),
                "stripe_customer_id": row.stripe_customer_id,
                "stripe_subscription_id": row.stripe_subscription_id,
            },
        )
        for row in at_stripe
    ]
    outbox.leave_all(ctx, events)
    return [SweepResult(account_id, "closed", at) for account_id, at in closed.items()]


def _erase(ctx: Context, account_ids: Sequence[int], customers: Sequence[str]) -> None:
    values = {
        "ids": account_ids,
        "texts": [str(account_id) for account_id in account_ids],
        "customers": customers,
    }
    for statement in ERASURES:
        needed = {name: value for name, value in values.items() if f":{name}" in statement}
        ctx.session.execute(text(statement), needed)
    stripe_erase.erase(ctx, account_ids, customers)
    bank_erase.erase(ctx.session, account_ids)
