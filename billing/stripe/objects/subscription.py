"""Subscriptions. What they mean for an account is in `billing.stripe.subscriptions`."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Self

from billing.context import Context
from billing.host import invoices
from billing.lifecycle.dunning import cases as dunning_cases
from billing.stripe import fields
from billing.stripe.fields import JSON
from billing.stripe.objects.base import Change, Facts, Item, in_order, items_from_json, parse_items

#: Statuses of a subscription with an overdue invoice.
OVERDUE = frozenset({"past_due", "unpaid"})
#: A subscription in one of these states is over for good.
ENDED = frozenset({"canceled", "incomplete_expired"})


@dataclass(frozen=True, slots=True)
class Subscription(Facts):
    """A subscription.

    Attributes:
        start: The start of the running period; `end` is its end.
        is_ended: Whether it is over for good.
        is_sent: Whether its invoices are sent, and Stripe collects nothing by itself.
    """

    KIND: ClassVar[str] = "subscription"
    EVENTS: ClassVar[tuple[str, ...]] = (
        "customer.subscription.created",
        "customer.subscription.updated",
        "customer.subscription.deleted",
        "customer.subscription.paused",
        "customer.subscription.resumed",
        "customer.subscription.pending_update_applied",
        "customer.subscription.pending_update_expired",
        "customer.subscription.trial_will_end",
    )
    # Within one second and one period a payment may fail and then succeed, or the other way round.
    # The worse state is kept; a paid invoice of the period outweighs it in
    # `billing.stripe.subscriptions`.
    STATUSES: ClassVar[Mapping[str, int]] = in_order(
        "incomplete",
        "trialing",
        "active",
        "past_due",
        "unpaid",
        "paused",
        "incomplete_expired",
        "canceled",
    )

    status: str
    is_ended: bool
    start: int | None
    end: int | None
    cancels_at_end: bool
    latest_invoice: str | None
    created: int | None
    trial_end: int | None
    items: tuple[Item, ...]
    is_sent: bool = False

    @classmethod
    def parse(cls, source: JSON) -> Self:
        """Parse a subscription. Raises as `Facts.parse` does."""
        listed = fields.items(source, "items")
        starts = [fields.second(item, "current_period_start") for item in [source, *listed]]
        ends = [fields.second(item, "current_period_end") for item in [source, *listed]]
        status = fields.needed(source, "status", longest=fields.MAX_STATUS_CHARACTERS)
        is_ended = status in ENDED or fields.second(source, "ended_at") is not None
        return cls(
            **fields.common(source),
            status="canceled" if is_ended and status not in ENDED else status,
            is_ended=is_ended,
            start=min(filter(None, starts), default=None),
            end=max(filter(None, ends), default=None),
            cancels_at_end=fields.flag(source, "cancel_at_period_end")
            or fields.second(source, "cancel_at") is not None,
            latest_invoice=fields.reference(source, "latest_invoice"),
            created=fields.second(source, "created"),
            trial_end=fields.second(source, "trial_end"),
            items=parse_items(source, "items") or _old_item(source),
            is_sent=source.get("collection_method", source.get("billing")) == "send_invoice",
        )

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> Self:
        """Load the facts as they were stored."""
        return cls(**{**stored, "items": items_from_json(stored["items"])})

    @property
    def rank(self) -> list[int]:
        """An end outweighs any period, a later period any status."""
        return [
            self.is_ended,
            self.end or 0,
            self.STATUSES.get(self.status, 0),
            self.cancels_at_end,
        ]

    def follow(self, ctx: Context, change: Change) -> bool:
        """Open dunning for a sent invoice that is overdue: Stripe never tries to collect it."""
        if not (self.is_sent and self.status in OVERDUE):
            return False
        latest = invoices.id_of(ctx.session, self.latest_invoice) if self.latest_invoice else None
        return dunning_cases.open_overdue(ctx, change.account.id, invoice_id=latest)


def _old_item(source: JSON) -> tuple[Item, ...]:
    """The only item of an old subscription: its plan."""
    plan = fields.inside(source, "plan")
    quantity = fields.count(source, "quantity", default=1) if plan else 1
    return (Item(fields.price_of(plan), quantity),) if plan else ()
