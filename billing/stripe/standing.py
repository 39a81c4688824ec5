"""What a subscription's state at Stripe means for its account: status, plan, and the mirror.

An account may have had several subscriptions; the one that counts is the newest that goes on, else
the newest. Within one second Stripe may say that a payment failed and that it succeeded: then the
invoice of the period decides.
"""

import datetime as dt

from sqlalchemy.orm import Session

from billing import accounts, invoices, landing, status
from billing.accounts import HostAccount
from billing.invoices import MirroredSubscription
from billing.stripe import catalog, objects
from billing.stripe import reading as read
from billing.stripe.catalog import Catalog
from billing.stripe.shapes import Invoice, Subscription

ACTOR = "stripe"

#: Stripe's status of the subscription -> what becomes of the account. In past_due it keeps its
#: access: Stripe still tries, and dunning has its own steps. Others change nothing.
CONSEQUENCES = {
    "active": "let in",
    "unpaid": "payment_failed",
    "paused": "trial_over",
    "canceled": "cancelled",
}
#: Statuses that a subscription's end ends; one who announced a transfer is about to pay otherwise.
ENDED_BY_SUBSCRIPTION = frozenset({"trial", "active", "suspended"})
#: Before the first payment. Where that is known and the status has not followed yet, it decides.
UNPAID_YET = frozenset({"incomplete", "trialing"})
#: A plan is the account's from the moment that its subscription is one of these.
GIVES_PLAN = frozenset({"trialing", "active", "past_due"})


def settle(
    session: Session,
    account: HostAccount,
    *,
    now: dt.datetime,
    is_paid: bool = False,
    paid_for: str | None = None,
    prices: Catalog | None = None,
) -> None:
    """Make the account's status, plan and subscription equal to Stripe's.

    `is_paid`: a plan was paid for, under the subscription `paid_for`; if Stripe has not spoken of
    that yet, or only of its trial, the payment itself lets the account in. `prices`: what is known
    of some already.
    """
    found = objects.of_account(session, account.id, "subscription")
    subscriptions = [each for each in found if isinstance(each, Subscription)]
    if not subscriptions:
        if is_paid:
            landing.money_landed(session, account.id, actor=ACTOR, now=now)
        return
    best = max(subscriptions, key=lambda each: (not each.is_ended, each.created or 0, each.id))
    state = status_of(session, best)
    _mirror(session, account, best, state, now=now)
    if state in GIVES_PLAN:
        _give_plan(session, account, best, prices)
    is_news = paid_for is not None and all(each.id != paid_for for each in subscriptions)
    if is_paid and (is_news or (best.id == paid_for and state in UNPAID_YET)):
        state = "active"
    _follow(session, account.id, state, now=now)


def status_of(session: Session, subscription: Subscription) -> str:
    """The subscription's status, or what its newest invoice makes of it."""
    if subscription.status not in {"active", "past_due", "unpaid"}:
        return subscription.status
    invoice = objects.read(session, subscription.latest_invoice or "")
    if isinstance(invoice, Invoice):
        if invoice.status == "paid":
            return "active"
        if invoice.status == "open" and invoice.attempts and subscription.status == "active":
            return "past_due"
    return subscription.status


def _follow(session: Session, account_id: int, state: str, *, now: dt.datetime) -> None:
    consequence = CONSEQUENCES.get(state)
    account = accounts.lock(session, [account_id])[account_id]
    if consequence is None or account.is_system:
        return
    if consequence == "let in":
        landing.money_landed(session, account_id, actor=ACTOR, now=now)
    elif consequence == "cancelled":
        if account.status in ENDED_BY_SUBSCRIPTION:
            reason = "subscription_ended"
            status.change(session, account_id, to=consequence, reason=reason, actor=ACTOR, now=now)
    elif account.status != "cancelled":
        status.suspend(session, account_id, reason=consequence, actor=ACTOR, now=now)


def _give_plan(
    session: Session, account: HostAccount, subscription: Subscription, known: Catalog | None
) -> None:
    prices = catalog.load(session, catalog.prices_of(subscription), known=known)
    meanings = [prices.meaning(item.price) for item in subscription.items]
    plan = next((meaning.plan for meaning in meanings if meaning and meaning.plan), None)
    if plan is not None and plan.id != account.plan_id and not account.is_system:
        accounts.set_plan(session, account.id, plan.id)


def _mirror(
    session: Session,
    account: HostAccount,
    subscription: Subscription,
    state: str,
    *,
    now: dt.datetime,
) -> None:
    start = read.moment(subscription.start or subscription.created or int(now.timestamp()))
    invoices.write_subscription(
        session,
        MirroredSubscription(
            account_id=account.id,
            status=state,
            stripe_id=subscription.id,
            starts_at=start,
            ends_at=read.moment(subscription.end) if subscription.end else start,
            cancels_at_end=subscription.cancels_at_end,
            payment_method="stripe",
        ),
    )
