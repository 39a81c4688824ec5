"""Stripe tasks: receive webhooks, apply events, take up unfinished ones, prune payloads."""

import time

from billing.stripe import inbox_upkeep, links
from billing_client.messages import AnnounceCheckout, ApplyStripeEvent, StripeWebhook
from flows.stripe import apply as stripe_apply
from flows.stripe import batch as stripe_batch
from flows.stripe.apply import DONE_OR_LOCKED
from worker.app import app
from worker.database import transaction

#: Seconds that one tick works; the rest is left to the next.
BUDGET_S = 50.0
#: Events in one batch.
AT_ONCE = 100
#: Payloads that one transaction deletes.
PRUNED_AT_ONCE = 1000


@app.task(name=StripeWebhook.TASK, message=StripeWebhook)
def receive(message: StripeWebhook) -> dict[str, object]:
    """Verify, store and apply a webhook, and those that wait behind it."""
    return stripe_batch.summary(stripe_batch.work(message))


@app.task(name=ApplyStripeEvent.TASK, message=ApplyStripeEvent)
def apply(message: ApplyStripeEvent) -> dict[str, object]:
    """Apply an event that the relay has stored, and those that wait behind it."""
    return stripe_batch.summary(stripe_batch.work(message))


@app.task(name=AnnounceCheckout.TASK, message=AnnounceCheckout)
def announce_checkout(message: AnnounceCheckout) -> dict[str, object]:
    """Record whose account pays in a Checkout session; apply what waited for it."""
    with transaction() as ctx:
        events = links.announce(ctx.by("main_app"), message)
    return {"events": events}


@app.task(name="stripe.apply_due", is_tick=True)
def apply_due() -> dict[str, object]:
    """Apply due events: failed or parked ones, and those that a dead worker left unfinished."""
    deadline, count = time.monotonic() + BUDGET_S, 0
    while time.monotonic() < deadline:
        with transaction() as ctx:
            numbers = inbox_upkeep.due(ctx, limit=AT_ONCE)
        outcomes = stripe_apply.apply_all(numbers)
        count += len(outcomes)
        # Events that another worker has locked stay due.
        if all(outcome.state == DONE_OR_LOCKED for outcome in outcomes):
            break
    return {"events": count}


@app.task(name="stripe.prune", is_tick=True)
def prune() -> dict[str, object]:
    """Delete the payloads of old, finished events."""
    pruned = stripe_apply.prune(limit=PRUNED_AT_ONCE)
    return {"pruned": pruned}
