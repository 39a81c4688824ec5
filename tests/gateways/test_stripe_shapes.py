"""The objects that the fake keeps have the shapes of Stripe's API: the SDK's types come from its description."""

import pytest
import stripe
from stripe.checkout import Session

from tests import stripe_objects as objects

SHAPES = {
    "charge": (objects.charge(refunds=[objects.refund()]), stripe.Charge),
    "checkout session": (objects.checkout_session(), Session),
    "credit note": (objects.credit_note(), stripe.CreditNote),
    "customer": (objects.customer(), stripe.Customer),
    "dispute": (objects.dispute(), stripe.Dispute),
    "event": (objects.event(), stripe.Event),
    "invoice": (objects.invoice(), stripe.Invoice),
    "invoice line": (objects.line(), stripe.InvoiceLineItem),
    "invoice payment": (objects.invoice_payment(), stripe.InvoicePayment),
    "payment intent": (objects.payment_intent(), stripe.PaymentIntent),
    "payment method": (objects.payment_method(), stripe.PaymentMethod),
    "price": (objects.price(), stripe.Price),
    "product": (objects.product(), stripe.Product),
    "refund": (objects.refund(), stripe.Refund),
    "subscription": (objects.subscription(), stripe.Subscription),
    "subscription item": (objects.subscription_item(), stripe.SubscriptionItem),
}
#: Texts of the owner's own choice, by whose names nothing can be checked.
FREE = {"metadata"}


def unknown(value, shape, where=""):
    """The names that the shape does not have, at any depth that the SDK has types for."""
    known = {name.rstrip("_") for name in shape.__annotations__}
    for name, inner in value.items():
        if name not in known:
            yield where + name
        inner_shape = shape._inner_class_types.get(name)
        if isinstance(inner, dict) and inner_shape and name not in FREE:
            yield from unknown(inner, inner_shape, f"{where}{name}.")


@pytest.mark.parametrize(("value", "shape"), SHAPES.values(), ids=SHAPES)
def test_every_field_is_one_that_stripe_has(value, shape):
    assert list(unknown(value, shape)) == []
    assert value["object"] == shape.OBJECT_NAME


def test_a_thin_event_has_the_fields_of_its_type():
    event = objects.v2_event()
    shape = stripe.v2.core.Event
    own = {"related_object", "data"}

    assert event["object"] == shape.OBJECT_NAME
    assert set(event) - own <= set(shape.__annotations__)
    kind = stripe.events.V1BillingMeterErrorReportTriggeredEvent
    assert event["type"] == kind.LOOKUP_TYPE
    assert own <= set(kind.__annotations__)
