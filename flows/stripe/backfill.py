"""Stripe's list of events read, and what never came by webhook kept and applied.

Whatever breaks it off, what was kept stays, and the cursor stands where all before it is kept.
"""

import datetime as dt
import itertools
import json
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from billing.errors import Rejected
from billing.stripe import backfill, events, store_event
from billing.stripe.backfill import Window
from billing.stripe.events import Event
from flows.stripe import apply as stripe_apply
from flows.stripe.apply import Outcome
from gateways.stripe_api import StripeGateway
from worker import clock
from worker.database import transaction


@dataclass(slots=True)
class Filled:
    """What a run has done. `left`: how much of the window it had no time for."""

    window: Window
    listed: int = 0
    unreadable: int = 0
    new: set[str] = field(default_factory=set)
    outcomes: list[Outcome] = field(default_factory=list)
    left: dt.timedelta = dt.timedelta(0)


#: Is told how far a run has come, after each set of events.
Watch = Callable[[Filled], object]


def fill(
    stripe: StripeGateway,
    *,
    since: dt.datetime | None = None,
    budget_s: float | None = None,
    is_rehearsal: bool = False,
    watch: Watch = lambda _: None,
) -> Filled:
    """Keep and apply what never came, from the cursor on or `since` a time, a slice at a time.

    `is_rehearsal`: look, and keep nothing. `budget_s`: begin no slice, and apply none, after so
    many seconds; the sweep applies what was kept. Raises StripeAway or StripeRefused.
    """
    deadline = time.monotonic() + (budget_s or float("inf"))
    is_live, now = stripe_apply.guard().is_live, clock.now()
    with transaction() as ctx:
        window = backfill.window(ctx.at(now), is_live=is_live, since=since)
    done = Filled(window)
    for part in window.slices:
        if time.monotonic() > deadline:
            done.left = window.until - part.since
            break
        numbers = _keep(stripe, part, done, is_rehearsal=is_rehearsal, watch=watch)
        if is_rehearsal:
            continue
        with transaction() as ctx:
            backfill.move_cursor(ctx, part.until, since=part.since, is_live=is_live)
        for number in numbers:
            if time.monotonic() < deadline:
                done.outcomes.append(stripe_apply.apply(number))
                watch(done)
    return done


def _keep(
    stripe: StripeGateway, part: Window, done: Filled, *, is_rehearsal: bool, watch: Watch
) -> list[int]:
    """Keep what is new in a slice, in sets; the numbers of what was kept."""
    numbers: list[int] = []
    listed = stripe.events(since=part.since, until=part.until)
    while payloads := list(itertools.islice(listed, backfill.AT_ONCE)):
        found = _read(payloads, done, is_rehearsal=is_rehearsal)
        with transaction() as ctx:
            new = backfill.unknown(ctx.session, found)
            if not is_rehearsal:
                numbers += backfill.keep(ctx, new)
        done.listed += len(payloads)
        done.new |= {event.id for event in new}
        watch(done)
    return numbers


def _read(payloads: Iterable[object], done: Filled, *, is_rehearsal: bool) -> list[Event]:
    """The events that these are; one that is none is kept as refused."""
    found = []
    for payload in payloads:
        try:
            found.append(events.of_payload(payload))
        except Rejected as error:
            done.unreadable += 1
            if not is_rehearsal:
                _refuse(payload, error)
    return found


def _refuse(payload: object, error: Rejected) -> None:
    now, body = clock.now(), json.dumps(payload, sort_keys=True).encode()
    with transaction() as ctx:
        store_event.refuse(ctx.at(now), body, error, source="gap_fill", received_at=now)
