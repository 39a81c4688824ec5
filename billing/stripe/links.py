"""Links between accounts and customers, sessions and payments at Stripe, by the app or by hand."""

from dataclasses import dataclass

from billing.context import Context
from billing.errors import AccountDeleted
from billing.host import accounts
from billing.stripe import fields, inbox, object_rows, owners
from billing.stripe.errors import CustomerTaken, UnknownCustomer
from billing_client import AnnounceCheckout

#: The beginnings of the ids that may be linked without a customer.
OF_PAYMENTS = ("cs_", fields.INTENT, fields.CHARGE, fields.PAYMENT)


def link(ctx: Context, account_id: int, customer: str, *, may_move: bool = False) -> bool:
    """Link the account to a customer that no account has yet; False if it was linked already.

    `may_move`: it may have another customer, whose payments stay the account's. Raises
    CustomerTaken, UnknownCustomer or AccountDeleted.
    """
    session = ctx.session
    account = accounts.lock(session, [account_id]).get(account_id)
    if account is None:
        raise UnknownCustomer(account_id=account_id, customer=customer)
    if account.is_deleted:
        raise AccountDeleted(account_id=account_id, customer=customer)
    if account.stripe_customer_id == customer:
        return False
    others = set(accounts.with_customer(session, customer)) - {account_id}
    others |= set(owners.of(session, [customer]).values()) - {account_id}
    before = account.stripe_customer_id
    if others or (before and not may_move):
        raise CustomerTaken(account_id=account_id, customer=customer, others=sorted(others))
    if before:
        owners.record(ctx, before, account_id)
    accounts.set_customer(session, account_id, customer)
    return True


@dataclass(frozen=True, slots=True)
class Linked:
    """The result of a link by hand. `events` were resumed.

    `moved_from`: the customer that the account had before, with its known `objects`.
    """

    is_new: bool
    events: int
    moved_from: str | None = None
    objects: int = 0


def link_by_hand(ctx: Context, account_id: int, name: str, *, may_move: bool) -> Linked:
    """Link an account to a customer, or to a session or payment that names no customer.

    Raises as `link` does.
    """
    account = accounts.lock(ctx.session, [account_id]).get(account_id)
    before = account.stripe_customer_id if account else None
    if not name.startswith(OF_PAYMENTS):
        is_new = link(ctx, account_id, name, may_move=may_move)
        events = inbox.wake(ctx, customers=[name])
        if not (is_new and before):
            return Linked(is_new, events)
        return Linked(is_new, events, before, object_rows.count_of_customer(ctx.session, before))
    if account is None:
        raise UnknownCustomer(account_id=account_id, object=name)
    if account.is_deleted:
        raise AccountDeleted(account_id=account_id, object=name)
    is_new = owners.of(ctx.session, [name]).get(name) != account_id
    owners.record(ctx, name, account_id)
    return Linked(is_new, inbox.wake(ctx, object_ids=[name]))


def announce(ctx: Context, message: AnnounceCheckout) -> int:
    """Record the account of a Checkout session; return how many events waited for it.

    Raises UnknownAccount, AccountDeleted or SystemAccount.
    """
    accounts.lock_billable(ctx.session, message.account_id)
    owners.record(ctx, message.session, message.account_id)
    return inbox.wake(ctx, object_ids=[message.session])
