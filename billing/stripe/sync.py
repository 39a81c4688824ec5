"""The only path on which Stripe's objects take effect here; a single object is a batch of one.

open    load the catalog, find and lock the accounts, store the newest states, read the payments
decide  what each payment bought, and which state of its subscription each account follows
write   purchases, clawbacks, the main app's rows, statuses, announcements; wake parked events

All effects follow from the newest states, so a batch ends as its objects one by one would, in any
order. The effects of one kind of object are in its file in `objects/`; those of a whole payment are
in `payments`, those of an account's subscriptions in `subscriptions`.
"""

import datetime as dt
from collections.abc import Mapping, Sequence

from billing.context import Context
from billing.errors import Rejected
from billing.host.accounts import HostAccount
from billing.lifecycle.trials import fingerprints
from billing.lifecycle.trials.fingerprints import Fingerprint
from billing.stripe import (
    catalog,
    customers,
    inbox,
    inbox_upkeep,
    object_rows,
    subscriptions,
    unanswered,
)
from billing.stripe import payments as stripe_payments
from billing.stripe.catalog import Catalog
from billing.stripe.errors import ForeignProduct, UnknownPayment, UnknownPrice
from billing.stripe.fields import Price
from billing.stripe.inbox import Applied
from billing.stripe.object_rows import State
from billing.stripe.objects.base import Change
from billing.stripe.objects.cash_transaction import CashTransaction
from billing.stripe.objects.charge import Charge
from billing.stripe.objects.checkout_session import CheckoutSession
from billing.stripe.objects.customer import Customer
from billing.stripe.objects.invoice import Invoice
from billing.stripe.objects.payment_method import PaymentMethod
from billing.stripe.objects.price import CatalogPrice
from billing.stripe.objects.subscription import Subscription
from billing.stripe.payments import Step
from billing.stripe.unanswered import Refused

#: Kinds that belong to no payment.
APART = (Customer, PaymentMethod, CashTransaction, Subscription)

#: The result of an object. None: it needs a batch of its own.
Synced = Applied | Rejected | None


def sync(ctx: Context, states: Sequence[State]) -> list[Synced]:
    """Make our rows equal to these objects, and do what follows; return each one's result.

    Raises as `payments.settle` does, or StatusChangeRefused: then one object broke the batch.
    """
    if len(states) == 1 and isinstance(states[0].facts, CatalogPrice):
        return [_sync_price(ctx, states[0])]
    prices = catalog.load(ctx.session, [state.facts for state in states])
    is_learned = False
    results: list[Synced] = [None] * len(states)
    ready = []
    for place, state in enumerate(states):
        if len(states) > 1 and isinstance(state.facts, CatalogPrice):
            continue
        # New prices are locked before accounts, so only a batch of one learns them.
        news = catalog.unlearned(state.facts, prices)
        if news and len(states) == 1:
            is_learned = _learn(ctx, news, state.at)
        error = catalog.refusal(state.facts, prices)
        if error is not None and isinstance(state.facts, Subscription):
            error = _unless_ours(ctx, state.facts, error)
        if len(states) > 1 and (news or isinstance(error, UnknownPrice)):
            continue
        results[place] = error
        ready += [place] if error is None else []
    if any(results):
        for place in unanswered.by_metadata(ctx.session, _refused(states, results)):
            results[place] = None
            ready = sorted([*ready, place])
    owners = customers.lock_owners(ctx, [states[place].facts for place in ready])
    for place, owner in zip(ready, owners, strict=True):
        results[place] = owner if isinstance(owner, Rejected) else None
    owned = {
        place: owner
        for place, owner in zip(ready, owners, strict=True)
        if isinstance(owner, HostAccount)
    }
    steps = _store(ctx, states, owned, results)
    _take_effect(ctx, steps, prices)
    for place, applied in zip(owned, _applied(steps), strict=True):
        results[place] = applied
    if refused := _refused(states, results):
        unanswered.note(ctx.session, refused, prices)
    _wake(ctx, steps, is_learned=is_learned)
    return results


def _refused(states: Sequence[State], results: Sequence[Synced]) -> Refused:
    """The objects that were refused, also in part, by their places, with the reasons."""
    refused = {}
    for place, (state, result) in enumerate(zip(states, results, strict=True)):
        error = result.error if isinstance(result, Applied) else result
        if error is not None:
            refused[place] = state.facts, error
    return refused


def _unless_ours(ctx: Context, subscription: Subscription, error: Rejected) -> Rejected | None:
    """The error, unless the subscription was ours: that is followed to its end.

    Only while it goes on at a price that nobody has explained it waits.
    """
    waits = isinstance(error, UnknownPrice) and not subscription.is_ended
    if waits or not isinstance(error, ForeignProduct | UnknownPrice):
        return error
    return None if object_rows.read(ctx.session, subscription.id) is not None else error


def _sync_price(ctx: Context, state: State) -> Applied:
    """Store a price; what waited for it, or was ignored because of it, is looked at again."""
    (stored,) = object_rows.store_all(ctx, [state])
    inbox.wake(ctx, reason=UnknownPrice.__name__)
    prices = [
        facts.price
        for facts in (state.facts, stored and stored.before)
        if isinstance(facts, CatalogPrice)
    ]
    if stored and (len(prices) < 2 or prices[0] != prices[1]):
        inbox_upkeep.wake_price(ctx, state.facts.id)
    return Applied(None, {"is_newer": stored is not None})


def _learn(ctx: Context, prices: Sequence[Price], at: dt.datetime) -> bool:
    """Store prices that an object carries in full, so that others may only name them."""
    states = [
        State(CatalogPrice(price.id or "", None, None, price, is_deleted=False), at)
        for price in prices
    ]
    return any(object_rows.store_all(ctx, states))


def _store(
    ctx: Context,
    states: Sequence[State],
    owned: Mapping[int, HostAccount],
    results: Sequence[Synced],
) -> list[Step]:
    """Store the newest states; return the steps of those with an account.

    A state whose payment is unknown is stored, too: it counts as soon as its payment comes.
    """
    places = [
        place
        for place, result in enumerate(results)
        if place in owned or isinstance(result, UnknownPayment)
    ]
    if not places:
        return []
    given = [
        State(states[place].facts, states[place].at, owned[place].id if place in owned else None)
        for place in places
    ]
    stored = dict(zip(places, object_rows.store_all(ctx, given), strict=True))
    steps = []
    for place, account in owned.items():
        news = stored[place]
        before = news.before if news else None
        steps.append(Step(states[place].facts, account, news is not None, before))
    return steps


def _take_effect(ctx: Context, steps: Sequence[Step], prices: Catalog) -> None:
    _record_cards(ctx, steps)
    of_payment = [step for step in steps if not isinstance(step.facts, APART)]
    payments = stripe_payments.read(ctx, of_payment) if of_payment else []
    if payments:
        objects = [item for payment in payments for item in payment.objects]
        of_all = [*objects, *[step.facts for step in steps]]
        prices = catalog.load(ctx.session, of_all, loaded=prices)
        stripe_payments.settle(ctx, payments, catalog=prices)
    _follow(ctx, steps, prices)


def _record_cards(ctx: Context, steps: Sequence[Step]) -> None:
    """Record the cards of charges and payment methods that are new here: one trial for each."""
    cards: dict[int, list[Fingerprint]] = {}
    for step in steps:
        is_first = step.is_news and step.before is None
        if is_first and isinstance(step.facts, Charge | PaymentMethod) and step.facts.card:
            card = Fingerprint("card", bytes.fromhex(step.facts.card))
            cards.setdefault(step.account.id, []).append(card)
    if cards:
        fingerprints.record(ctx, cards)


def _follow(ctx: Context, steps: Sequence[Step], prices: Catalog) -> None:
    """Make the accounts' statuses follow, and announce the news, in the order of the events."""
    funding = subscriptions.read(ctx, steps, prices=prices)
    for step in steps:
        funding.follow(ctx, step)
        objects = step.payment.objects if step.payment else ()
        change = Change(step.account, step.before, objects)
        if step.is_news and step.facts.follow(ctx, change):
            funding.forget(step.account.id)


def _wake(ctx: Context, steps: Sequence[Step], *, is_learned: bool) -> None:
    """Wake the events that waited for these customers, objects or prices."""
    if steps or is_learned:
        payments = [step.payment for step in steps if step.payment]
        objects = [facts for payment in payments for facts in payment.objects]
        inbox.wake(
            ctx,
            customers={step.facts.customer for step in steps if step.facts.customer},
            object_ids={step.facts.id for step in steps}
            | {name for facts in objects for name in (facts.id, *facts.links)},
            reason=UnknownPrice.__name__ if is_learned else None,
        )
    # An invoice that Checkout made of a payment has prices that are not ours.
    sold = [step.facts for step in steps if isinstance(step.facts, CheckoutSession)]
    if ids := [facts.invoice for facts in sold if facts.is_top_up and facts.invoice]:
        inbox.reopen_foreign(ctx, ids)


def _applied(steps: Sequence[Step]) -> list[Applied]:
    """The results; a payment's credits are reported once, with its first news."""
    reporting: dict[int, Step] = {}
    for step in sorted(steps, key=lambda step: not step.is_news):
        reporting.setdefault(id(step.payment), step)
    results = []
    for step in steps:
        facts: dict[str, object] = {"is_newer": step.is_news}
        if step.payment is not None:
            facts["credits"] = step.payment.given if reporting[id(step.payment)] is step else 0
        if step.trial is not None:
            facts["trial"] = step.trial
        errors = step.payment.errors if step.payment and isinstance(step.facts, Invoice) else ()
        results.append(Applied(step.account.id, facts, next(iter(errors), None)))
    return results
