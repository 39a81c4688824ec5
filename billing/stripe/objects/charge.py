"""Charges: a card or account that was charged for a payment."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Self

from billing.stripe import fields
from billing.stripe.fields import JSON
from billing.stripe.objects.base import Facts, in_order


@dataclass(frozen=True, slots=True)
class Charge(Facts):
    """A charge. `amount` that was captured, `refunded` of it; `decline`: why it failed.

    `card`: a digest that tells cards apart.
    """

    KIND: ClassVar[str] = "charge"
    EVENTS: ClassVar[tuple[str, ...]] = (
        "charge.succeeded",
        "charge.failed",
        "charge.pending",
        "charge.captured",
        "charge.updated",
        "charge.refunded",
        "charge.expired",
    )
    STATUSES: ClassVar[Mapping[str, int]] = in_order("failed", "pending", "succeeded")
    LINKS: ClassVar[tuple[str, ...]] = ("invoice", "payment_intent")

    invoice: str | None
    payment_intent: str | None
    currency: str
    amount: int
    refunded: int
    status: str
    is_disputed: bool
    decline: str | None
    card: str | None = None
    created: int | None = None

    @classmethod
    def parse(cls, source: JSON) -> Self:
        """Parse a charge. Raises as `Facts.parse` does."""
        status = fields.text(source, "status")
        if status is None:  # the oldest shapes
            status = "succeeded" if fields.flag(source, "paid") else "failed"
        is_captured = source.get("captured") is not False
        captured = "amount_captured" if source.get("amount_captured") is not None else "amount"
        return cls(
            **fields.common(source),
            invoice=fields.linked(source, "invoice", fields.INVOICE),
            payment_intent=fields.linked(source, "payment_intent", fields.INTENT),
            currency=fields.currency(source),
            amount=fields.amount(source, captured) if is_captured else 0,
            refunded=fields.amount(source, "amount_refunded"),
            status="succeeded" if status == "paid" else status,
            created=fields.second(source, "created"),
            is_disputed=fields.flag(source, "disputed") or source.get("dispute") is not None,
            decline=fields.text(fields.inside(source, "outcome"), "reason")
            or fields.text(source, "failure_code"),
            # before 2018 a charge had a source
            card=fields.card_digest(
                fields.inside(source, "payment_method_details", "card"),
                fields.inside(source, "source"),
            ),
        )

    @property
    def rank(self) -> list[int]:
        """The status' place, the amount refunded, the dispute, and the amount."""
        return [self.STATUSES.get(self.status, 0), self.refunded, self.is_disputed, self.amount]
