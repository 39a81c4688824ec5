"""Disputes: a customer's bank claims money of a charge back."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import ClassVar, Self

from billing.context import Context
from billing.events import outbox
from billing.stripe import fields
from billing.stripe.fields import JSON
from billing.stripe.objects.base import Change, in_order
from billing.stripe.objects.refund import Claim


@dataclass(frozen=True, slots=True)
class Dispute(Claim):
    """A dispute. An inquiry, with a status of `warning_…`, takes no money.

    `withdrawn`: what Stripe took from our balance for it, by currency.
    """

    KIND: ClassVar[str] = "dispute"
    EVENTS: ClassVar[tuple[str, ...]] = (
        "charge.dispute.created",
        "charge.dispute.updated",
        "charge.dispute.closed",
        "charge.dispute.funds_withdrawn",
        "charge.dispute.funds_reinstated",
    )
    STATUSES: ClassVar[Mapping[str, int]] = in_order(
        "warning_needs_response",
        "warning_under_review",
        "warning_closed",
        "needs_response",
        "under_review",
        "charge_refunded",
        "prevented",
        "won",
        "lost",
    )

    withdrawn: dict[str, int] = field(default_factory=dict)

    @classmethod
    def parse(cls, source: JSON) -> Self:
        """Parse a dispute. Raises as `Facts.parse` does. What was reinstated is positive."""
        withdrawn: dict[str, int] = {}
        for item in fields.items(source, "balance_transactions"):
            amount = fields.amount(item, "amount", signed=True)
            if amount < 0:
                code = fields.currency(item)
                withdrawn[code] = withdrawn.get(code, 0) - amount
        # slots=True makes a new class, which super() does not know
        return replace(super(Dispute, cls).parse(source), withdrawn=withdrawn)

    def share_of(self, amount: int, currency: str) -> int:
        """The disputed part of a charge of this amount, in the charge's currency.

        The bank may claim in another currency: then what was withdrawn in the charge's own says it,
        and if nothing was, all of the charge counts. A dispute is usually about all of it:
        docs.stripe.com/api/disputes/object, amount
        """
        if self.currency == currency:
            return self.amount
        return min(self.withdrawn.get(currency, amount), amount)

    @property
    def is_open(self) -> bool:
        """Whether the bank has not decided yet."""
        return self.status in {"needs_response", "under_review"}

    @property
    def is_lost(self) -> bool:
        """Whether the money is gone for good."""
        return self.status == "lost"

    def follow(self, ctx: Context, change: Change) -> bool:
        """Announce a new dispute, or a new status of one."""
        before = change.before if isinstance(change.before, Dispute) else None
        if before is None or before.status != self.status:
            payload = fields.money(self.id, self.currency, self.amount) | {"status": self.status}
            event = "dispute.opened" if self.is_open and before is None else "dispute.changed"
            outbox.leave(ctx, event, account_id=change.account.id, payload=payload)
        return False
