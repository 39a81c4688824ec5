"""Payment intents: a payment that is being made, with or without an invoice."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Self

from billing.stripe import fields
from billing.stripe.fields import JSON
from billing.stripe.objects.base import Facts, in_order


@dataclass(frozen=True, slots=True)
class PaymentIntent(Facts):
    """A payment intent. `credits`: what its metadata says that it buys, outside any invoice."""

    KIND: ClassVar[str] = "payment_intent"
    EVENTS: ClassVar[tuple[str, ...]] = (
        "payment_intent.created",
        "payment_intent.processing",
        "payment_intent.succeeded",
        "payment_intent.payment_failed",
        "payment_intent.canceled",
    )
    STATUSES: ClassVar[Mapping[str, int]] = in_order(
        "requires_payment_method",
        "requires_confirmation",
        "requires_action",
        "processing",
        "requires_capture",
        "canceled",
        "succeeded",
    )
    LINKS: ClassVar[tuple[str, ...]] = ("invoice", "latest_charge")

    invoice: str | None
    latest_charge: str | None
    currency: str
    received: int
    status: str
    created: int | None
    credits: int | None

    @classmethod
    def parse(cls, source: JSON) -> Self:
        """Parse a payment intent. Raises as `Facts.parse` does."""
        charges = fields.items(source, "charges")
        latest = fields.linked(source, "latest_charge", fields.CHARGE, fields.PAYMENT)
        return cls(
            **fields.common(source),
            invoice=fields.linked(source, "invoice", fields.INVOICE) or _ordered(source),
            latest_charge=latest or (fields.text(charges[0], "id") if charges else None),
            currency=fields.currency(source),
            received=fields.amount(source, "amount_received"),
            status=fields.needed(source, "status"),
            created=fields.second(source, "created"),
            credits=fields.credits_in(fields.inside(source, "metadata")),
        )

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> Self:
        """Load the facts as they were stored. Old rows have any order reference as an invoice."""
        return cls(**{**stored, "invoice": fields.link_id(stored["invoice"], fields.INVOICE)})

    @property
    def rank(self) -> list[int]:
        """The status' place and the amount received."""
        return [self.STATUSES.get(self.status, 0), self.received]


def _ordered(source: JSON) -> str | None:
    """The invoice that an intent since "basil" names as its order, if it names one.

    Any other order reference is the merchant's own text, of any length:
    docs.stripe.com/api/payment_intents/object, payment_details.order_reference
    """
    reference = fields.inside(source, "payment_details").get("order_reference")
    is_short = isinstance(reference, str) and len(reference) <= fields.MAX_TEXT_CHARACTERS
    return fields.link_id(reference, fields.INVOICE) if is_short else None
