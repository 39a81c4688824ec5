"""The effects of an account's subscriptions on its status, its plan, and the main app's row.

An account may have several subscriptions. The one of the best standing counts, and of equal ones
the newest: an unpaid subscription does not lock out an account that pays for another. A failed and
a successful payment may have the same second; then the invoice of the period decides.
"""

import datetime as dt
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy.orm import Session

from billing.context import Context
from billing.host import accounts, funding, invoices
from billing.host.accounts import HostAccount
from billing.host.invoices import MirroredSubscription
from billing.lifecycle import status
from billing.lifecycle.trials import returning
from billing.purchases import bridge, purchases
from billing.purchases.bridge import NewPeriod
from billing.stripe import catalog, fields, object_rows
from billing.stripe.catalog import Catalog
from billing.stripe.objects.invoice import Invoice
from billing.stripe.objects.subscription import Subscription
from billing.stripe.payments import Step
from models.purchases import Purchase

#: Stripe's status of the subscription -> the effect on the account. In past_due the account keeps
#: its access: Stripe still tries to collect, and dunning has its own steps.
EFFECTS = {
    "active": "let in",
    "trialing": "trial",
    "unpaid": "payment_failed",
    "paused": "trial_over",
    "canceled": "cancelled",
}
#: Statuses that the end of a subscription ends. In pending_payment a bank transfer is expected.
ENDED_BY_SUBSCRIPTION = frozenset({"trial", "active", "suspended"})
#: The standing of a subscription's status, the best first. Any other is below these, and one that
#: has ended below all.
STANDING = ("active", "past_due", "trialing", "incomplete", "paused", "unpaid")
#: Statuses before the first payment. A known payment outweighs them.
UNPAID_YET = frozenset({"incomplete", "trialing"})
#: Statuses that the period's invoice may correct, as both may be of one second.
INVOICE_DECIDES = frozenset({"active", "past_due", "unpaid"})
#: Statuses in which the account has the subscription's plan.
GIVES_PLAN = frozenset({"trialing", "active", "past_due"})


@dataclass(frozen=True, slots=True)
class FundingState:
    """The subscriptions of a batch's accounts, and how the accounts stand.

    Attributes:
        accounts: The accounts, as they were locked.
        states: For the steps that decide the subscription status that their account follows.
        quiet: Accounts that are not burdened (`status.burdened_accounts`).
        paid: Those quiet accounts that another payment does not change.
        trial_ends: The end of the trial at Stripe, where the subscription that counts has one.
    """

    accounts: Mapping[int, HostAccount]
    states: Mapping[int, str | None]
    quiet: set[int]
    paid: set[int]
    trial_ends: Mapping[int, dt.datetime]

    def let_in(self, ctx: Context, account_ids: Iterable[int]) -> None:
        """Let in those of these accounts that are quiet, in one batch."""
        ids = (set(account_ids) & self.quiet) - self.paid
        if ids:
            status.activate(ctx, [self.accounts[id_] for id_ in sorted(ids)])
            self.paid.update(ids)

    def follow(self, ctx: Context, step: Step) -> None:
        """Make the status of the step's account follow its subscription, if the step decides."""
        state, account_id = self.states.get(id(step)), step.account.id
        if state is None or (state == "active" and account_id in self.paid):
            return
        self.forget(account_id)
        step.trial = _follow(ctx, account_id, state, self.trial_ends.get(account_id))

    def forget(self, account_id: int) -> None:
        """Treat the account singly from now on: its status or its dunning may have changed."""
        self.quiet.discard(account_id)
        self.paid.discard(account_id)


def read(ctx: Context, steps: Sequence[Step], *, prices: Catalog) -> FundingState:
    """Read the subscriptions of the steps' accounts, and let in the accounts that are paid for.

    Writes their plans and the main app's rows. `prices`: a catalog that may know their prices.
    """
    decisive = [step for step in steps if step.decides_access]
    by_id = {step.account.id: step.account for step in decisive}
    if not by_id:
        return FundingState({}, {}, set(), set(), {})
    objects = object_rows.of_accounts(ctx.session, by_id, "subscription")
    subscriptions = {
        account_id: [item for item in items if isinstance(item, Subscription)]
        for account_id, items in objects.items()
    }
    best = _best(ctx.session, subscriptions)
    # A period that was paid by bank goes on whatever becomes of a subscription at Stripe.
    over = [id_ for id_, (_, state) in best.items() if state not in GIVES_PLAN]
    by_bank = (
        {id_ for id_, way in funding.ways(ctx, over).items() if way.bank_until} if over else {}
    )
    if best:
        _mirror(ctx, {id_: pair for id_, pair in best.items() if id_ not in by_bank}, by_bank)
        _give_plans(ctx.session, by_id, best, prices)
    quiet = by_id.keys() - status.burdened_accounts(ctx.session, by_id)
    paid = {id_ for id_ in quiet if by_id[id_].status not in status.REACTIVATED_BY_PAYMENT}
    # Of the steps of one payment the last decides.
    last = {id(step.payment): step for step in decisive if step.payment}
    states = {
        id(step): _state(step, best, subscriptions)
        for step in decisive
        if last.get(id(step.payment), step) is step
    }
    for step in decisive:
        if step.account.id in by_bank and states.get(id(step)) != "active":
            states[id(step)] = None
    trial_ends = {
        account_id: fields.moment(item.trial_end)
        for account_id, (item, _) in best.items()
        if item.trial_end
    }
    state = FundingState(by_id, states, quiet, paid, trial_ends)
    state.let_in(ctx, _paid_accounts(steps, states))
    if periods := _new_periods(ctx.session, best, prices):
        bridge.give(ctx, periods)
    return state


def _state(
    step: Step,
    best: Mapping[int, tuple[Subscription, str]],
    subscriptions: Mapping[int, Sequence[Subscription]],
) -> str | None:
    """The subscription status that the step's account follows; None if nothing follows.

    If a plan was paid for under a subscription that is unknown, or known only before its first
    payment, the payment itself gives access.
    """
    account_id, payment = step.account.id, step.payment
    is_paid = payment is not None and payment.pays_for_plan
    state = "active" if is_paid else None
    if account_id in best:
        counting, state = best[account_id]
        paid_for = payment.invoice.subscription if payment and payment.invoice else None
        ids = {item.id for item in subscriptions[account_id]}
        is_unknown = paid_for is not None and paid_for not in ids
        if is_paid and (is_unknown or (counting.id == paid_for and state in UNPAID_YET)):
            state = "active"
    return state if state in EFFECTS else None


def _paid_accounts(steps: Sequence[Step], states: Mapping[int, str | None]) -> set[int]:
    """The accounts for which the batch has a payment, and neither a failure nor another status."""
    paid, others = set(), set()
    for step in steps:
        state, facts = states.get(id(step)), step.facts
        has_failed = isinstance(facts, Invoice) and facts.status == "open" and facts.attempts > 0
        if has_failed or state not in {None, "active"}:
            others.add(step.account.id)
        elif state:
            paid.add(step.account.id)
    return paid - others


def _best(
    session: Session, subscriptions: Mapping[int, Sequence[Subscription]]
) -> dict[int, tuple[Subscription, str]]:
    """The subscription that counts for each account, with its status."""
    every = [item for items in subscriptions.values() for item in items]
    statuses = {
        item.id: pair for item, pair in zip(every, _with_status(session, every), strict=True)
    }
    return {
        account_id: max([statuses[item.id] for item in items], key=_precedence)
        for account_id, items in subscriptions.items()
    }


def _precedence(pair: tuple[Subscription, str]) -> tuple[bool, int, int, str]:
    subscription, state = pair
    standing = len(STANDING) - STANDING.index(state) if state in STANDING else 0
    return not subscription.is_ended, standing, subscription.created or 0, subscription.id


def _with_status(
    session: Session, subscriptions: Sequence[Subscription]
) -> list[tuple[Subscription, str]]:
    ids = {item.latest_invoice for item in subscriptions if item.status in INVOICE_DECIDES}
    objects = object_rows.read_all(session, filter(None, ids)) if any(ids) else []
    newest = {item.id: item for item in objects if isinstance(item, Invoice)}
    return [(item, _status(item, newest.get(item.latest_invoice or ""))) for item in subscriptions]


def status_of(session: Session, subscription: Subscription) -> str:
    """The subscription's status, corrected by its newest invoice."""
    return _with_status(session, [subscription])[0][1]


def _status(subscription: Subscription, invoice: Invoice | None) -> str:
    if subscription.status not in INVOICE_DECIDES or invoice is None:
        return subscription.status
    if invoice.status == "paid":
        return "active"
    if invoice.status == "open" and invoice.attempts and subscription.status == "active":
        return "past_due"
    return subscription.status


def _follow(ctx: Context, account_id: int, state: str, trial_end: dt.datetime | None) -> str | None:
    """Make an account follow this status; return the decision about a new trial, if one was due."""
    effect = EFFECTS[state]
    account = accounts.lock(ctx.session, [account_id])[account_id]
    if account.is_system:
        return None
    if effect == "trial":
        return returning.decide(ctx, account_id, ends_at=trial_end) if trial_end else None
    if effect == "let in":
        status.payment_received(ctx, [account_id])
    elif effect == "cancelled":
        bridge.end(ctx, account_id)
        if account.status in ENDED_BY_SUBSCRIPTION:
            status.change(ctx, account_id, to=effect, reason="subscription_ended")
    elif account.status != "cancelled":
        bridge.end(ctx, account_id)
        status.suspend(ctx, account_id, reason=effect)
    return None


def _give_plans(
    session: Session,
    accounts_by_id: Mapping[int, HostAccount],
    best: Mapping[int, tuple[Subscription, str]],
    loaded: Catalog,
) -> None:
    giving = {id_: item for id_, (item, state) in best.items() if state in GIVES_PLAN}
    prices = catalog.load(session, giving.values(), loaded=loaded)
    for account_id, subscription in giving.items():
        account = accounts_by_id[account_id]
        meanings = [prices.meaning(item.price) for item in subscription.items]
        plan = next((meaning.plan for meaning in meanings if meaning and meaning.plan), None)
        if plan is not None and plan.id != account.plan_id and not account.is_system:
            accounts.set_plan(session, account_id, plan.id)


def _new_periods(
    session: Session, best: Mapping[int, tuple[Subscription, str]], loaded: Catalog
) -> list[NewPeriod]:
    """The running periods of active subscriptions to a plan."""
    active = {id_: item for id_, (item, state) in best.items() if state == "active" and item.start}
    if not active:
        return []
    prices = catalog.load(session, active.values(), loaded=loaded)
    periods = []
    for account_id, subscription in active.items():
        # Usage never multiplies a plan; a plan that is only metered gives one month.
        bases = [item for item in subscription.items if not item.price.is_metered]
        items = bases or subscription.items[:1]
        meanings = [(prices.meaning(item.price), item.quantity) for item in items]
        credits = sum(
            [m.plan.included_credits * quantity for m, quantity in meanings if m and m.plan]
        )
        starts_at = fields.moment(subscription.start or 0)
        is_first = subscription.trial_end == subscription.start
        periods.append(NewPeriod(account_id, starts_at, credits, is_first))
    return periods


def _mirror(
    ctx: Context, best: Mapping[int, tuple[Subscription, str]], by_bank: Collection[int]
) -> None:
    """Write the main app's rows; that of an account `by_bank` shows its paid period again."""
    bought = purchases.paid_by_transfer(ctx, by_bank) if by_bank else {}
    mirrored = [_of_transfer(purchase) for purchase in bought.values()]
    for account_id, (subscription, state) in best.items():
        starts_at = fields.moment(
            subscription.start or subscription.created or int(ctx.now.timestamp())
        )
        mirrored.append(
            MirroredSubscription(
                account_id=account_id,
                status=state,
                stripe_id=subscription.id,
                starts_at=starts_at,
                ends_at=fields.moment(subscription.end) if subscription.end else starts_at,
                cancels_at_end=subscription.cancels_at_end,
                payment_method="stripe",
            )
        )
    invoices.write_subscriptions(ctx.session, mirrored)


def _of_transfer(purchase: Purchase) -> MirroredSubscription:
    assert purchase.ends_at is not None, "a plan's purchase ends"
    return MirroredSubscription(
        account_id=purchase.account_id,
        status="active",
        stripe_id=None,
        starts_at=purchase.starts_at,
        ends_at=purchase.ends_at,
        cancels_at_end=False,
        payment_method="bank_transfer",
        external_payment_id=purchase.origin,
    )
