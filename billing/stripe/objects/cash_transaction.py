"""Cash balance transactions: money of a customer at Stripe that has paid no invoice yet."""

from dataclasses import dataclass
from typing import ClassVar, Self

from billing.stripe import fields
from billing.stripe.fields import JSON
from billing.stripe.objects.base import Facts


@dataclass(frozen=True, slots=True)
class CashTransaction(Facts):
    """A change of a customer's cash balance at Stripe."""

    KIND: ClassVar[str] = "cash_transaction"
    EVENTS: ClassVar[tuple[str, ...]] = ("customer_cash_balance_transaction.created",)

    type: str
    currency: str
    net: int

    @classmethod
    def parse(cls, source: JSON) -> Self:
        """Parse a cash balance transaction. Raises as `Facts.parse` does."""
        return cls(
            **fields.common(source),
            type=fields.needed(source, "type"),
            currency=fields.currency(source),
            net=fields.amount(source, "net_amount", signed=True),
        )

    @property
    def rank(self) -> list[int]:
        """Its amount."""
        return [self.net]
