"""The kinds of Stripe's objects that we fetch: their paths and what to expand.

Source of the paths, and of the fields that are only an id unless expanded:
https://docs.stripe.com/api
"""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Embedded:
    """A list inside an object, of which Stripe sends only the first page.

    The whole list is at `path`. If the path does not name the owner, `owner` is the filter for it.
    """

    path: str
    owner: str | None = None
    expand: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of object: `path` lists it, `path`/id is one object."""

    path: str
    expand: tuple[str, ...] = ()
    embedded: Mapping[str, Embedded] = field(default_factory=dict)


KINDS: dict[str, Kind] = {
    "customer": Kind("/v1/customers"),
    "subscription": Kind(
        "/v1/subscriptions",
        embedded={"items": Embedded("/v1/subscription_items", owner="subscription")},
    ),
    "invoice": Kind(
        "/v1/invoices",
        expand=("payments",),
        embedded={
            "lines": Embedded("/v1/invoices/{id}/lines"),
            "payments": Embedded("/v1/invoice_payments", owner="invoice"),
        },
    ),
    "invoice_payment": Kind("/v1/invoice_payments"),
    "checkout_session": Kind(
        "/v1/checkout/sessions",
        expand=("line_items.data.price.product",),
        embedded={
            "line_items": Embedded(
                "/v1/checkout/sessions/{id}/line_items", expand=("data.price.product",)
            )
        },
    ),
    "charge": Kind(
        "/v1/charges",
        expand=("refunds",),
        embedded={"refunds": Embedded("/v1/refunds", owner="charge")},
    ),
    "refund": Kind("/v1/refunds"),
    "credit_note": Kind("/v1/credit_notes"),
    "dispute": Kind("/v1/disputes"),
    "payment_intent": Kind("/v1/payment_intents"),
    "payment_method": Kind("/v1/payment_methods"),
    "price": Kind("/v1/prices", expand=("product",)),
    "product": Kind("/v1/products"),
    "event": Kind("/v1/events"),
    #: A thin event with the data that its notification does not have.
    "v2_event": Kind("/v2/core/events"),
}
