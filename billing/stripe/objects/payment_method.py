"""Payment methods: what a customer pays by."""

from dataclasses import dataclass
from typing import ClassVar, Self

from billing.stripe import fields
from billing.stripe.fields import JSON
from billing.stripe.objects.base import Facts


@dataclass(frozen=True, slots=True)
class PaymentMethod(Facts):
    """A payment method. `card`: a digest that tells cards apart; None for what is no card."""

    KIND: ClassVar[str] = "payment_method"
    EVENTS: ClassVar[tuple[str, ...]] = (
        "payment_method.attached",
        "payment_method.updated",
        "payment_method.automatically_updated",
    )

    card: str | None = None

    @classmethod
    def parse(cls, source: JSON) -> Self:
        """Parse a payment method. Raises as `Facts.parse` does."""
        card = fields.card_digest(fields.inside(source, "card"))
        # The payer's browser may write its metadata: docs.stripe.com/js/payment_methods
        return cls(**{**fields.common(source), "hint": None}, card=card)
