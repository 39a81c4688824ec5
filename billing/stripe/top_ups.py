"""The purchase of a payment without an invoice, by the session's items or by metadata."""

from collections.abc import Sequence

from billing.purchases.purchases import Bought
from billing.stripe import fields
from billing.stripe.catalog import Catalog
from billing.stripe.invoice_lines import checked
from billing.stripe.objects.base import Facts
from billing.stripe.objects.checkout_session import CheckoutSession
from billing.stripe.objects.payment_intent import PaymentIntent


def purchases_of(payment: Sequence[Facts], catalog: Catalog, account_id: int) -> list[Bought]:
    """The purchase of a payment; empty until it is paid. Raises AbsurdCredits or UnknownPlan."""
    checkout = next((item for item in payment if isinstance(item, CheckoutSession)), None)
    intent = next((item for item in payment if isinstance(item, PaymentIntent)), None)
    origin = intent or checkout
    if origin is None or not _is_paid(checkout, intent):
        return []
    credits = _credits(checkout, intent, catalog)
    if credits is None:
        return []
    name = (checkout.payment_intent if checkout else None) or origin.id
    return [
        Bought(
            key=f"stripe:{name}",
            account_id=account_id,
            origin=name,
            source="top_up",
            credits=checked(credits, origin.id),
            starts_at=fields.moment(origin.created or fields.FIRST_SECOND),
        )
    ]


def _is_paid(checkout: CheckoutSession | None, intent: PaymentIntent | None) -> bool:
    if checkout is not None and (
        checkout.mode != "payment" or checkout.payment_status != "paid" or checkout.invoice
    ):
        return False
    return intent is None or intent.status == "succeeded"


def _credits(
    checkout: CheckoutSession | None, intent: PaymentIntent | None, catalog: Catalog
) -> int | None:
    """The session's credits, by its items, else its metadata; without a session the intent's."""
    if checkout is not None:
        meanings = [(catalog.meaning(item.price), item.quantity) for item in checkout.items]
        sold = sum([m.credits * quantity for m, quantity in meanings if m and m.credits])
        return sold or checkout.credits
    if intent is not None and not intent.invoice and intent.received > 0:
        return intent.credits
    return None
