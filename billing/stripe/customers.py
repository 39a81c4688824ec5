"""The account of a Stripe object, from the surest evidence to the weakest.

its payment     what is known of a payment stays its account's, whatever becomes of the customer
its customer    the account has it now, or had it before an operator moved the account
by name         the main app or an operator said whose object it is (`billing.stripe_owners`)
vouched for     metadata, which only the merchant's API key writes; or a signed reference

Anything that a payer can write links nothing (decision 0025): it waits for a person.
"""

from collections.abc import Mapping, Sequence

from sqlalchemy.orm import Session

from billing.context import Context
from billing.errors import AccountDeleted, Rejected
from billing.host import accounts
from billing.host.accounts import HostAccount
from billing.stripe import fields, links, object_rows, owners
from billing.stripe.errors import (
    CustomerAmbiguous,
    DetachedMethod,
    UnknownCustomer,
    UnknownPayment,
    UnvouchedAccount,
)
from billing.stripe.object_rows import PaymentObjects
from billing.stripe.objects.base import Facts
from billing.stripe.objects.checkout_session import CheckoutSession
from billing.stripe.objects.payment_method import PaymentMethod
from billing_client import checkout

Owner = HostAccount | Rejected | None
Payments = Mapping[str, PaymentObjects]


def lock_owners(ctx: Context, objects: Sequence[Facts]) -> list[Owner]:
    """Lock and return the account of each object, or the error that says why there is none.

    None for an object of a larger batch whose customer is no account's yet. It needs a batch of
    its own, so that a batch locks its accounts in one statement, in ascending order.
    """
    payments = _payments(ctx.session, objects)
    known: dict[str, int | None] = {}
    if any(payment.account_id is not None for payment in payments.values()):
        known = {facts.id: _of_payment(facts, payments) for facts in objects}
    customers = _customers(objects, payments)
    by_customer, by_id = accounts.lock_customers(
        ctx.session, set(customers.values()), set(filter(None, known.values()))
    )
    found: list[Owner] = []
    for facts in objects:
        of_payment = by_id.get(known.get(facts.id) or 0)
        is_sure = of_payment is not None and not of_payment.is_deleted
        of_customer = by_customer.get(customers.get(facts.id, ""))
        found.append(of_payment if is_sure else of_customer or of_payment)
    if found == [None]:
        found = [_search(ctx, objects[0])]
    for place, owner in enumerate(found):
        if isinstance(owner, HostAccount) and owner.is_deleted:
            found[place] = AccountDeleted(account_id=owner.id, object=objects[place].id)
    return found


def _payments(session: Session, objects: Sequence[Facts]) -> Payments:
    """The known objects of these objects' payments."""
    names = {name for facts in objects if facts.is_of_payment for name in (facts.id, *facts.links)}
    return object_rows.of_payments(session, names) if names else {}


def _of_payment(facts: Facts, payments: Payments) -> int | None:
    """The account that the object's payment is known to belong to."""
    for name in (facts.id, *sorted(facts.links)):
        payment = payments.get(name)
        if payment is not None and payment.account_id is not None:
            payers = {item.customer for item in payment if item.customer}
            if not (facts.customer and payers) or facts.customer in payers:
                return payment.account_id
    return None


def _customers(objects: Sequence[Facts], payments: Payments) -> dict[str, str]:
    """The customer of each object, by its id: the one that it names, else its payment's."""
    customers = {facts.id: facts.customer for facts in objects if facts.customer}
    by_payment: dict[str, str] = {}
    for facts in objects:
        if facts.id in customers:
            continue
        related = [
            customers.get(link)
            or next((x.customer for x in payments.get(link, ()) if x.customer), "")
            for link in sorted(facts.links)
        ]
        if customer := next(filter(None, related), None):
            by_payment[facts.id] = customer
    return customers | by_payment


def _search(ctx: Context, facts: Facts) -> Owner:
    """Find and lock the account of one object, and link its customer if that is new."""
    if isinstance(facts, PaymentMethod) and facts.customer is None:
        return DetachedMethod(object=facts.id)
    try:
        account_id = _recorded(ctx.session, facts)
        if account_id is None:
            account_id = _vouched(ctx, facts)
        if account_id is None:
            account_id = _by_payment(ctx.session, facts)
    except Rejected as error:
        return error
    if account_id is None:
        if facts.customer is None:
            return UnknownPayment(object=facts.id)
        return UnknownCustomer(customer=facts.customer, object=facts.id)
    account = accounts.lock(ctx.session, [account_id]).get(account_id)
    return account or UnknownCustomer(account_id=account_id, object=facts.id)


def probable_account(session: Session, facts: Facts) -> int | None:
    """The account that an object seems to belong to, for a person's eyes: nothing is linked."""
    account_id = _of_payment(facts, _payments(session, [facts])) or facts.hint
    if facts.customer and account_id is None:
        with_customer = accounts.with_customer(session, facts.customer)
        account_id = with_customer[0] if with_customer else _recorded(session, facts)
    if account_id is None and isinstance(facts, CheckoutSession) and facts.reference:
        account_id = checkout.named_account(facts.reference)
    is_known = account_id is not None and accounts.exists(session, account_id)
    return account_id if is_known else None


def _recorded(session: Session, facts: Facts) -> int | None:
    """The account that has the object's customer, or had it, or that the object was named for.

    Raises CustomerAmbiguous.
    """
    if facts.customer is not None:
        account_ids = accounts.with_customer(session, facts.customer)
        if len(account_ids) > 1:
            raise CustomerAmbiguous(customer=facts.customer, accounts=account_ids)
        if account_ids:
            return account_ids[0]
    # A subscription stays its account's when the app gives the account another customer.
    names = [facts.id, facts.customer, getattr(facts, "subscription", None)]
    ids = [name for name in names if name]
    named, stored = owners.of(session, ids), object_rows.accounts_of(session, ids)
    if isinstance(facts, CheckoutSession) and facts.customer:
        named.pop(facts.id, None)  # `_vouched` links its customer, too
    return next((x[name] for x in (named, stored) for name in ids if name in x), None)


def _vouched(ctx: Context, facts: Facts) -> int | None:
    """The account that the object names, if the app vouches for it and no customer contradicts.

    A top-up is given without linking its customer if the account has another one already. Raises
    UnvouchedAccount or as `links.link` does.
    """
    announced = owners.of(ctx.session, [facts.id]).get(facts.id)
    account_id = announced or facts.hint or _of_reference(ctx, facts)
    if account_id is None or not accounts.exists(ctx.session, account_id):
        return None
    if facts.customer is None:
        return account_id
    account = accounts.lock(ctx.session, [account_id])[account_id]
    is_top_up = isinstance(facts, CheckoutSession) and facts.mode == "payment"
    if not (is_top_up and account.stripe_customer_id):
        links.link(ctx, account_id, facts.customer)
    return account_id


def _of_reference(ctx: Context, facts: Facts) -> int | None:
    """The account of a signed reference. Raises UnvouchedAccount for one that anybody can write."""
    if not isinstance(facts, CheckoutSession) or facts.reference is None:
        return None
    opened_at = fields.moment(facts.created) if facts.created else None
    if account_id := checkout.read_reference(
        facts.reference, secrets=ctx.checkout_secrets, opened_at=opened_at
    ):
        return account_id
    named = checkout.named_account(facts.reference)
    if named is None or not accounts.exists(ctx.session, named):
        return None
    raise UnvouchedAccount(object=facts.id, account_id=named, customer=facts.customer)


def _by_payment(session: Session, facts: Facts) -> int | None:
    """The account of the same payment's other objects: refunds and disputes name no customer."""
    payments = object_rows.of_payments(session, facts.links) if facts.links else {}
    related = [other for link in sorted(facts.links) for other in payments[link]]
    for other in related:
        if (account_id := _recorded(session, other)) is not None:
            return account_id
    hints = [other.hint for other in related if other.hint is not None]
    return next((hint for hint in hints if accounts.exists(session, hint)), None)
