"""The delivery of events: claim in one transaction, send without one, record in another."""

import datetime as dt
import time
from collections import Counter
from collections.abc import Sequence
from functools import cache
from typing import Protocol

from billing.errors import ProcessKilled, TryLater
from billing.events import deliveries
from billing.events.deliveries import Outgoing
from billing_client.events import Event
from gateways.event_queue import EventQueue
from gateways.webhooks import Webhooks
from worker import clock, deaths
from worker.database import transaction
from worker.settings import settings

#: Seconds after which a run leaves the rest to the next tick: the queue has other work.
BUDGET_S = 8.0


class Channel(Protocol):
    """A channel to the main app."""

    name: str

    def send(self, event: Event, *, now: dt.datetime) -> None:
        """Send an event. Raises TryLater; the fact `is_away` says that no event can be sent."""


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


def deliver_due(to: Sequence[Channel], *, budget_s: float = BUDGET_S) -> dict[str, object]:
    """Send the events that are due, a claim at a time, until none is or the time is up."""
    deadline, counted = time.monotonic() + budget_s, Counter[str]()
    while to and time.monotonic() < deadline:
        with transaction() as ctx:
            claimed = deliveries.claim(ctx)
        if not claimed:
            break
        has_ended = _send_and_record(claimed, to, deadline=deadline)
        counted.update(_outcome(outgoing) for outgoing in claimed)
        if has_ended:
            break
    return dict(counted)


def _send_and_record(
    claimed: Sequence[Outgoing], to: Sequence[Channel], *, deadline: float
) -> bool:
    """Send events and record the outcomes; returns as `_send_all`.

    If a process died at one of them, each is sent alone, those of the suspect's account last.
    """
    names = [f"outbox:{outgoing.event.id}" for outgoing in claimed]
    known = dict(zip(names, deaths.of(names), strict=True))
    if not any(known.values()):
        with deaths.counted(names):
            has_ended = _send_all(claimed, to, deadline=deadline)
            _record(claimed)
        return has_ended
    worst: dict[int | None, int] = {}
    for outgoing, count in zip(claimed, known.values(), strict=True):
        account_id = outgoing.event.account_id
        worst[account_id] = max(worst.get(account_id, 0), count)
    for outgoing in sorted(claimed, key=lambda item: (worst[item.event.account_id], item.event.id)):
        name = f"outbox:{outgoing.event.id}"
        if known[name] >= deaths.MOST:
            outgoing.kill(ProcessKilled(times=known[name]))
            _record([outgoing])
            deaths.forget([name])
            continue
        with deaths.counted([name]):
            _send_all([outgoing], to, deadline=deadline)
            _record([outgoing])
    return False


def _record(sent: Sequence[Outgoing]) -> None:
    with transaction() as ctx:
        deliveries.record(ctx, sent)


def _send_all(claimed: Sequence[Outgoing], to: Sequence[Channel], *, deadline: float) -> bool:
    """Send events in order; returns whether it stopped early, out of time or channels.

    A channel that is unavailable is not used again in this run. If an account's event could not be
    sent, its later ones are not sent either.
    """
    failed: set[int | None] = set()
    away: set[str] = set()
    for outgoing in claimed:
        if time.monotonic() >= deadline or len(away) == len(to):
            return True
        if outgoing.event.account_id in failed:
            continue
        outgoing.is_tried = True
        _send(outgoing, to, away)
        if outgoing.error and outgoing.event.account_id is not None:
            failed.add(outgoing.event.account_id)
    return False


def _send(outgoing: Outgoing, to: Sequence[Channel], away: set[str]) -> None:
    """Send an event by the channels that have not taken it; adds unavailable ones to `away`."""
    errors = []
    for channel in to:
        if channel.name in outgoing.sent_to:
            continue
        if channel.name in away:
            errors.append(f"{channel.name}: away")
            continue
        try:
            channel.send(outgoing.event, now=clock.now())
            outgoing.sent_to.add(channel.name)
        except TryLater as error:
            errors.append(f"{channel.name}: {error.name}({error})")
            if error.facts.get("is_away"):
                away.add(channel.name)
    outgoing.error = "; ".join(errors) or None


def _outcome(outgoing: Outgoing) -> str:
    if not outgoing.is_tried:
        return "left"
    return "failed" if outgoing.error else "delivered"
