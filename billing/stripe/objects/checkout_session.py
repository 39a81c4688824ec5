"""Checkout sessions: a page of Stripe's on which a customer pays or subscribes."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Self

from billing.stripe import fields
from billing.stripe.fields import JSON
from billing.stripe.objects.base import Facts, Item, in_order, items_from_json, parse_items


@dataclass(frozen=True, slots=True)
class CheckoutSession(Facts):
    """A Checkout session. `credits` by its metadata; `items` only where they were fetched."""

    KIND: ClassVar[str] = "checkout_session"
    EVENTS: ClassVar[tuple[str, ...]] = (
        "checkout.session.completed",
        "checkout.session.expired",
        "checkout.session.async_payment_succeeded",
        "checkout.session.async_payment_failed",
    )
    STATUSES: ClassVar[Mapping[str, int]] = in_order("open", "expired", "complete")
    LINKS: ClassVar[tuple[str, ...]] = ("invoice", "payment_intent")

    mode: str
    status: str
    payment_status: str
    invoice: str | None
    payment_intent: str | None
    subscription: str | None
    currency: str | None
    total: int
    created: int | None
    credits: int | None
    items: tuple[Item, ...]

    @classmethod
    def parse(cls, source: JSON) -> Self:
        """Parse a Checkout session. Raises as `Facts.parse` does."""
        shared = fields.common(source)
        account_id = fields.account_number(source.get("client_reference_id"))
        return cls(
            **{**shared, "hint": account_id or shared["hint"]},
            mode=fields.text(source, "mode") or "payment",
            # before 2020 a completed session had no status
            status=fields.text(source, "status") or "complete",
            payment_status=fields.text(source, "payment_status") or "unpaid",
            invoice=fields.reference(source, "invoice"),
            payment_intent=fields.reference(source, "payment_intent"),
            subscription=fields.reference(source, "subscription"),
            currency=fields.currency(source) if source.get("currency") else None,
            total=fields.amount(source, "amount_total"),
            created=fields.second(source, "created"),
            credits=fields.credits_in(fields.inside(source, "metadata")),
            items=parse_items(source, "line_items"),
        )

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> Self:
        """Load the facts as they were stored."""
        return cls(**{**stored, "items": items_from_json(stored["items"])})

    @property
    def rank(self) -> list[int]:
        """The status' place, and whether it is paid."""
        return [self.STATUSES.get(self.status, 0), self.payment_status != "unpaid"]
