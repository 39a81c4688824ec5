"""An event applied: the object that it names is brought up to date here, and what follows follows.

An event is a hint. With an API key the object's current state was fetched, and is newer than any
event; without one the event's own object serves, guarded by its version.
"""

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from sqlalchemy.orm import Session

from billing.errors import AccountDeleted, Rejected
from billing.stripe import cards, catalog, events, inbox, objects, owners, payments, standing
from billing.stripe.errors import (
    DetachedMethod,
    ForeignAccount,
    ForeignProduct,
    LivemodeMismatch,
    NeedsApiKey,
    StripeKnowsNone,
    UnknownPayment,
    UnknownPrice,
    Waits,
)
from billing.stripe.events import Event
from billing.stripe.readers import facts_of
from billing.stripe.reading import JSON
from billing.stripe.shapes import (
    CashTransaction,
    CatalogPrice,
    Customer,
    Facts,
    PaymentMethod,
    Subscription,
)
from models.stripe import StripeEvent

#: What an event may wait for: the other errors are mistakes that no waiting mends.
PARKS = (Waits, AccountDeleted)


#: Objects that are no part of any payment.
NO_PAYMENT = (Customer, PaymentMethod, CashTransaction, Subscription)
#: What is none of our business, or none any more.
IGNORED = (LivemodeMismatch, ForeignAccount, ForeignProduct, StripeKnowsNone, DetachedMethod)


@dataclass(frozen=True, slots=True)
class Guard:
    """Which events are ours: live or test ones, and of which Stripe account.

    An endpoint's own events name no account; one that names another than ours is a Connect event.
    """

    is_live: bool
    stripe_account: str | None = None

    def check(self, event: Event) -> None:
        """Raises LivemodeMismatch or ForeignAccount."""
        if event.is_live != self.is_live:
            raise LivemodeMismatch(event_is_live=event.is_live, we_are_live=self.is_live)
        named = event.stripe_account
        if named is not None and named != self.stripe_account:
            raise ForeignAccount(stripe_account=named)


@dataclass(frozen=True, slots=True)
class Fetched:
    """What Stripe says at `at`: the event's object (None: it knows none), and prices it names."""

    object: JSON | None
    prices: Sequence[JSON]
    at: dt.datetime


def apply(
    session: Session,
    row: StripeEvent,
    *,
    guard: Guard,
    now: dt.datetime,
    fetched: Fetched | None = None,
) -> None:
    """Apply an event that was claimed, and say in its row what became of it.

    Raises nothing for what is wrong with the event: then its row says it, and nothing else changes.
    """
    savepoint = session.begin_nested()
    event: Event | None = None
    try:
        event = events.of_payload(row.payload, is_kept=True)
        carry_out(session, row, event, guard=guard, now=now, fetched=fetched)
    except Rejected as error:
        savepoint.rollback()
        if isinstance(error, UnknownPayment) and event is not None and event.kind is not None:
            # It counts as soon as its payment comes, before this event is taken up again.
            facts, at = _read(session, event, event.kind, fetched, now=now)
            objects.keep(session, facts, account_id=None, version_at=at, now=now)
        _note(row, error, now=now)
    else:
        savepoint.commit()


def carry_out(
    session: Session,
    row: StripeEvent,
    event: Event,
    *,
    guard: Guard,
    now: dt.datetime,
    fetched: Fetched | None = None,
) -> None:
    """Do what follows from an event, and say so in its row.

    Raises the Rejected that `apply` writes down; then what was done must be rolled back.
    """
    if event.kind is None:
        inbox.finish(row, "ignored", now=now, reason="UnhandledType")
        return
    guard.check(event)
    known = _read(session, event, event.kind, fetched, now=now)
    done = sync(session, *known, now=now, row=row)
    inbox.finish(row, "applied", now=now, facts=done)


class _Known(NamedTuple):
    """An object's state, and since when it is so."""

    facts: Facts
    at: dt.datetime


def _read(
    session: Session, event: Event, kind: str, fetched: Fetched | None, *, now: dt.datetime
) -> _Known:
    """What the event's object is now. Raises NeedsApiKey, StripeKnowsNone or a BadObject."""
    if fetched is None:
        if event.is_thin:
            raise NeedsApiKey(object=event.object_id)
        return _Known(facts_of(kind, event.newest), event.happened_at)
    if fetched.object is None:
        if not event.says_deleted:
            raise StripeKnowsNone(object=event.object_id)
        if not event.is_thin:
            return _Known(facts_of(kind, event.newest), fetched.at)
    facts = fetched_facts(session, kind, event.object_id, fetched, now=now)
    return _Known(facts, fetched.at)


def fetched_facts(
    session: Session, kind: str, object_id: str, fetched: Fetched, *, now: dt.datetime
) -> Facts:
    """The facts of what was fetched; of what Stripe knows no more, what we knew, as deleted.

    Keeps the prices that came along. Raises StripeKnowsNone or a BadObject.
    """
    for price in fetched.prices:
        whole = facts_of("price", price)
        objects.keep(session, whole, account_id=None, version_at=fetched.at, now=now)
    if fetched.object is not None:
        return facts_of(kind, fetched.object)
    known = objects.read(session, object_id)
    gone = known.gone() if known is not None and kind == known.KIND else None
    if gone is None:
        raise StripeKnowsNone(object=object_id)
    return gone


def _note(row: StripeEvent, error: Rejected, *, now: dt.datetime) -> None:
    if isinstance(error, IGNORED):
        inbox.finish(row, "ignored", now=now, reason=error.name, facts=error.facts)
    elif isinstance(error, PARKS):
        inbox.park(row, error, now=now)
    else:
        inbox.fail(row, error.name, facts=error.facts, now=now)


def sync(
    session: Session,
    facts: Facts,
    version_at: dt.datetime,
    *,
    now: dt.datetime,
    row: StripeEvent | None = None,
) -> dict[str, object]:
    """Bring one object up to date here; returns what was done, as facts.

    Raises a Waits, AccountDeleted, ForeignProduct, DetachedMethod, or what the object's own sync
    does.
    """
    if isinstance(facts, CatalogPrice):
        is_newer = objects.keep(session, facts, account_id=None, version_at=version_at, now=now)
        inbox.wake(session, now=now, reason=UnknownPrice.__name__)
        return {"is_newer": is_newer}
    prices = catalog.load(session, catalog.prices_of(facts))
    if catalog.learn(session, facts, prices, version_at=version_at, now=now):
        inbox.wake(session, now=now, reason=UnknownPrice.__name__)
    catalog.check(facts, prices)
    if isinstance(facts, PaymentMethod) and facts.customer is None:
        raise DetachedMethod(object=facts.id)
    account = owners.find(session, facts)
    is_newer, before = objects.replace(
        session, facts, account_id=account.id, version_at=version_at, now=now
    )
    cards.show(session, account.id, before, facts, now=now)
    is_payment = not isinstance(facts, NO_PAYMENT)
    payment = objects.of_payment(session, facts.id) if is_payment else [facts]
    done: dict[str, object] = {"is_newer": is_newer}
    if is_payment:
        done["credits"] = payments.settle(
            session, account, facts, payment, known=prices, is_newer=is_newer, now=now
        )
    elif isinstance(facts, Subscription) and is_newer:
        # An older state must not undo what a person has changed since.
        standing.settle(session, account, prices=prices, now=now)
    if is_newer:
        payments.tell(session, account, before, facts, now=now)
    inbox.wake(session, now=now, customer=facts.customer, object_ids=[each.id for each in payment])
    if row is not None:
        row.account_id = account.id
    return done
