"""Invoice payments: since "basil" they say which payment paid which invoice."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Self

from billing.stripe import fields
from billing.stripe.fields import JSON
from billing.stripe.objects.base import Facts, in_order


@dataclass(frozen=True, slots=True)
class InvoicePayment(Facts):
    """The link between an invoice and a payment."""

    KIND: ClassVar[str] = "invoice_payment"
    EVENTS: ClassVar[tuple[str, ...]] = ("invoice_payment.paid", "invoice_payment.detached")
    STATUSES: ClassVar[Mapping[str, int]] = in_order("open", "canceled", "paid")
    LINKS: ClassVar[tuple[str, ...]] = ("invoice", "payment")

    invoice: str | None
    payment: str | None
    status: str

    @classmethod
    def parse(cls, source: JSON) -> Self:
        """Parse an invoice payment. Raises as `Facts.parse` does."""
        payments = fields.payment_ids(fields.inside(source, "payment"))
        return cls(
            **fields.common(source),
            invoice=fields.linked(source, "invoice", fields.INVOICE),
            payment=next(filter(None, payments), None),
            status=fields.text(source, "status") or "open",
        )

    @property
    def rank(self) -> list[int]:
        """The status' place."""
        return [self.STATUSES.get(self.status, 0)]
