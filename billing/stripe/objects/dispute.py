"""Disputes: a customer's bank claims money of a charge back."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from billing.context import Context
from billing.events import outbox
from billing.stripe import fields
from billing.stripe.objects.base import Change, in_order
from billing.stripe.objects.refund import Claim


@dataclass(frozen=True, slots=True)
class Dispute(Claim):
    """A dispute. An inquiry, with a status of `warning_…`, takes no money."""

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
