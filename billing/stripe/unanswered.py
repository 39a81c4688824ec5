"""Money that a known account paid, and that has no effect here: it is never ignored silently.

The reason of such an event names the account, the payment and the amount. The audit reports it
until an operator answers: a price is linked, also as foreign, or the event is ignored by name.
"""

from collections.abc import Mapping

from sqlalchemy.orm import Session

from billing.errors import AccountDeleted, Rejected
from billing.stripe import catalog, customers, fields, object_rows, top_ups
from billing.stripe.catalog import Catalog
from billing.stripe.errors import (
    AbsurdCredits,
    AbsurdPeriod,
    BadObject,
    ForeignProduct,
    LinesIncomplete,
    LineWithoutPeriod,
    UnknownPlan,
    UnknownPrice,
    Waits,
)
from billing.stripe.objects.base import Facts
from billing.stripe.objects.checkout_session import CheckoutSession
from billing.stripe.objects.invoice import Invoice
from billing.stripe.objects.payment_intent import PaymentIntent

#: Reasons for which money may stay without its effect, and not because of the customer.
MAY_KEEP_MONEY = (
    Waits,
    ForeignProduct,
    AccountDeleted,
    BadObject,
    UnknownPlan,
    AbsurdCredits,
    AbsurdPeriod,
    LinesIncomplete,
    LineWithoutPeriod,
)
#: Objects that were refused, by their places in a batch.
Refused = Mapping[int, tuple[Facts, Rejected]]


def by_metadata(session: Session, refused: Refused) -> list[int]:
    """The places of objects refused for their prices, whose payment's metadata say what it buys."""
    objects = {
        place: facts
        for place, (facts, error) in refused.items()
        if isinstance(error, ForeignProduct | UnknownPrice)
        and isinstance(facts, Invoice | CheckoutSession)
    }
    if not objects:
        return []
    ids = {name for facts in objects.values() for name in (facts.id, *facts.links)}
    payments = object_rows.of_payments(session, ids)
    return [
        place
        for place, facts in objects.items()
        if any(top_ups.by_metadata(payments[name]) for name in (facts.id, *facts.links))
    ]


def note(session: Session, refused: Refused, prices: Catalog) -> None:
    """Add the account and the money to each reason for which money may stay without an effect."""
    for facts, error in refused.values():
        is_answered = isinstance(error, ForeignProduct) and catalog.is_refused_by_link(
            facts, prices
        )
        money = _money(facts)
        if money and isinstance(error, MAY_KEEP_MONEY) and not is_answered:
            account_id = customers.probable_account(session, facts)
            if account_id is not None:
                error.facts |= {"account_id": account_id, **money}


def _money(facts: Facts) -> dict[str, object]:
    """The money that an object says was paid, and the payment's objects; empty if none was."""
    if isinstance(facts, Invoice):
        paid, currency = (facts.paid if facts.status == "paid" else 0), facts.currency
    elif isinstance(facts, CheckoutSession) and facts.mode == "payment":
        paid, currency = (facts.total if facts.is_paid else 0), facts.currency or ""
    elif isinstance(facts, PaymentIntent) and facts.status == "succeeded" and not facts.invoice:
        paid, currency = facts.received, facts.currency
    else:
        return {}
    if not paid:
        return {}
    names = sorted({facts.id, *facts.links})
    return {**fields.money(facts.id, currency, paid), "objects": names}
