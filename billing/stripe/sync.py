"""Objects of Stripe's brought up to date here, many at once: kept, and what follows from them.

The newest state of each object is kept first; then each payment, and each account's standing, is
made equal to what they say. So a set ends as its objects one by one would, in some order.
"""

import datetime as dt
from collections.abc import Sequence
from typing import NamedTuple

from sqlalchemy.orm import Session

from billing.context import Context
from billing.host.accounts import HostAccount
from billing.stripe import (
    card_fingerprints,
    catalog,
    inbox,
    invoice_lines,
    object_rows,
    payments,
    subscriptions,
)
from billing.stripe.catalog import Catalog
from billing.stripe.object_rows import Kept, State
from billing.stripe.payments import Payment
from billing.stripe.subscriptions import Standings
from billing.stripe.types import (
    CashTransaction,
    Customer,
    Facts,
    Invoice,
    PaymentMethod,
    Subscription,
)

#: Objects that belong to no payment.
APART = (Customer, PaymentMethod, CashTransaction, Subscription)


class Found(NamedTuple):
    """What an object is since when, and the account that it is of, locked."""

    facts: Facts
    at: dt.datetime
    account: HostAccount


class Step(NamedTuple):
    """One object of a set: what is newer about it, and its payment, if it is of one."""

    found: Found
    kept: Kept | None
    payment: Payment | None


def bring_up(ctx: Context, found: Sequence[Found], *, prices: Catalog) -> list[dict[str, object]]:
    """Bring these objects up to date; returns for each what was done, as facts.

    `prices`: what is known of theirs. Raises what `payments.settle` does, or StatusChangeRefused.
    """
    if not found:
        return []
    states = [State(each.facts, each.at, each.account.id) for each in found]
    kept = object_rows.keep_all(ctx, states)
    new = [
        (each.account.id, each.facts)
        for each, news in zip(found, kept, strict=True)
        if news is not None and news.before is None
    ]
    card_fingerprints.show(ctx, new)
    of_payment = _payments(ctx.session, found, kept)
    steps = [
        Step(each, news, of_payment.get((each.account.id, each.facts.id)))
        for each, news in zip(found, kept, strict=True)
    ]
    settled = list({id(payment): payment for payment in of_payment.values()}.values())
    named = [price for each in settled for one in each.objects for price in catalog.prices_of(one)]
    prices = catalog.load(ctx.session, named, known=prices)
    payments.settle(ctx, settled, prices=prices)
    _follow(ctx, steps, prices=prices)
    inbox.wake(
        ctx,
        customers={each.facts.customer for each in found if each.facts.customer},
        object_ids={each.facts.id for each in found}
        | {one.id for payment in settled for one in payment.objects},
    )
    return _done(steps)


def _payments(
    session: Session, found: Sequence[Found], kept: Sequence[Kept | None]
) -> dict[tuple[int, str], Payment]:
    """The payments that these objects are of, by account and object."""
    of_one = [each for each in found if not isinstance(each.facts, APART)]
    if not of_one:
        return {}
    together = object_rows.of_payments(session, [each.facts.id for each in of_one])
    by_group: dict[tuple[int, int], Payment] = {}
    by_object: dict[tuple[int, str], Payment] = {}
    for each, news in zip(found, kept, strict=True):
        if isinstance(each.facts, APART):
            continue
        group = together[each.facts.id]
        payment = by_group.setdefault((each.account.id, id(group)), Payment(each.account, group))
        payment.named.append(each.facts)
        if news is not None:
            payment.news.add(each.facts.id)
        by_object[each.account.id, each.facts.id] = payment
    return by_object


def _follow(ctx: Context, steps: Sequence[Step], *, prices: Catalog) -> None:
    """Make the accounts' standing follow, and tell of what is new, in the order of the events."""
    decisive = [step for step in steps if _is_decisive(step)]
    locked = {step.found.account.id: step.found.account for step in decisive}
    standings = subscriptions.read(ctx, locked.values(), prices=prices)
    last = {id(step.payment): step for step in decisive if step.payment}
    states = [
        _state(step, standings, prices)
        if _is_decisive(step) and last.get(id(step.payment), step) is step
        else None
        for step in steps
    ]
    standings.let_in(ctx, _unquestioned(steps, states))
    for step, state in zip(steps, states, strict=True):
        account = step.found.account
        if state is not None:
            standings.follow(ctx, account.id, state)
        if step.kept is not None and payments.tell(
            ctx, account, step.kept.before, step.found.facts
        ):
            standings.stir(account.id)


def _unquestioned(steps: Sequence[Step], states: Sequence[str | None]) -> set[int]:
    """The accounts of which the set says that they are paid for, and nothing else."""
    paid, others = set(), set()
    for step, state in zip(steps, states, strict=True):
        facts = step.found.facts
        has_failed = isinstance(facts, Invoice) and facts.status == "open" and facts.attempts > 0
        if has_failed or state not in {None, "active"}:
            others.add(step.found.account.id)
        elif state:
            paid.add(step.found.account.id)
    return paid - others


def _is_decisive(step: Step) -> bool:
    """Whether the account's standing may follow from it.

    An older state must not undo what a person has changed since.
    """
    if step.payment is not None:
        return step.payment.decides
    return isinstance(step.found.facts, Subscription) and step.kept is not None


def _state(step: Step, standings: Standings, prices: Catalog) -> str | None:
    account_id, payment = step.found.account.id, step.payment
    if payment is None:
        return standings.state_of(account_id)
    invoice = payment.invoice
    assert invoice is not None, "only an invoice decides"
    is_paid = invoice_lines.pays_for_a_plan(invoice, prices)
    paid_for = invoice.subscription if is_paid else None
    return standings.state_of(account_id, is_paid=is_paid, paid_for=paid_for)


def _done(steps: Sequence[Step]) -> list[dict[str, object]]:
    """What is said in each event's row; a payment's credits are said once, with its first news."""
    says: dict[int, Step] = {}
    for step in sorted(steps, key=lambda each: each.kept is None):
        says.setdefault(id(step.payment), step)
    done: list[dict[str, object]] = []
    for step in steps:
        facts: dict[str, object] = {"is_newer": step.kept is not None}
        if step.payment is not None:
            facts["credits"] = step.payment.given if says[id(step.payment)] is step else 0
        done.append(facts)
    return done
