"""Credit notes: an invoice made smaller after it was issued."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Self

from billing.stripe import fields
from billing.stripe.fields import JSON
from billing.stripe.objects.base import Facts, in_order
from billing.stripe.objects.refund import Refund


@dataclass(frozen=True, slots=True)
class CreditNote(Facts):
    """A credit note: docs.stripe.com/api/credit_notes/object.

    `amount`: what it gives back of a paid invoice, by refunds, by the customer's balance or outside
    of Stripe; what it took off an unpaid one is in the invoice. `refunds`: the ids and amounts of
    its refunds; an old shape has no amount, and None stands for it.
    """

    KIND: ClassVar[str] = "credit_note"
    EVENTS: ClassVar[tuple[str, ...]] = (
        "credit_note.created",
        "credit_note.updated",
        "credit_note.voided",
    )
    STATUSES: ClassVar[Mapping[str, int]] = in_order("issued", "void")

    invoice: str | None
    currency: str | None
    status: str
    created: int | None
    amount: int
    out_of_band: int
    to_balance: bool
    refunds: tuple[tuple[str, int | None], ...]

    @classmethod
    def parse(cls, source: JSON) -> Self:
        """Parse a credit note. Raises as `Facts.parse` does."""
        refunds = [
            (fields.reference(item, "refund"), fields.amount(item, "amount_refunded"))
            for item in fields.items(source, "refunds")
        ]
        old = [] if refunds else [(fields.reference(source, "refund"), None)]
        return cls(
            **fields.common(source),
            invoice=fields.reference(source, "invoice"),
            currency=fields.currency(source) if source.get("currency") else None,
            status=fields.text(source, "status") or "issued",
            created=fields.second(source, "created"),
            amount=_after_payment(source),
            out_of_band=fields.amount(source, "out_of_band_amount"),
            to_balance=source.get("customer_balance_transaction") is not None,
            refunds=tuple([(id_, amount) for id_, amount in [*refunds, *old] if id_]),
        )

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> Self:
        """Load the facts as they were stored."""
        return cls(**{**stored, "refunds": tuple([(id_, x) for id_, x in stored["refunds"]])})

    @property
    def rank(self) -> list[int]:
        """The status' place, and the number of its refunds."""
        return [self.STATUSES.get(self.status, 0), len(self.refunds)]

    @property
    def links(self) -> frozenset[str]:
        """Its invoice and its refunds."""
        return frozenset([*filter(None, [self.invoice]), *[id_ for id_, _ in self.refunds]])

    @property
    def is_void(self) -> bool:
        """Whether it was taken back."""
        return self.status == "void"

    def refunded(self, refunds: Iterable[Refund]) -> int:
        """The part of the amount that its refunds give back; `refunds`: those that are known."""
        amounts = {refund.id: refund.amount for refund in refunds}
        return min(sum(self._parts(amounts)), self.amount - self.out_of_band)

    def announced(self, refunds: Iterable[Refund]) -> int:
        """The part of `refunded` by refunds that are not known yet."""
        amounts = {refund.id: 0 for refund in refunds}
        return min(sum(self._parts(amounts)), self.amount - self.out_of_band)

    def _parts(self, amounts: Mapping[str, int]) -> list[int]:
        rest = 0 if self.to_balance else self.amount - self.out_of_band
        parts = [amounts.get(id_, amount) for id_, amount in self.refunds]
        return [rest if part is None else part for part in parts]


def _after_payment(source: JSON) -> int:
    """The part that was given back after the payment; before 2024 a note was of one type."""
    if source.get("post_payment_amount") is not None:
        return fields.amount(source, "post_payment_amount")
    if fields.text(source, "type") == "pre_payment":
        return 0
    return fields.amount(source, "amount") - fields.amount(source, "pre_payment_amount")
