"""Whose a Stripe object is: by its customer, else by what it names itself, else by its payment."""

from collections.abc import Iterable

from sqlalchemy.orm import Session

from billing.errors import AccountDeleted
from billing.host import accounts
from billing.host.accounts import HostAccount
from billing.stripe import object_rows
from billing.stripe.errors import CustomerAmbiguous, CustomerTaken, UnknownCustomer, UnknownPayment
from billing.stripe.types import Facts


def find(session: Session, facts: Facts) -> HostAccount:
    """Lock and return the account that the object is of; link its customer if it is new.

    Raises UnknownCustomer, UnknownPayment, CustomerAmbiguous, CustomerTaken or AccountDeleted.
    """
    # The usual case, in one statement; the others are rare.
    customers = [facts.customer] if facts.customer else []
    usual = accounts.lock_customers(session, customers).values() if customers else ()
    account = next(iter(usual), None) or _search(session, facts)
    if account.is_deleted:
        raise AccountDeleted(account_id=account.id, object=facts.id)
    return account


def _search(session: Session, facts: Facts) -> HostAccount:
    account_id = _of_customer(session, facts.customer)
    if account_id is None and facts.hint is not None:
        account_id = _of_hint(session, facts.hint, facts.customer)
    if account_id is None:
        account_id = _of_payment(session, facts)
    if account_id is None:
        if facts.customer is None:
            raise UnknownPayment(object=facts.id)
        raise UnknownCustomer(customer=facts.customer, object=facts.id)
    account = accounts.lock(session, [account_id]).get(account_id)
    if account is None:
        raise UnknownCustomer(account_id=account_id, object=facts.id)
    return account


def link(session: Session, account_id: int, customer: str) -> bool:
    """Make the account Stripe's customer, if it is nobody's yet; False if it was already.

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
    found = accounts.with_customer(session, customer)
    if len(found) > 1:
        raise CustomerAmbiguous(customer=customer, accounts=found)
    return found[0] if found else None


def _of_hint(session: Session, account_id: int, customer: str | None) -> int | None:
    """The account that the object names, which must not contradict its customer."""
    if not accounts.exists(session, account_id):
        return None
    if customer is not None:
        link(session, account_id, customer)
    return account_id


def _of_payment(session: Session, facts: Facts) -> int | None:
    """The account of the same payment's other objects: refunds and disputes name no customer."""
    related = [
        each for linked in sorted(facts.links) for each in object_rows.of_payment(session, linked)
    ]
    for each in related:
        if (account_id := _of_customer(session, each.customer)) is not None:
            return account_id
    return _hinted(session, related)


def _hinted(session: Session, related: Iterable[Facts]) -> int | None:
    hints = [each.hint for each in related if each.hint is not None]
    return next((hint for hint in hints if accounts.exists(session, hint)), None)
