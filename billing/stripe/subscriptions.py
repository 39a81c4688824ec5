"""What a subscription's state at Stripe means for its account: status, plan, and the mirror.

An account may have had several subscriptions; the one that counts is the newest that goes on, else
the newest. Within one second Stripe may say that a payment failed and that it succeeded: then the
invoice of the period decides.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy.orm import Session

from billing.context import Context
from billing.host import accounts, invoices
from billing.host.accounts import HostAccount
from billing.host.invoices import MirroredSubscription
from billing.lifecycle import reactivation, status
from billing.stripe import catalog, object_rows
from billing.stripe.catalog import Catalog
from billing.stripe.json_fields import moment as read_moment
from billing.stripe.types import Invoice, Subscription

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
#: The period's invoice may know better than the subscription: both are of one second.
INVOICE_DECIDES = frozenset({"active", "past_due", "unpaid"})
#: A plan is the account's from the moment that its subscription is one of these.
GIVES_PLAN = frozenset({"trialing", "active", "past_due"})


@dataclass(frozen=True, slots=True)
class Standings:
    """What Stripe's subscriptions say of some accounts, which are locked.

    `best`: of each account the subscription that counts, with its status; `names`: all that are
    known of it. `quiet`: accounts that are neither suspended nor asked for money; `paid`: those of
    them for which more money changes nothing.
    """

    best: Mapping[int, tuple[Subscription, str]]
    names: Mapping[int, frozenset[str]]
    quiet: set[int]
    paid: set[int]

    def state_of(
        self, account_id: int, *, is_paid: bool = False, paid_for: str | None = None
    ) -> str | None:
        """The subscription's status that the account's follows; None if nothing follows.

        `is_paid`: a plan was paid for, under the subscription `paid_for`; if Stripe has not spoken
        of that yet, or only of its trial, the payment itself lets the account in.
        """
        state = "active" if is_paid else None
        if account_id in self.best:
            best, state = self.best[account_id]
            is_news = paid_for is not None and paid_for not in self.names[account_id]
            if is_paid and (is_news or (best.id == paid_for and state in UNPAID_YET)):
                state = "active"
        return state if state in CONSEQUENCES else None

    def let_in(self, ctx: Context, account_ids: Iterable[int]) -> None:
        """Let those of these accounts in that are quiet, all at once."""
        ids = (set(account_ids) & self.quiet) - self.paid
        if ids:
            reactivation.reactivate(ctx.by(ACTOR), ids)
            self.paid.update(ids)

    def follow(self, ctx: Context, account_id: int, state: str) -> None:
        """Make the account's status follow this state of its subscription."""
        if state == "active" and account_id in self.paid:
            return
        self.stir(account_id)
        _follow(ctx, account_id, state)

    def stir(self, account_id: int) -> None:
        """Something has happened to the account, so that it is to be looked at again."""
        self.quiet.discard(account_id)
        self.paid.discard(account_id)


def read(ctx: Context, locked: Iterable[HostAccount], *, prices: Catalog) -> Standings:
    """Read what Stripe says of these accounts, and make their plans and subscriptions equal to it.

    `prices`: what is known of some already.
    """
    by_id = {account.id: account for account in locked}
    if not by_id:
        return Standings({}, {}, set(), set())
    found = {
        account_id: [each for each in subscriptions if isinstance(each, Subscription)]
        for account_id, subscriptions in object_rows.of_accounts(
            ctx.session, by_id, "subscription"
        ).items()
    }
    counting = {
        account_id: max(each, key=lambda one: (not one.is_ended, one.created or 0, one.id))
        for account_id, each in found.items()
    }
    best = dict(zip(counting, _with_status(ctx.session, list(counting.values())), strict=True))
    _mirror(ctx, best)
    _give_plans(ctx.session, by_id, best, prices)
    names = {id: frozenset([each.id for each in known]) for id, known in found.items()}
    quiet = by_id.keys() - reactivation.suspended_or_dunned(ctx.session, by_id)
    is_in = {id for id in quiet if by_id[id].status not in reactivation.REACTIVATED_BY_PAYMENT}
    return Standings(best, names, quiet, is_in)


def _with_status(
    session: Session, subscriptions: Sequence[Subscription]
) -> list[tuple[Subscription, str]]:
    asked = {each.latest_invoice for each in subscriptions if each.status in INVOICE_DECIDES}
    read = object_rows.read_all(session, [each for each in asked if each]) if asked else []
    newest = {each.id: each for each in read if isinstance(each, Invoice)}
    return [(each, _status(each, newest.get(each.latest_invoice or ""))) for each in subscriptions]


def status_of(session: Session, subscription: Subscription) -> str:
    """The subscription's status, or what its newest invoice makes of it."""
    return _with_status(session, [subscription])[0][1]


def _status(subscription: Subscription, invoice: Invoice | None) -> str:
    if subscription.status not in INVOICE_DECIDES or invoice is None:
        return subscription.status
    if invoice.status == "paid":
        return "active"
    if invoice.status == "open" and invoice.attempts and subscription.status == "active":
        return "past_due"
    return subscription.status


def _follow(ctx: Context, account_id: int, state: str) -> None:
    consequence = CONSEQUENCES[state]
    account = accounts.lock(ctx.session, [account_id])[account_id]
    if account.is_system:
        return
    if consequence == "let in":
        reactivation.payment_received(ctx.by(ACTOR), [account_id])
    elif consequence == "cancelled":
        if account.status in ENDED_BY_SUBSCRIPTION:
            reason = "subscription_ended"
            status.change(ctx.by(ACTOR), account_id, to=consequence, reason=reason)
    elif account.status != "cancelled":
        status.suspend(ctx.by(ACTOR), account_id, reason=consequence)


def _give_plans(
    session: Session,
    accounts_by_id: Mapping[int, HostAccount],
    best: Mapping[int, tuple[Subscription, str]],
    known: Catalog,
) -> None:
    giving = {id: each for id, (each, state) in best.items() if state in GIVES_PLAN}
    named = [price for each in giving.values() for price in catalog.prices_of(each)]
    prices = catalog.load(session, named, known=known)
    for account_id, subscription in giving.items():
        account = accounts_by_id[account_id]
        meanings = [prices.meaning(item.price) for item in subscription.items]
        plan = next((meaning.plan for meaning in meanings if meaning and meaning.plan), None)
        if plan is not None and plan.id != account.plan_id and not account.is_system:
            accounts.set_plan(session, account_id, plan.id)


def _mirror(ctx: Context, best: Mapping[int, tuple[Subscription, str]]) -> None:
    mirrored = []
    for account_id, (each, state) in best.items():
        start = read_moment(each.start or each.created or int(ctx.now.timestamp()))
        mirrored.append(
            MirroredSubscription(
                account_id=account_id,
                status=state,
                stripe_id=each.id,
                starts_at=start,
                ends_at=read_moment(each.end) if each.end else start,
                cancels_at_end=each.cancels_at_end,
                payment_method="stripe",
            )
        )
    invoices.write_subscriptions(ctx.session, mirrored)
