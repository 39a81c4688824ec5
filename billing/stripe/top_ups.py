"""The purchase of a payment whose credits are no invoice line's: by a session or by metadata.

The session's items come first, then its metadata, then those of its intent; a payment without a
session is its intent's. An invoice that Checkout made of such a payment sells nothing more.
"""

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
    checkout, intent = _session(payment), _intent(payment)
    origin = intent or checkout
    if origin is None or not _is_paid(checkout, intent):
        return []
    credits = _credits(checkout, intent, catalog)
    if credits is None:
        return []
    name = name_of(payment) or origin.id
    price, currency = _price(checkout, intent)
    return [
        Bought(
            key=f"stripe:{name}",
            account_id=account_id,
            origin=name,
            source="top_up",
            credits=checked(credits, origin.id),
            starts_at=fields.moment(origin.created or fields.FIRST_SECOND),
            price_minor=price,
            currency=currency,
        )
    ]


def name_of(payment: Sequence[Facts]) -> str | None:
    """The name of a payment by Checkout or by an intent: its intent's id, else its session's."""
    checkout, intent = _session(payment), _intent(payment)
    if checkout is not None and checkout.payment_intent:
        return checkout.payment_intent
    origin = intent or checkout
    return origin.id if origin else None


def by_metadata(payment: Sequence[Facts]) -> bool:
    """Whether metadata of the payment say what it buys, whatever its prices are."""
    checkout, intent = _session(payment), _intent(payment)
    is_own = intent is not None and intent.credits is not None and not intent.invoice
    return is_own or (checkout is not None and checkout.is_top_up)


def _session(payment: Sequence[Facts]) -> CheckoutSession | None:
    return next((item for item in payment if isinstance(item, CheckoutSession)), None)


def _intent(payment: Sequence[Facts]) -> PaymentIntent | None:
    return next((item for item in payment if isinstance(item, PaymentIntent)), None)


def _is_paid(checkout: CheckoutSession | None, intent: PaymentIntent | None) -> bool:
    """Either object may be missing, or known only as it was before the payment."""
    if checkout is not None and checkout.mode != "payment":
        return False
    is_received = intent is not None and intent.status == "succeeded" and intent.received > 0
    return is_received or (checkout is not None and checkout.is_paid)


def _price(
    checkout: CheckoutSession | None, intent: PaymentIntent | None
) -> tuple[int, str | None]:
    """The money of the payment: what the intent received, else what the page asked for."""
    if intent is not None and intent.received > 0:
        return intent.received, intent.currency
    return (checkout.total, checkout.currency) if checkout is not None else (0, None)


def _credits(
    checkout: CheckoutSession | None, intent: PaymentIntent | None, catalog: Catalog
) -> int | None:
    of_intent = intent.credits if intent is not None else None
    if checkout is None:
        return None if intent is None or intent.invoice else of_intent
    meanings = [(catalog.meaning(item.price), item.quantity) for item in checkout.items]
    sold = sum([m.credits * quantity for m, quantity in meanings if m and m.credits])
    return sold or checkout.credits or of_intent
