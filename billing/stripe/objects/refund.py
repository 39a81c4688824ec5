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
class Claim(Facts):
    """Money of a charge that may go back: the part that refunds and disputes share."""

    LINKS: ClassVar[tuple[str, ...]] = ("charge", "payment_intent")
    #: The status of an object from before its kind had one.
    OLD_STATUS: ClassVar[str | None] = None

    charge: str | None
    payment_intent: str | None
    currency: str
    amount: int
    status: str

    @classmethod
    def parse(cls, source: JSON) -> Self:
        """Parse a refund or a dispute. Raises as `Facts.parse` does."""
        return cls(
            **fields.common(source),
            charge=fields.linked(source, "charge", fields.CHARGE, fields.PAYMENT),
            payment_intent=fields.linked(source, "payment_intent", fields.INTENT),
            currency=fields.currency(source),
            amount=fields.amount(source, "amount"),
            status=fields.text(source, "status")
            or cls.OLD_STATUS
            or fields.needed(source, "status"),
        )

    @property
    def rank(self) -> list[int]:
        """The status' place."""
        return [self.STATUSES.get(self.status, 0)]


@dataclass(frozen=True, slots=True)
class Refund(Claim):
    """A refund of a charge, or of a part of it."""

    KIND: ClassVar[str] = "refund"
    EVENTS: ClassVar[tuple[str, ...]] = (
        "refund.created",
        "refund.updated",
        "refund.failed",
        "charge.refund.updated",
    )
    STATUSES: ClassVar[Mapping[str, int]] = in_order(
        "pending", "requires_action", "succeeded", "canceled", "failed"
    )
    OLD_STATUS: ClassVar[str | None] = "succeeded"  # before 2015

    @property
    def returned(self) -> int:
        """The money that went back."""
        return 0 if self.status in NOT_RETURNED else self.amount
