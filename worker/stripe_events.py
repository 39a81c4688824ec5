"""Stripe's events from the door to the books: verify, keep, ask Stripe, apply.

What was kept is a committed row before anything follows from it; a row that was not finished is
taken up again by `stripe.apply_due`.
"""

import datetime as dt
from typing import NamedTuple

from sqlalchemy.orm import Session

from billing.errors import BillingError, Rejected
from billing.stripe import events, inbox, signature, sync
from billing.stripe.errors import BadObject, BodyTooLarge, NoneOfOurs, Unreadable
from billing.stripe.events import Event
from billing.stripe.sync import Fetched, Guard
from billing_client.messages import StripeWebhook
from models.stripe import StripeEvent
from worker import clock, stripe_access
from worker.database import passes, transaction
from worker.logs import logger
from worker.settings import settings

log = logger(__name__)


class Outcome(NamedTuple):
    """What became of an event: the state of its row, and why."""

    number: int | None
    state: str
    reason: str | None = None


_SEEN = Outcome(None, "seen before")


def guard() -> Guard:
    """Which events are ours, by the settings."""
    config = settings()
    return Guard(is_live=config.takes_live_events, stripe_account=config.stripe_account)


def receive(webhook: StripeWebhook) -> Outcome:
    """Verify a webhook and keep it, refused or not; apply it at once.

    Raises a passing fault of the database; then nothing was kept, and the message comes again.
    """
    try:
        event = verified(webhook)
    except Rejected as error:
        return _refuse(webhook, error)
    if stripe_access.gateway() is None:
        try:
            return _keep_and_apply(webhook, event)
        except Rejected:
            pass  # what is wrong with it is met again below, and written down
        except Exception as error:
            if passes(error):
                raise
            log.exception("stripe_event_broke", event_id=event.id, error=type(error).__name__)
    with transaction() as session:
        number = _keep(session, webhook, event, now=clock.now())
    return apply(number) if number is not None else _SEEN


def _keep_and_apply(webhook: StripeWebhook, event: Event) -> Outcome:
    """Where nothing is to be asked of Stripe, one commit does; an error takes the row back too."""
    now = clock.now()
    with transaction() as session:
        number = _keep(session, webhook, event, now=now)
        if number is None:
            return _SEEN
        row = inbox.hold(session, number, event, now=now)
        sync.carry_out(session, row, event, guard=guard(), now=now)
        return Outcome(number, row.state, row.reason)


def _keep(
    session: Session, webhook: StripeWebhook, event: Event, *, now: dt.datetime
) -> int | None:
    received_at = webhook.received_at
    return inbox.keep(session, event, source="webhook", received_at=received_at, now=now)


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
        number = inbox.refuse(
            session,
            webhook.body,
            error,
            source="webhook",
            received_at=webhook.received_at,
            now=clock.now(),
        )
    return Outcome(number, "refused", error.name)


def apply(number: int) -> Outcome:
    """Take an event up; what becomes of it is in its row. Raises a passing fault of Postgres."""
    try:
        fetched = _fetch(number)
        with transaction() as session:
            row = inbox.claim(session, number)
            if row is None:
                return Outcome(number, "done or locked")
            sync.apply(session, row, guard=guard(), fetched=fetched, now=clock.now())
            return Outcome(number, row.state, row.reason)
    except Exception as error:
        if passes(error):
            raise
        if not isinstance(error, BillingError):
            log.exception("stripe_event_broke", number=number, error=type(error).__name__)
        return _fail(number, error)


def _fail(number: int, error: Exception) -> Outcome:
    """A bug, or Stripe away: the event is tried again, and in the end waits for a person."""
    facts = error.facts if isinstance(error, BillingError) else None
    with transaction() as session:
        row = inbox.claim(session, number)
        if row is None:
            return Outcome(number, "done or locked")
        inbox.fail(row, type(error).__name__, facts=facts, may_pass=True, now=clock.now())
        return Outcome(number, row.state, row.reason)


def _fetch(number: int) -> Fetched | None:
    """What Stripe says now of the event's object, and of prices that it only names.

    None without an API key, and where there is nothing to ask. Raises StripeAway or StripeRefused.
    """
    stripe = stripe_access.gateway()
    if stripe is None:
        return None
    with transaction() as session:
        row = session.get(StripeEvent, number)
        if row is None or row.payload is None or row.state not in inbox.OPEN:
            return None
    try:
        event = events.of_payload(row.payload, is_kept=True)
        guard().check(event)
        return stripe_access.fetch_of_event(stripe, event)
    except (Unreadable, BadObject, NoneOfOurs):
        return None  # `sync.apply` meets it too, and names it in the row


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
