"""An event applied: the object that it names is brought up to date here, and what follows follows.

An event is a hint. With an API key the object's current state was fetched, and is newer than any
event; without one the event's own object serves, guarded by its version.
"""

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from billing.context import Context
from billing.errors import AccountDeleted, Rejected
from billing.stripe import catalog, customers, events, inbox, object_rows
from billing.stripe import sync as sync_sets
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
from billing.stripe.json_fields import JSON
from billing.stripe.parse import facts_of
from billing.stripe.sync import Found
from billing.stripe.types import CatalogPrice, Facts, PaymentMethod
from models.stripe import StripeEvent

#: What an event may wait for: the other errors are mistakes that no waiting mends.
PARKS = (Waits, AccountDeleted)


#: Why an event of a type that we do not handle is ignored.
UNHANDLED = "UnhandledType"
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


class Known(NamedTuple):
    """An object's state, and since when it is so."""

    facts: Facts
    at: dt.datetime


def apply(ctx: Context, row: StripeEvent, *, guard: Guard, fetched: Fetched | None = None) -> None:
    """Apply an event that was claimed, and say in its row what became of it.

    Raises nothing for what is wrong with the event: then its row says it, and nothing else changes.
    """
    savepoint = ctx.session.begin_nested()
    known: Known | None = None
    try:
        event = events.of_payload(row.payload, is_kept=True)
        known = read(ctx, event, guard=guard, fetched=fetched)
        if known is None:
            inbox.finish(row, "ignored", now=ctx.now, reason=UNHANDLED)
        else:
            inbox.finish(row, "applied", now=ctx.now, facts=sync(ctx, *known, row=row))
    except Rejected as error:
        savepoint.rollback()
        if isinstance(error, UnknownPayment) and known is not None:
            # It counts as soon as its payment comes, before this event is taken up again.
            object_rows.keep(ctx, known.facts, account_id=None, version_at=known.at)
        note(row, error, now=ctx.now)
    else:
        savepoint.commit()


def read(ctx: Context, event: Event, *, guard: Guard, fetched: Fetched | None) -> Known | None:
    """What the event's object is now; None if it is of no kind that we handle.

    Raises LivemodeMismatch, ForeignAccount, NeedsApiKey, StripeKnowsNone or a BadObject.
    """
    kind = event.kind
    if kind is None:
        return None
    guard.check(event)
    if fetched is None:
        if event.is_thin:
            raise NeedsApiKey(object=event.object_id)
        return Known(facts_of(kind, event.newest), event.happened_at)
    if fetched.object is None:
        if not event.says_deleted:
            raise StripeKnowsNone(object=event.object_id)
        if not event.is_thin:
            return Known(facts_of(kind, event.newest), fetched.at)
    facts = fetched_facts(ctx, kind, event.object_id, fetched)
    return Known(facts, fetched.at)


def fetched_facts(ctx: Context, kind: str, object_id: str, fetched: Fetched) -> Facts:
    """The facts of what was fetched; of what Stripe knows no more, what we knew, as deleted.

    Keeps the prices that came along. Raises StripeKnowsNone or a BadObject.
    """
    for price in fetched.prices:
        whole = facts_of("price", price)
        object_rows.keep(ctx, whole, account_id=None, version_at=fetched.at)
    if fetched.object is not None:
        return facts_of(kind, fetched.object)
    known = object_rows.read(ctx.session, object_id)
    gone = known.gone() if known is not None and kind == known.KIND else None
    if gone is None:
        raise StripeKnowsNone(object=object_id)
    return gone


def note(row: StripeEvent, error: Rejected, *, now: dt.datetime) -> None:
    """Say in an event's row why nothing followed from it."""
    if isinstance(error, IGNORED):
        inbox.finish(row, "ignored", now=now, reason=error.name, facts=error.facts)
    elif isinstance(error, PARKS):
        inbox.park(row, error, now=now)
    else:
        inbox.fail(row, error.name, facts=error.facts, now=now)


def sync(
    ctx: Context, facts: Facts, version_at: dt.datetime, *, row: StripeEvent | None = None
) -> dict[str, object]:
    """Bring one object up to date here; returns what was done, as facts.

    Raises a Waits, AccountDeleted, ForeignProduct, DetachedMethod, or what the object's own sync
    does.
    """
    if isinstance(facts, CatalogPrice):
        is_newer = object_rows.keep(ctx, facts, account_id=None, version_at=version_at)
        inbox.wake(ctx, reason=UnknownPrice.__name__)
        return {"is_newer": is_newer}
    prices = catalog.load(ctx.session, catalog.prices_of(facts))
    if catalog.learn(ctx, facts, prices, version_at=version_at):
        inbox.wake(ctx, reason=UnknownPrice.__name__)
    catalog.check(facts, prices)
    if isinstance(facts, PaymentMethod) and facts.customer is None:
        raise DetachedMethod(object=facts.id)
    account = customers.find(ctx.session, facts)
    found = Found(facts, version_at, account)
    (done,) = sync_sets.bring_up(ctx, [found], prices=prices)
    if row is not None:
        row.account_id = account.id
    return done
