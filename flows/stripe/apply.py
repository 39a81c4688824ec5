"""Apply stored events: ask Stripe for their objects first, then open one transaction.

Each event is a committed row already. One that was not finished is taken up by `stripe.apply_due`.
"""

import datetime as dt
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress

from billing.errors import BillingError, ProcessKilled
from billing.postgres.transient import is_transient
from billing.stripe import apply as stripe_apply
from billing.stripe import events, inbox, inbox_upkeep
from billing.stripe.apply import Answer
from billing.stripe.errors import BadObject, NoneOfOurs, Unreadable
from billing.stripe.events import Event, Guard
from billing.stripe.inbox import WAITING, Outcome
from flows.stripe import fetch as stripe_fetch
from worker import clock, deaths
from worker.database import is_away, transaction
from worker.logs import logger
from worker.settings import settings

log = logger(__name__)

#: A batch that waits for an account has locked many others, so it waits no longer than this. Then
#: each event is applied alone, and those of locked accounts are left to the sweep: a hundred of
#: them must not hold a process.
LOCK_WAIT_MS, LOCK_WAIT_ALONE_MS = 100, 20

#: The state of an event that was finished meanwhile, or that another worker has locked.
DONE_OR_LOCKED = "done or locked"


def guard() -> Guard:
    """The events that are ours, by the settings."""
    config = settings()
    return Guard(is_live=config.takes_live_events, stripe_account=config.stripe_account)


def apply(number: int) -> Outcome:
    """Apply one event. Raises a transient error of Postgres."""
    return apply_all([number])[0]


def apply_all(numbers: Sequence[int]) -> list[Outcome]:
    """Apply events in one transaction; one by one those that need it, or whose batch broke.

    Raises a transient error of Postgres. The sweep takes up what was not applied then. An event at
    which a process died is applied alone; after three deaths it fails.
    """
    counts = zip(numbers, deaths.of(_names(numbers)), strict=True)
    suspects = {number: count for number, count in counts if count}
    together = [number for number in numbers if number not in suspects]
    with deaths.counted(_names(together)):
        outcomes = _apply_all(together)
    for number, count in suspects.items():
        outcomes.append(_apply_suspect(number, count))
    return outcomes


def _names(numbers: Sequence[int]) -> list[str]:
    return [f"stripe:{number}" for number in numbers]


def _apply_suspect(number: int, count: int) -> Outcome:
    if count < deaths.MOST:
        with deaths.counted(_names([number])):
            return _apply_all([number])[0]
    outcome = _apply_batch({number: ProcessKilled(times=count)})[number]
    log.error("stripe_event_killed_its_process", number=number)
    deaths.forget(_names([number]))
    return outcome


def _apply_all(numbers: Sequence[int]) -> list[Outcome]:
    if not numbers:
        return []
    answers = _ask(numbers)
    if len(numbers) == 1:
        return [_apply_alone(numbers[0], answers.get(numbers[0]))]
    outcomes = _apply_together(answers)
    for number in answers:
        if outcomes[number].state == WAITING:
            outcomes[number] = _apply_after_batch(number, answers[number])
    all_outcomes = [outcomes.get(number, Outcome(number, WAITING)) for number in numbers]
    _postpone(all_outcomes)
    return all_outcomes


def finish(outcomes: Sequence[Outcome]) -> list[Outcome]:
    """Apply those of these events that are still `WAITING`; return the outcomes of all."""
    numbers = [item.number for item in outcomes if item.state == WAITING and item.number]
    applied = {item.number: item for item in apply_all(numbers)}
    return [applied.get(item.number, item) if item.number else item for item in outcomes]


def _apply_batch(
    answers: Mapping[int, Answer], *, lock_wait_ms: int | None = None
) -> dict[int, Outcome]:
    """Claim and apply events in a transaction. `lock_wait_ms`: less than the settings allow."""
    with transaction(actor="stripe", lock_wait_ms=lock_wait_ms) as ctx:
        rows = inbox.claim(ctx.session, answers)
        outcomes = stripe_apply.apply_rows(ctx, rows, guard=guard(), answers=answers)
    return {number: Outcome(number, DONE_OR_LOCKED) for number in answers} | outcomes


def _apply_together(answers: Mapping[int, Answer]) -> dict[int, Outcome]:
    """Apply a batch; if it breaks, all of its events are `WAITING`."""
    try:
        return _apply_batch(answers, lock_wait_ms=LOCK_WAIT_MS)
    except Exception as error:
        if is_away(error):
            raise
        log_broken(error, events=len(answers))
        return {number: Outcome(number, WAITING) for number in answers}


def _apply_alone(number: int, answer: Answer, *, lock_wait_ms: int | None = None) -> Outcome:
    """Apply a batch of one. A bug becomes the event's answer, so that the event fails with it."""
    try:
        return _apply_batch({number: answer}, lock_wait_ms=lock_wait_ms)[number]
    except Exception as error:
        if is_transient(error):
            raise
        log_broken(error, number=number)
        return _apply_batch({number: error})[number]


def _apply_after_batch(number: int, answer: Answer) -> Outcome:
    """Apply a batch of one; while its account is locked, leave it to the sweep."""
    try:
        return _apply_alone(number, answer, lock_wait_ms=LOCK_WAIT_ALONE_MS)
    except Exception as error:
        if is_away(error) or not is_transient(error):
            raise
        log_broken(error, number=number)
        return Outcome(number, WAITING, type(error).__name__)


def _postpone(outcomes: Iterable[Outcome]) -> None:
    if numbers := [item.number for item in outcomes if item.state == WAITING and item.number]:
        with transaction() as ctx:
            inbox_upkeep.postpone(ctx, numbers)


def log_broken(error: Exception, **facts: object) -> None:
    """Log a bug with its traceback, and a transient error by its name."""
    name = type(error).__name__
    if is_transient(error):
        log.warning("stripe_events_postponed", error=name, **facts)
    elif not isinstance(error, BillingError):
        log.error("stripe_event_failed", error=name, exc_info=error, **facts)


def _ask(numbers: Sequence[int]) -> dict[int, Answer]:
    """Ask Stripe for each event's object; leave out events for which Stripe was not asked.

    Nothing is asked without an API key, or for an event that is not ours or can't be read.
    """
    stripe = stripe_fetch.gateway()
    if stripe is None:
        return dict.fromkeys(numbers)
    with transaction() as ctx:
        payloads = inbox_upkeep.payloads(ctx.session, numbers)
    wanted: dict[int, Event] = {}
    for number, payload in payloads.items():
        with suppress(Unreadable, BadObject, NoneOfOurs):
            event = events.of_payload(payload, is_stored=True)
            guard().check(event)
            wanted[number] = event
    return dict.fromkeys(payloads.keys() - wanted.keys()) | stripe_fetch.fetch_all(stripe, wanted)


def prune(*, limit: int) -> int:
    """Delete payloads older than the settings say, `limit` a transaction; return how many."""
    pruned = 0
    while True:
        now = clock.now()
        before = now - dt.timedelta(days=settings().stripe_retention_days)
        with transaction() as ctx:
            count = inbox_upkeep.prune(ctx.session, before=before, limit=limit)
        pruned += count
        if count < limit:
            return pruned
