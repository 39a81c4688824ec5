"""Stripe tasks: receive and apply events, prune payloads, backfill, and the drift report."""

import datetime as dt
import time
from typing import Any

from billing.operations import slots
from billing.stripe import drift, inbox_upkeep, links
from billing_client.messages import AnnounceCheckout, ApplyStripeEvent, StripeWebhook
from flows.stripe import apply as stripe_apply
from flows.stripe import backfill as stripe_backfill
from flows.stripe import batch as stripe_batch
from flows.stripe import fetch as stripe_fetch
from flows.stripe import reconcile as stripe_reconcile
from flows.stripe.apply import DONE_OR_LOCKED
from worker import clock
from worker.app import app
from worker.database import AUDIT_S, transaction

#: Seconds that one tick works; the rest is left to the next.
BUDGET_S = 50.0
#: Events in one batch.
AT_ONCE = 100
#: Payloads that one transaction deletes.
PRUNED_AT_ONCE = 1000
DAY = dt.timedelta(days=1)
#: In UTC: few customers are active, and the audit has read the hash chain.
DRIFT_AT_HOUR = 3
#: Well within a task's time limit; the next tick does the rest.
BACKFILL_S = 120.0
NO_KEY: dict[str, object] = {"why_not": "no API key is set"}


@app.task(name=StripeWebhook.TASK, message=StripeWebhook, bind=True)
def receive(self: Any, message: StripeWebhook) -> dict[str, object]:
    """Verify, store and apply a webhook, and those that wait behind it."""
    return stripe_batch.summary(stripe_batch.work(message, is_alone=_came_back(self.request)))


@app.task(name=ApplyStripeEvent.TASK, message=ApplyStripeEvent, bind=True)
def apply(self: Any, message: ApplyStripeEvent) -> dict[str, object]:
    """Apply an event that the relay has stored, and those that wait behind it."""
    return stripe_batch.summary(stripe_batch.work(message, is_alone=_came_back(self.request)))


def _came_back(request: Any) -> bool:
    """Whether the message was tried before, so that a process may have died of it."""
    return bool(request.retries or (request.delivery_info or {}).get("redelivered"))


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
    return {"pruned": stripe_apply.prune(limit=PRUNED_AT_ONCE)}


@app.task(name="stripe.fill_gaps", is_tick=True)
def fill_gaps() -> dict[str, object]:
    """Read Stripe's list of events from the cursor on, and apply the missing ones."""
    stripe = stripe_fetch.gateway()
    if stripe is None:
        return NO_KEY
    done = stripe_backfill.fill(stripe, budget_s=BACKFILL_S)
    remaining_s, lost_s = done.rest.total_seconds(), done.window.lost.total_seconds()
    return {"listed": done.listed, "new": len(done.new), "left_s": remaining_s, "lost_s": lost_s}


@app.task(
    name="stripe.report_drift", is_tick=True, soft_time_limit=AUDIT_S, time_limit=AUDIT_S + 60
)
def report_drift() -> dict[str, object]:
    """Compare our objects with Stripe's lists, once a night however many beats tick."""
    stripe, now = stripe_fetch.gateway(), clock.now()
    if stripe is None:
        return NO_KEY
    if why_not := _why_not(now):
        return {"why_not": why_not}
    report = stripe_reconcile.look(stripe)
    with transaction() as ctx:
        # Claimed in the commit of its findings: the next tick repeats a report that fails.
        if not slots.claim(ctx.at(now), "stripe_drift", every=DAY):
            return {"why_not": "another report was faster"}
        drift.keep(ctx.at(now), report)
    return {"compared": sum(report.compared.values()), "findings": len(report.differences)}


def _why_not(now: dt.datetime) -> str | None:
    """The reason why no report is due; None if one is."""
    if now.hour < DRIFT_AT_HOUR:
        return "it is not yet time"
    with transaction() as ctx:
        is_done = slots.is_claimed(ctx.at(now), "stripe_drift", every=DAY)
    return "this night's report is done" if is_done else None
