"""Refunds: money of a charge that goes back."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Self

from billing.stripe import fields
from billing.stripe.fields import JSON
from billing.stripe.objects.base import Facts, in_order

#: A refund in one of these states gives no money back, or not yet.
NOT_RETURNED = frozenset({"failed", "canceled", "requires_action"})


@dataclass(frozen=True, slots=True)
class Refund(Facts):
    """A refund of a charge, or of a part of it."""

    KIND: ClassVar[str] = "refund"
    EVENTS: ClassVar[tuple[str, ...]] = (
        "refund.created",
        "refund.updated",
        "refund.failed",
        "charge.refund.updated",
    )
    STATUSES: ClassVar[Mapping[str, int]] = in_order(
        "pending",
        "requires_action",
        "succeeded",
        "canceled",
        "failed",
    )

    charge: str | None
    payment_intent: str | None
    currency: str
    amount: int
    status: str

    @classmethod
    def parse(cls, source: JSON) -> Self:
        """Parse a refund. Raises as `Facts.parse` does."""
        return cls(
            **fields.common(source),
            charge=fields.reference(source, "charge"),
            payment_intent=fields.reference(source, "payment_intent"),
            currency=fields.currency(source),
            amount=fields.amount(source, "amount"),
            # refunds had no status before 2015
            status=fields.text(source, "status") or "succeeded",
        )

    @property
    def rank(self) -> list[int]:
        """The status' place."""
        return [self.STATUSES.get(self.status, 0)]

    @property
    def links(self) -> frozenset[str]:
        """Its charge and intent."""
        return frozenset(filter(None, (self.charge, self.payment_intent)))

    @property
    def returned(self) -> int:
        """The money that went back."""
        return 0 if self.status in NOT_RETURNED else self.amount
