"""Erasure of personal data in the Stripe events and objects of closed accounts."""

from collections.abc import Sequence

from billing.context import Context
from billing.stripe import owners

# Events that still wait can't be applied any more, as the account is closed.
_EVENTS = """
UPDATE billing.stripe_events
SET payload = NULL, raw = NULL, due_at = NULL,
    state = CASE WHEN finished_at IS NULL THEN 'ignored' ELSE state END,
    reason = CASE WHEN finished_at IS NULL THEN 'AccountClosed' ELSE reason END,
    finished_at = COALESCE(finished_at, %(now)s)
WHERE (account_id = ANY(%(ids)s::bigint[]) OR customer = ANY(%(customers)s::text[]))
  AND (payload IS NOT NULL OR raw IS NOT NULL)
"""
_CARDS = """
UPDATE billing.stripe_objects SET facts = jsonb_set(facts, '{card}', 'null')
WHERE account_id = ANY(%(ids)s::bigint[]) AND kind IN ('charge', 'payment_method')
"""


def erase(ctx: Context, account_ids: Sequence[int], customers: Sequence[str]) -> None:
    """Erase the payloads of these accounts' and customers' events, and their card digests."""
    named = owners.of_accounts(ctx.session, account_ids)
    values = {"ids": list(account_ids), "customers": [*customers, *named], "now": ctx.now}
    ctx.session.connection().exec_driver_sql(_EVENTS, values)
    ctx.session.connection().exec_driver_sql(_CARDS, values)
