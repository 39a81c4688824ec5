"""The account of a Stripe object: by its customer, else its metadata, else its payment."""

from collections.abc import Sequence

from sqlalchemy.orm import Session

from billing.errors import AccountDeleted, Rejected
from billing.host import accounts
from billing.host.accounts import HostAccount
from billing.stripe import object_rows
from billing.stripe.errors import (
    CustomerAmbiguous,
    CustomerTaken,
    DetachedMethod,
    UnknownCustomer,
    UnknownPayment,
)
from billing.stripe.objects.base import Facts
from billing.stripe.objects.payment_method import PaymentMethod

Owner = HostAccount | Rejected | None


def lock_owners(session: Session, objects: Sequence[Facts]) -> list[Owner]:
    """Lock and return the account of each object, or the error that says why there is none.

    None for an object of a larger batch whose customer is no account's yet. It needs a batch of
    its own, so that a batch locks its accounts in one statement, in ascending order.
    """
    customers = _customers(session, objects)
    locked = accounts.lock_customers(session, set(customers.values())) if customers else {}
    by_id = {id_: locked[customer] for id_, customer in customers.items() if customer in locked}
    owners: list[Owner] = [by_id.get(facts.id) for facts in objects]
    if owners == [None]:
        owners = [_search(session, objects[0])]
    for place, owner in enumerate(owners):
        if isinstance(owner, HostAccount) and owner.is_deleted:
            owners[place] = AccountDeleted(account_id=owner.id, object=objects[place].id)
    return owners


def _customers(session: Session, objects: Sequence[Facts]) -> dict[str, str]:
    """The customer of each object, by its id: the one that it names, else its payment's."""
    customers = {facts.id: facts.customer for facts in objects if facts.customer}
    silent = [facts for facts in objects if facts.id not in customers]
    links = {link for facts in silent for link in facts.links if link not in customers}
    payments = object_rows.of_payments(session, links) if links else {}
    by_payment: dict[str, str] = {}
    for facts in silent:
        related = [
            customers.get(link)
            or next((x.customer for x in payments.get(link, ()) if x.customer), "")
            for link in sorted(facts.links)
        ]
        if customer := next(filter(None, related), None):
            by_payment[facts.id] = customer
    return customers | by_payment


def _search(session: Session, facts: Facts) -> Owner:
    """Find and lock the account of one object, and link its customer if that is new."""
    if isinstance(facts, PaymentMethod) and facts.customer is None:
        return DetachedMethod(object=facts.id)
    try:
        account_id = _of_customer(session, facts.customer)
        if account_id is None and facts.hint is not None:
            account_id = _of_hint(session, facts.hint, facts.customer)
        if account_id is None:
            account_id = _of_payment(session, facts)
    except Rejected as error:
        return error
    if account_id is None:
        if facts.customer is None:
            return UnknownPayment(object=facts.id)
        return UnknownCustomer(customer=facts.customer, object=facts.id)
    account = accounts.lock(session, [account_id]).get(account_id)
    return account or UnknownCustomer(account_id=account_id, object=facts.id)


def link(session: Session, account_id: int, customer: str) -> bool:
    """Link the account to a customer that no account has yet; False if it was linked already.

    Raises CustomerTaken, UnknownCustomer or AccountDeleted.
    """
    account = accounts.lock(session, [account_id]).get(account_id)
    if account is None:
        raise UnknownCustomer(account_id=account_id, customer=customer)
    if account.is_deleted:
        raise AccountDeleted(account_id=account_id, customer=customer)
    if account.stripe_customer_id == customer:
        return False
    others = set(accounts.with_customer(session, customer)) - {account_id}
    if account.stripe_customer_id or others:
        raise CustomerTaken(account_id=account_id, customer=customer, others=sorted(others))
    accounts.set_customer(session, account_id, customer)
    return True


def _of_customer(session: Session, customer: str | None) -> int | None:
    if customer is None:
        return None
    account_ids = accounts.with_customer(session, customer)
    if len(account_ids) > 1:
        raise CustomerAmbiguous(customer=customer, accounts=account_ids)
    return account_ids[0] if account_ids else None


def _of_hint(session: Session, account_id: int, customer: str | None) -> int | None:
    """The account that the object's metadata names, if its customer does not contradict it."""
    if not accounts.exists(session, account_id):
        return None
    if customer is not None:
        link(session, account_id, customer)
    return account_id


def _of_payment(session: Session, facts: Facts) -> int | None:
    """The account of the same payment's other objects: refunds and disputes name no customer."""
    payments = object_rows.of_payments(session, facts.links) if facts.links else {}
    related = [other for link in sorted(facts.links) for other in payments[link]]
    for other in related:
        if (account_id := _of_customer(session, other.customer)) is not None:
            return account_id
    hints = [other.hint for other in related if other.hint is not None]
    return next((hint for hint in hints if accounts.exists(session, hint)), None)
