"""Payment intents: a payment that is being made, with or without an invoice."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Self

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
        # An invoice's intent may copy metadata; what the invoice bought is on its lines.
        order_reference = fields.text(fields.inside(source, "payment_details"), "order_reference")
        charges = fields.items(source, "charges")
        latest = fields.reference(source, "latest_charge")
        return cls(
            **fields.common(source),
            invoice=fields.reference(source, "invoice") or order_reference,
            latest_charge=latest or (fields.text(charges[0], "id") if charges else None),
            currency=fields.currency(source),
            received=fields.amount(source, "amount_received"),
            status=fields.needed(source, "status"),
            created=fields.second(source, "created"),
            credits=fields.credits_in(fields.inside(source, "metadata")),
        )

    @property
    def rank(self) -> list[int]:
        """The status' place and the amount received."""
        return [self.STATUSES.get(self.status, 0), self.received]
