"""Backfill: read Stripe's list of events, store those that no webhook brought, and apply them.

An interrupted run keeps what it stored; the cursor stands where everything before is stored.
"""

import datetime as dt
import itertools
import json
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from billing.errors import Rejected
from billing.stripe import backfill, events, inbox
from billing.stripe.backfill import Window
from billing.stripe.events import Event
from billing.stripe.inbox import Outcome
from flows.stripe import apply as stripe_apply
from gateways.stripe_api import StripeGateway
from worker import clock
from worker.database import transaction


@dataclass(slots=True)
class Progress:
    """The progress of a run. `rest`: the part of the window that it had no time for."""

    window: Window
    listed: int = 0
    unreadable: int = 0
    new: set[str] = field(default_factory=set)
    outcomes: list[Outcome] = field(default_factory=list)
    rest: dt.timedelta = dt.timedelta(0)


#: Called with the progress after each batch of events.
Watch = Callable[[Progress], object]


def fill(
    stripe: StripeGateway,
    *,
    since: dt.datetime | None = None,
    budget_s: float | None = None,
    is_rehearsal: bool = False,
    watch: Watch = lambda _: None,
) -> Progress:
    """Store and apply missing events from the cursor on, or since a time, slice by slice.

    `is_rehearsal`: only read. `budget_s`: begin no slice and apply no event after so many seconds;
    the sweep applies what was stored. Raises StripeAway or StripeRefused.
    """
    deadline = time.monotonic() + (budget_s or float("inf"))
    is_live, now = stripe_apply.guard().is_live, clock.now()
    with transaction() as ctx:
        window = backfill.window(ctx.at(now), is_live=is_live, since=since)
    done = Progress(window)
    for part in window.slices:
        if time.monotonic() > deadline:
            done.rest = window.until - part.since
            break
        numbers = _store(stripe, part, done, is_rehearsal=is_rehearsal, watch=watch)
        if is_rehearsal:
            continue
        with transaction() as ctx:
            backfill.move_cursor(ctx, part.until, since=part.since, is_live=is_live)
        for number in numbers:
            if time.monotonic() < deadline:
                done.outcomes.append(stripe_apply.apply(number))
                watch(done)
    return done


def _store(
    stripe: StripeGateway, part: Window, done: Progress, *, is_rehearsal: bool, watch: Watch
) -> list[int]:
    """Store the missing events of a slice, in batches; return their numbers."""
    numbers: list[int] = []
    listed = stripe.events(since=part.since, until=part.until)
    while payloads := list(itertools.islice(listed, backfill.AT_ONCE)):
        readable = _read(payloads, done, is_rehearsal=is_rehearsal)
        with transaction() as ctx:
            new = backfill.unknown(ctx.session, readable)
            if not is_rehearsal:
                numbers += backfill.store(ctx, new)
        done.listed += len(payloads)
        done.new |= {event.id for event in new}
        watch(done)
    return numbers


def _read(payloads: Iterable[object], done: Progress, *, is_rehearsal: bool) -> list[Event]:
    """Parse events; store one that can't be parsed as refused."""
    readable = []
    for payload in payloads:
        try:
            readable.append(events.of_payload(payload))
        except Rejected as error:
            done.unreadable += 1
            if not is_rehearsal:
                _refuse(payload, error)
    return readable


def _refuse(payload: object, error: Rejected) -> None:
    now, body = clock.now(), json.dumps(payload, sort_keys=True).encode()
    with transaction() as ctx:
        inbox.refuse(ctx.at(now), body, error, source="gap_fill", received_at=now)
