"""How events go out: claimed in a transaction, sent without one, recorded in another."""

import datetime as dt
import time
from collections import Counter
from collections.abc import Sequence
from functools import cache
from typing import Protocol

from billing.errors import TryLater
from billing.events import deliveries
from billing.events.deliveries import Outgoing
from billing_client.events import Event
from gateways.event_queue import EventQueue
from gateways.webhooks import Webhooks
from worker import clock
from worker.database import transaction
from worker.settings import settings

#: A run stops after so long, and leaves the rest to the next tick: the queue has other work.
BUDGET_S = 8.0


class Way(Protocol):
    """A way to the main app."""

    name: str

    def send(self, event: Event, *, now: dt.datetime) -> None:
        """Send it. Raises TryLater; with the fact `is_away`, no other event would fare better."""


@cache
def ways() -> tuple[Way, ...]:
    """The ways that the settings name; none, and events wait."""
    config = settings()
    found: list[Way] = []
    if config.events_queue:
        broker = config.events_broker_url or config.redis_url
        found.append(EventQueue(broker, config.events_queue))
    if config.webhook_url:
        found.append(Webhooks(config.webhook_url, config.signing_secrets))
    return tuple(found)


def deliver_due(to: Sequence[Way], *, budget_s: float = BUDGET_S) -> dict[str, object]:
    """Send what is due, a claim at a time, until nothing is or the time is spent."""
    deadline, counted = time.monotonic() + budget_s, Counter[str]()
    while to and time.monotonic() < deadline:
        with transaction() as ctx:
            claimed = deliveries.claim(ctx)
        if not claimed:
            break
        has_ended = _send_all(claimed, to, deadline=deadline)
        with transaction() as ctx:
            deliveries.record(ctx, claimed)
        counted.update(_word(each) for each in claimed)
        if has_ended:
            break
    return dict(counted)


def _send_all(claimed: Sequence[Outgoing], to: Sequence[Way], *, deadline: float) -> bool:
    """Send these in order; whether it ended before the last: out of time, or every way is away.

    A way that is away is left alone for the rest of the run. An account whose event could not be
    sent has its later ones left for later.
    """
    failed: set[int | None] = set()
    away: set[str] = set()
    for each in claimed:
        if time.monotonic() >= deadline or len(away) == len(to):
            return True
        if each.event.account_id in failed:
            continue
        each.is_tried = True
        _send(each, to, away)
        if each.error and each.event.account_id is not None:
            failed.add(each.event.account_id)
    return False


def _send(each: Outgoing, to: Sequence[Way], away: set[str]) -> None:
    """Send to the ways that have not taken it yet; one found away is added to `away`."""
    errors = []
    for way in to:
        if way.name in each.sent_to:
            continue
        if way.name in away:
            errors.append(f"{way.name}: away")
            continue
        try:
            way.send(each.event, now=clock.now())
            each.sent_to.add(way.name)
        except TryLater as error:
            errors.append(f"{way.name}: {error.name}({error})")
            if error.facts.get("is_away"):
                away.add(way.name)
    each.error = "; ".join(errors) or None


def _word(each: Outgoing) -> str:
    if not each.is_tried:
        return "left"
    return "failed" if each.error else "delivered"
