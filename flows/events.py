"""The delivery of events: claim in one transaction, send without one, record in another.

Accounts are served in parallel, each account's events in order. Events are claimed and recorded in
batches while others are being sent, so a slow answer delays only its own account.
"""

import time
from collections import Counter
from collections.abc import Callable, Sequence
from functools import cache

from sqlalchemy import text

from billing.events import deliveries
from billing.events.deliveries import Outgoing
from flows.event_lanes import Channel, Lanes
from gateways.event_queue import EventQueue
from gateways.webhooks import Webhooks
from worker.database import transaction
from worker.settings import settings

#: Seconds after which a run leaves the rest to the next one: the queue has other work.
BUDGET_S = 8.0
#: The next run expires by then: beat has ticked again.
AGAIN_WITHIN_S = 10.0
_ALONE = "SELECT pg_try_advisory_xact_lock(hashtext('billing.deliver_events'))"


@cache
def channels() -> tuple[Channel, ...]:
    """Make the channels of the settings; without any, events wait."""
    config = settings()
    configured: list[Channel] = []
    if config.events_queue:
        broker = config.events_broker_url or config.redis_url
        configured.append(EventQueue(broker, config.events_queue))
    if config.webhook_url:
        configured.append(Webhooks(config.webhook_url, config.signing_secrets))
    return tuple(configured)


def deliver_due(
    to: Sequence[Channel],
    *,
    again: Callable[..., object] = lambda **_: None,
    budget_s: float = BUDGET_S,
) -> dict[str, object]:
    """Send the events that are due until none is or the time is up; then send the task `again`.

    One run at a time claims events. Another one may do so while this one waits for its last
    answers.
    """
    if not to:
        return {}
    counted = Counter[str]()
    with Lanes(to, deadline=time.monotonic() + budget_s) as lanes:
        with transaction() as alone:
            # This transaction holds the lock while events are claimed, and does nothing else.
            if not alone.session.execute(text(_ALONE)).scalar_one():
                return {}
            while not lanes.have_ended:
                if lanes.open_count < deliveries.AT_ONCE:
                    with transaction() as ctx:
                        limit = deliveries.AT_ONCE - lanes.open_count
                        lanes.add(deliveries.claim(ctx, limit=limit))
                if not lanes.open_count:
                    return dict(counted)
                counted += _record(lanes.done())
        if lanes.time_is_up:
            again(expires=AGAIN_WITHIN_S)
        while lanes.open_count:
            counted += _record(lanes.done())
    return dict(counted)


def _record(sent: Sequence[Outgoing]) -> Counter[str]:
    """Record the outcome of these events, and count it."""
    if sent:
        with transaction() as ctx:
            deliveries.record(ctx, sent)
    return Counter(_outcome(outgoing) for outgoing in sent)


def _outcome(outgoing: Outgoing) -> str:
    if not outgoing.is_tried:
        return "left"
    return "failed" if outgoing.error else "delivered"
