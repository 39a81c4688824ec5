"""What names a person in Stripe's words about a closed account, blanked; facts of money stay."""

from collections.abc import Sequence

from billing.context import Context
from billing.postgres import arrays

# What still waits can't be applied any more: the account is closed.
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


def blank(ctx: Context, account_ids: Sequence[int], customers: Sequence[str]) -> None:
    """Blank the events of these accounts, and of these customers; forget their cards."""
    asked = {
        "ids": arrays.numbers(account_ids),
        "customers": arrays.texts(customers),
        "now": ctx.now,
    }
    ctx.session.connection().exec_driver_sql(_EVENTS, asked)
    ctx.session.connection().exec_driver_sql(_CARDS, asked)
