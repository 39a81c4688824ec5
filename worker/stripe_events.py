"""Stripe's events from the door to the books: verify, keep, ask Stripe, apply.

What was kept is a committed row before anything follows from it; a row that was not finished is
taken up again by `stripe.apply_due`.
"""

import datetime as dt
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import NamedTuple

from sqlalchemy.orm import Session

from billing.errors import BillingError, Rejected
from billing.stripe import arrivals, events, inbox, signature, sync, sync_events
from billing.stripe.arrivals import Arrived
from billing.stripe.errors import BadObject, BodyTooLarge, NoneOfOurs, Unreadable
from billing.stripe.events import Event
from billing.stripe.sync import Fetched, Guard
from billing.stripe.sync_events import Taken
from billing_client.messages import StripeWebhook
from models.stripe import StripeEvent
from worker import clock, stripe_access
from worker.database import is_away, passes, transaction
from worker.logs import logger
from worker.settings import settings
from worker.stripe_access import Asked

log = logger(__name__)


#: Many accounts at once are locked for no longer than this while one of them is waited for: its
#: events are then taken one by one, and wait for it alone.
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
_SEEN = Outcome(None, "seen before")


def guard() -> Guard:
    """Which events are ours, by the settings."""
    config = settings()
    return Guard(is_live=config.takes_live_events, stripe_account=config.stripe_account)


def receive(webhook: StripeWebhook) -> Outcome:
    """Verify a webhook and keep it, refused or not; apply it at once.

    Raises a passing fault of the database; then nothing was kept, and the message comes again.
    """
    return finish(take_in([webhook]))[0]


def take_in(webhooks: Sequence[StripeWebhook]) -> list[Outcome]:
    """Verify webhooks and keep them; once this returns, each is a committed row.

    Where nothing is to be asked of Stripe, what is usual is applied in the same commit; the others
    are `WAITING`, and `finish` applies them. Raises as `receive`, and then nothing was kept but
    what was refused.
    """
    outcomes: dict[int, Outcome] = {}
    arrived: dict[int, Arrived] = {}
    for place, webhook in enumerate(webhooks):
        try:
            arrived[place] = Arrived(verified(webhook), webhook.received_at)
        except Rejected as error:
            outcomes[place] = _refuse(webhook, error)
    if arrived:
        kept = _keep(list(arrived.values()))
        outcomes.update(zip(arrived, kept, strict=True))
    return [outcomes[place] for place in range(len(webhooks))]


def _keep(arrived: Sequence[Arrived]) -> list[Outcome]:
    if stripe_access.gateway() is None:
        try:
            return _keep_in_one(arrived, is_applied=True)
        except Rejected:
            pass  # what is wrong with one of them is met again, and written down
        except Exception as error:
            if is_away(error) or (passes(error) and len(arrived) == 1):
                raise
            _log_broken(error, events=len(arrived))
    return _keep_in_one(arrived, is_applied=False)


def _keep_in_one(arrived: Sequence[Arrived], *, is_applied: bool) -> list[Outcome]:
    """Keep events, and apply what is usual, in one transaction; an error takes all back."""
    now = clock.now()
    with transaction() as session:
        rows = arrivals.keep_all(session, arrived, source="webhook", now=now)
        if is_applied:
            taken = [Taken(row) for row in rows if row is not None]
            _apply(session, taken, now=now)
    return [_outcome(row) if row is not None else _SEEN for row in rows]


def _apply(session: Session, taken: Sequence[Taken], *, now: dt.datetime) -> list[StripeEvent]:
    if len(taken) > 1:
        session.connection().exec_driver_sql(f"SET LOCAL lock_timeout = {LOCK_WAIT_MS}")
    done = sync_events.apply_all(session, taken, guard=guard(), now=now)
    inbox.write_all(session, done)
    return done


def _outcome(row: StripeEvent) -> Outcome:
    return Outcome(row.id, row.state, row.reason)


def _log_broken(error: Exception, **about: object) -> None:
    """A bug is said with all that led to it; what passes only by its name."""
    name = type(error).__name__
    if passes(error):
        log.warning("stripe_events_wait", error=name, **about)
    elif not isinstance(error, BillingError):
        log.error("stripe_event_broke", error=name, exc_info=error, **about)


def verified(webhook: StripeWebhook) -> Event:
    """The event of a webhook. Raises a SignatureRefused, an Unreadable or a BadObject."""
    config = settings()
    if len(webhook.body) > events.MAX_BODY_BYTES:
        raise BodyTooLarge(bytes=len(webhook.body), most=events.MAX_BODY_BYTES)
    signature.verify(
        webhook.body,
        webhook.signature,
        secrets=config.stripe_secrets,
        received_at=webhook.received_at,
        tolerance=dt.timedelta(seconds=config.stripe_tolerance_s),
    )
    return events.parse(webhook.body)


def _refuse(webhook: StripeWebhook, error: Rejected) -> Outcome:
    with transaction() as session:
        number = arrivals.refuse(
            session,
            webhook.body,
            error,
            source="webhook",
            received_at=webhook.received_at,
            now=clock.now(),
        )
    return Outcome(number, "refused", error.name)


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
    return [done.get(number, Outcome(number, WAITING)) for number in numbers]


def _apply_set(fetched: Mapping[int, Fetched | None]) -> dict[int, Outcome]:
    if not fetched:
        return {}
    if len(fetched) == 1:
        return {number: _apply_left(number) for number in fetched}
    try:
        done = _apply_claimed(fetched)
    except Exception as error:
        if is_away(error):
            raise
        _log_broken(error, events=len(fetched))
        items = list(fetched.items())
        middle = len(items) // 2
        return _apply_set(dict(items[:middle])) | _apply_set(dict(items[middle:]))
    return done | {number: _apply_left(number) for number in fetched if number not in done}


def _apply_claimed(fetched: Mapping[int, Fetched | None]) -> dict[int, Outcome]:
    """Apply what is usual among these; the others are left out of what is returned."""
    now = clock.now()
    with transaction() as session:
        rows = {row.id: row for row in inbox.claim_all(session, fetched)}
        taken = [Taken(rows[number], fetched[number]) for number in fetched if number in rows]
        done = _apply(session, taken, now=now)
    others = [number for number in fetched if number not in rows]
    return {row.id: _outcome(row) for row in done} | {
        number: Outcome(number, DONE_OR_LOCKED) for number in others
    }


def _apply_left(number: int) -> Outcome:
    """Apply what is not usual; while its account is locked, it is left to the sweep."""
    try:
        return apply(number)
    except Exception as error:
        if is_away(error) or not passes(error):
            raise
        _log_broken(error, number=number)
        return Outcome(number, WAITING, type(error).__name__)


def apply(number: int) -> Outcome:
    """Take an event up; what becomes of it is in its row. Raises a passing fault of Postgres."""
    try:
        fetched = _fetch(number)
        with transaction() as session:
            row = inbox.claim(session, number)
            if row is None:
                return Outcome(number, DONE_OR_LOCKED)
            sync.apply(session, row, guard=guard(), fetched=fetched, now=clock.now())
            return _outcome(row)
    except Exception as error:
        if passes(error):
            raise
        _log_broken(error, number=number)
        return _fail(number, error)


def _fail(number: int, error: Exception) -> Outcome:
    """A bug, or Stripe away: the event is tried again, and in the end waits for a person."""
    facts = error.facts if isinstance(error, BillingError) else None
    with transaction() as session:
        row = inbox.claim(session, number)
        if row is None:
            return Outcome(number, DONE_OR_LOCKED)
        inbox.fail(row, type(error).__name__, facts=facts, may_pass=True, now=clock.now())
        return _outcome(row)


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
    stripe = stripe_access.gateway()
    if stripe is None:
        return Asked(dict.fromkeys(numbers), {})
    with transaction() as session:
        payloads = inbox.payloads(session, numbers)
    wanted: dict[int, Event] = {}
    for number, payload in payloads.items():
        with suppress(Unreadable, BadObject, NoneOfOurs):
            event = events.of_payload(payload, is_kept=True)
            guard().check(event)
            wanted[number] = event
    asked = stripe_access.fetch_all(stripe, wanted)
    return Asked(dict.fromkeys(payloads.keys() - wanted.keys()) | asked.fetched, asked.failed)


def prune(*, limit: int) -> int:
    """Forget payloads older than the settings say, a bounded set at a time; returns how many."""
    pruned = 0
    while True:
        now = clock.now()
        before = now - dt.timedelta(days=settings().stripe_retention_days)
        with transaction() as session:
            count = inbox.prune(session, before=before, limit=limit)
        pruned += count
        if count < limit:
            return pruned
