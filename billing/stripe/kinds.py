"""The table from event type to the kind of object that the event is about.

Each kind's file in `objects/` spells its event types out: a search for `"invoice.paid"` ends in
`objects/invoice.py`.
"""

from billing.stripe.objects.base import Facts
from billing.stripe.objects.cash_transaction import CashTransaction
from billing.stripe.objects.charge import Charge
from billing.stripe.objects.checkout_session import CheckoutSession
from billing.stripe.objects.credit_note import CreditNote
from billing.stripe.objects.customer import Customer
from billing.stripe.objects.dispute import Dispute
from billing.stripe.objects.invoice import Invoice
from billing.stripe.objects.invoice_payment import InvoicePayment
from billing.stripe.objects.payment_intent import PaymentIntent
from billing.stripe.objects.payment_method import PaymentMethod
from billing.stripe.objects.price import CatalogPrice
from billing.stripe.objects.product import Product
from billing.stripe.objects.refund import Refund
from billing.stripe.objects.subscription import Subscription

Kind = type[Facts]

#: Name of the kind, as tables keep it -> the kind.
KINDS: dict[str, Kind] = {
    "invoice": Invoice,
    "subscription": Subscription,
    "charge": Charge,
    "refund": Refund,
    "credit_note": CreditNote,
    "dispute": Dispute,
    "payment_intent": PaymentIntent,
    "checkout_session": CheckoutSession,
    "invoice_payment": InvoicePayment,
    "customer": Customer,
    "payment_method": PaymentMethod,
    "price": CatalogPrice,
    "product": Product,
    "cash_transaction": CashTransaction,
}

#: Event type -> the kind of its object. Events of other types are ignored.
KIND_OF_EVENT: dict[str, Kind] = {
    event_type: kind for kind in KINDS.values() for event_type in kind.EVENTS
}

#: The object's name in a thin event -> its kind. Thin events are of more types than others
#: (`v1.customer.subscription.past_due`), so the object decides, not the type:
#: docs.stripe.com/api/v2/core/events/event-types
KIND_OF_THIN_OBJECT: dict[str, Kind] = {
    "customer": Customer,
    "subscription": Subscription,
    "invoice": Invoice,
    "invoice_payment": InvoicePayment,
    "checkout.session": CheckoutSession,
    "charge": Charge,
    "refund": Refund,
    "credit_note": CreditNote,
    "dispute": Dispute,
    "payment_intent": PaymentIntent,
    "payment_method": PaymentMethod,
    "price": CatalogPrice,
    "plan": CatalogPrice,
    "product": Product,
    "customer_cash_balance_transaction": CashTransaction,
}
