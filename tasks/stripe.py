"""Stripe: webhooks received, events applied, and what was left over taken up again."""

import time

from billing.stripe import inbox
from billing_client.messages import ApplyStripeEvent, StripeWebhook
from flows.stripe import apply as stripe_apply
from flows.stripe import batch as stripe_batch
from flows.stripe.apply import DONE_OR_LOCKED
from worker.app import app
from worker.database import transaction

#: One tick works for so long, and leaves the rest to the next.
BUDGET_S = 50.0
#: Events that are read from the table at once.
AT_ONCE = 100
#: Payloads that one transaction forgets.
PRUNED_AT_ONCE = 1000


@app.task(name=StripeWebhook.TASK, message=StripeWebhook)
def receive(message: StripeWebhook) -> dict[str, object]:
    """Verify a webhook, keep it, and apply it; so with those that wait behind it."""
    return stripe_batch.told(stripe_batch.work(message))


@app.task(name=ApplyStripeEvent.TASK, message=ApplyStripeEvent)
def apply(message: ApplyStripeEvent) -> dict[str, object]:
    """Apply an event that the relay has kept; so with those that wait behind it."""
    return stripe_batch.told(stripe_batch.work(message))


@app.task(name="stripe.apply_due", is_tick=True)
def apply_due() -> dict[str, object]:
    """Take up what failed, what waits, and what a worker that died left unfinished."""
    deadline, taken = time.monotonic() + BUDGET_S, 0
    while time.monotonic() < deadline:
        with transaction() as ctx:
            numbers = inbox.due(ctx, limit=AT_ONCE)
        outcomes = stripe_apply.apply_all(numbers)
        taken += len(outcomes)
        # What another worker has locked stays due: it is left to that one.
        if all(outcome.state == DONE_OR_LOCKED for outcome in outcomes):
            break
    return {"events": taken}


@app.task(name="stripe.prune", is_tick=True)
def prune() -> dict[str, object]:
    """Forget the payloads of events that are done and old."""
    pruned = stripe_apply.prune(limit=PRUNED_AT_ONCE)
    return {"pruned": pruned}
