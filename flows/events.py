"""The delivery of events: claim in one transaction, send without one, record in another.

Accounts are served in parallel, each account's events in order. Events are claimed and recorded in
batches while others are being sent, so a slow answer delays only its own account.
"""

import time
from collections import Counter
from collections.abc import Callable, Sequence
from functools import cache
from typing import NamedTuple

from sqlalchemy import text

from billing.errors import ProcessKilled
from billing.events import deliveries
from billing.events.deliveries import Outgoing
from flows.event_lanes import Channel, Lanes, by_account
from gateways.event_queue import EventQueue
from gateways.webhooks import Webhooks
from worker import deaths
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
    answers. Events at which a process died are sent alone, after all others.
    """
    if not to:
        return {}
    with Lanes(to, deadline=time.monotonic() + budget_s) as lanes:
        try:
            return dict(_deliver(lanes, again))
        finally:
            deaths.forget(_names(list(lanes.open.values())))  # an error is no death


def _deliver(lanes: Lanes, again: Callable[..., object]) -> Counter[str]:
    counted, suspects = Counter[str](), list[Suspect]()
    with transaction() as alone:
        # This transaction holds the lock while events are claimed, and does nothing else.
        if not alone.session.execute(text(_ALONE)).scalar_one():
            return counted
        while not lanes.have_ended:
            if len(lanes.open) < deliveries.AT_ONCE:
                with transaction() as ctx:
                    limit = deliveries.AT_ONCE - len(lanes.open)
                    claimed = deliveries.claim(ctx, limit=limit)
                lanes.add(_without_suspects(claimed, suspects))
            if not lanes.open:
                break
            counted += _record(lanes.done())
    if lanes.time_is_up:
        again(expires=AGAIN_WITHIN_S)
    while lanes.open:
        counted += _record(lanes.done())
    for suspect in sorted(suspects):
        counted += _send_alone(lanes, suspect)
    return counted


class Suspect(NamedTuple):
    """Events of an account at which a process died, with the deaths at each, and at the worst."""

    worst: int
    first_id: int
    events: list[Outgoing]
    deaths: list[int]


def _without_suspects(claimed: Sequence[Outgoing], suspects: list[Suspect]) -> list[list[Outgoing]]:
    """Split events by account; add the accounts with a deadly one to `suspects`, return others."""
    ids = [outgoing.event.id for outgoing in claimed]
    counts = dict(zip(ids, deaths.of(_names(claimed)), strict=True)) if claimed else {}
    fine = []
    for events in by_account(claimed):
        of_events = [counts[outgoing.event.id] for outgoing in events]
        if any(of_events):
            suspects.append(Suspect(max(of_events), events[0].event.id, events, of_events))
        else:
            fine.append(events)
    deaths.begin(_names([outgoing for events in fine for outgoing in events]))
    return fine


def _send_alone(lanes: Lanes, suspect: Suspect) -> Counter[str]:
    """Send an account's events while no other is being sent; the deadly one is dead."""
    counted, has_failed = Counter[str](), False
    for outgoing, count in zip(suspect.events, suspect.deaths, strict=True):
        if count >= deaths.MOST:
            outgoing.kill(ProcessKilled(times=count))
            counted += _record([outgoing])
        elif has_failed:
            counted += _record([outgoing])
        else:
            with deaths.counted(_names([outgoing])):
                lanes.send(outgoing)
                counted += _record([outgoing])
            has_failed = not outgoing.is_tried or outgoing.error is not None
    return counted


def _names(events: Sequence[Outgoing]) -> list[str]:
    return [f"outbox:{outgoing.event.id}" for outgoing in events]


def _record(sent: Sequence[Outgoing]) -> Counter[str]:
    """Record the outcome of these events, and count it."""
    if sent:
        with transaction() as ctx:
            deliveries.record(ctx, sent)
        deaths.forget(_names(sent))
    return Counter(_outcome(outgoing) for outgoing in sent)


def _outcome(outgoing: Outgoing) -> str:
    if not outgoing.is_tried:
        return "left"
    return "failed" if outgoing.error else "delivered"
