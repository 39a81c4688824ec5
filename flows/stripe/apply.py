"""Stripe's events applied: Stripe asked what it says now, if we may, and what follows committed.

Each is a committed row already; one that was not finished is taken up again by `stripe.apply_due`.
"""

import datetime as dt
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import NamedTuple

from sqlalchemy.orm import Session

from billing.context import Context
from billing.errors import BillingError
from billing.stripe import apply_batch, apply_one, events, inbox
from billing.stripe.apply_batch import Taken
from billing.stripe.apply_one import Fetched, Guard
from billing.stripe.errors import BadObject, NoneOfOurs, Unreadable
from billing.stripe.events import Event
from flows.stripe import fetch as stripe_fetch
from flows.stripe.fetch import Asked
from models.stripe import StripeEvent
from worker import clock
from worker.database import is_away, is_transient, transaction
from worker.logs import logger
from worker.settings import settings

log = logger(__name__)


#: A set has locked many accounts while it waits for one: no longer than this. The events of that
#: account are then left to the sweep, and the others go on.
LOCK_WAIT_MS = 1000


class Outcome(NamedTuple):
    """What became of an event: the state of its row, and why."""

    number: int | None
    state: str
    reason: str | None = None


#: Of an event that is a row, and that nothing has followed from yet.
WAITING = "received"
#: Of an event that was finished meanwhile, or that another worker has in hand.
DONE_OR_LOCKED = "done or locked"


def guard() -> Guard:
    """Which events are ours, by the settings."""
    config = settings()
    return Guard(is_live=config.takes_live_events, stripe_account=config.stripe_account)


def apply_in(ctx: Context, taken: Sequence[Taken]) -> list[StripeEvent]:
    """Apply the usual ones of these events, and write what became of them; returns their rows."""
    if len(taken) > 1:
        _wait_for_locks(ctx.session, LOCK_WAIT_MS)
    done = apply_batch.apply_all(ctx, taken, guard=guard())
    inbox.write_all(ctx.session, done)
    return done


def _wait_for_locks(session: Session, lock_wait_ms: int) -> None:
    session.connection().exec_driver_sql(f"SET LOCAL lock_timeout = {lock_wait_ms}")


def outcome_of(row: StripeEvent) -> Outcome:
    """What became of an event by its row."""
    return Outcome(row.id, row.state, row.reason)


def log_broken(error: Exception, **about: object) -> None:
    """A bug is said with all that led to it; what passes only by its name."""
    name = type(error).__name__
    if is_transient(error):
        log.warning("stripe_events_wait", error=name, **about)
    elif not isinstance(error, BillingError):
        log.error("stripe_event_broke", error=name, exc_info=error, **about)


def finish(outcomes: Sequence[Outcome]) -> list[Outcome]:
    """Apply those of these events that are `WAITING`; returns what became of all."""
    waiting = [each.number for each in outcomes if each.state == WAITING and each.number]
    found = {each.number: each for each in apply_all(waiting)}
    return [found.get(each.number, each) if each.number else each for each in outcomes]


def apply_all(numbers: Sequence[int]) -> list[Outcome]:
    """Take many events up; what becomes of each is in its row.

    A set that breaks is halved until what breaks it is alone. Raises a passing fault of Postgres;
    what was not applied then, and what Stripe was not asked for, is taken up by the sweep.
    """
    if len(numbers) == 1:
        return [apply(numbers[0])]
    asked = _fetch_all(numbers)
    done = {number: _fail(number, error) for number, error in asked.failed.items()}
    done |= _apply_set(asked.fetched)
    done |= {number: _apply_left(number) for number in asked.fetched if number not in done}
    outcomes = [done.get(number, Outcome(number, WAITING)) for number in numbers]
    if left := [each.number for each in outcomes if each.state == WAITING and each.number]:
        with transaction() as ctx:
            inbox.postpone(ctx, left)
    return outcomes


def _apply_set(fetched: Mapping[int, Fetched | None]) -> dict[int, Outcome]:
    """Apply what is usual among these; what is not, or breaks, is left out of what is returned."""
    if len(fetched) < 2:
        return {}
    try:
        return _apply_claimed(fetched)
    except Exception as error:
        if is_away(error):
            raise
        log_broken(error, events=len(fetched))
    items = list(fetched.items())
    middle = len(items) // 2
    return _apply_set(dict(items[:middle])) | _apply_set(dict(items[middle:]))


def _apply_claimed(fetched: Mapping[int, Fetched | None]) -> dict[int, Outcome]:
    with transaction() as ctx:
        rows = {row.id: row for row in inbox.claim_all(ctx.session, fetched)}
        taken = [Taken(rows[number], fetched[number]) for number in fetched if number in rows]
        done = apply_in(ctx, taken)
    others = [number for number in fetched if number not in rows]
    return {row.id: outcome_of(row) for row in done} | {
        number: Outcome(number, DONE_OR_LOCKED) for number in others
    }


def _apply_left(number: int) -> Outcome:
    """Apply what is not usual; while its account is locked, it is left to the sweep."""
    try:
        return apply(number, lock_wait_ms=LOCK_WAIT_MS)
    except Exception as error:
        if is_away(error) or not is_transient(error):
            raise
        log_broken(error, number=number)
        return Outcome(number, WAITING, type(error).__name__)


def apply(number: int, *, lock_wait_ms: int | None = None) -> Outcome:
    """Take an event up; what becomes of it is in its row. Raises a passing fault of Postgres.

    `lock_wait_ms`: how long to wait for its account, if not as long as the settings say.
    """
    try:
        fetched = _fetch(number)
        with transaction() as ctx:
            if lock_wait_ms is not None:
                _wait_for_locks(ctx.session, lock_wait_ms)
            row = inbox.claim(ctx.session, number)
            if row is None:
                return Outcome(number, DONE_OR_LOCKED)
            apply_one.apply(ctx, row, guard=guard(), fetched=fetched)
            return outcome_of(row)
    except Exception as error:
        if is_transient(error):
            raise
        log_broken(error, number=number)
        return _fail(number, error)


def _fail(number: int, error: Exception) -> Outcome:
    """A bug, or Stripe away: the event is tried again, and in the end waits for a person."""
    facts = error.facts if isinstance(error, BillingError) else None
    with transaction() as ctx:
        row = inbox.claim(ctx.session, number)
        if row is None:
            return Outcome(number, DONE_OR_LOCKED)
        inbox.fail(row, type(error).__name__, facts=facts, may_pass=True, now=clock.now())
        return outcome_of(row)


def _fetch(number: int) -> Fetched | None:
    """What Stripe says now of the event's object, and of prices that it only names.

    None without an API key, and where there is nothing to ask. Raises StripeAway or StripeRefused.
    """
    asked = _fetch_all([number])
    if error := asked.failed.get(number):
        raise error
    return asked.fetched.get(number)


def _fetch_all(numbers: Sequence[int]) -> Asked:
    """What Stripe says now of each event's object; an event that is done is left out.

    Of one that is none of ours, or can't be read, nothing is asked: whoever applies it says so.
    """
    stripe = stripe_fetch.gateway()
    if stripe is None:
        return Asked(dict.fromkeys(numbers), {})
    with transaction() as ctx:
        payloads = inbox.payloads(ctx.session, numbers)
    wanted: dict[int, Event] = {}
    for number, payload in payloads.items():
        with suppress(Unreadable, BadObject, NoneOfOurs):
            event = events.of_payload(payload, is_kept=True)
            guard().check(event)
            wanted[number] = event
    asked = stripe_fetch.fetch_all(stripe, wanted)
    return Asked(dict.fromkeys(payloads.keys() - wanted.keys()) | asked.fetched, asked.failed)


def prune(*, limit: int) -> int:
    """Forget payloads older than the settings say, a bounded set at a time; returns how many."""
    pruned = 0
    while True:
        now = clock.now()
        before = now - dt.timedelta(days=settings().stripe_retention_days)
        with transaction() as ctx:
            count = inbox.prune(ctx.session, before=before, limit=limit)
        pruned += count
        if count < limit:
            return pruned
