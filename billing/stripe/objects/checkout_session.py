"""Checkout sessions: a page of Stripe's on which a customer pays or subscribes."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Self

from billing.stripe import fields
from billing.stripe.fields import JSON
from billing.stripe.objects.base import Facts, Item, in_order, items_from_json, parse_items


@dataclass(frozen=True, slots=True)
class CheckoutSession(Facts):
    """A Checkout session. `credits` by its metadata; `items` only where they were fetched.

    `reference`: its `client_reference_id`, which anybody may write who opens a Payment Link.
    """

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
    reference: str | None = None

    @classmethod
    def parse(cls, source: JSON) -> Self:
        """Parse a Checkout session. Raises as `Facts.parse` does."""
        return cls(
            **fields.common(source),
            mode=fields.text(source, "mode") or "payment",
            # before 2020 a completed session had no status
            status=fields.text(source, "status") or "complete",
            payment_status=fields.text(source, "payment_status") or "unpaid",
            invoice=fields.linked(source, "invoice", fields.INVOICE),
            payment_intent=fields.linked(source, "payment_intent", fields.INTENT),
            subscription=fields.reference(source, "subscription"),
            currency=fields.currency(source) if source.get("currency") else None,
            total=fields.amount(source, "amount_total"),
            created=fields.second(source, "created"),
            credits=fields.credits_in(fields.inside(source, "metadata")),
            items=parse_items(source, "line_items"),
            reference=_reference(source.get("client_reference_id")),
        )

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> Self:
        """Load the facts as they were stored."""
        return cls(**{**stored, "items": items_from_json(stored["items"])})

    @property
    def is_top_up(self) -> bool:
        """Whether its own metadata say which credits its payment buys."""
        return self.mode == "payment" and self.credits is not None

    @property
    def is_paid(self) -> bool:
        """Whether it is paid, or a coupon left nothing to pay.

        docs.stripe.com/api/checkout/sessions/object, payment_status
        """
        is_free = self.payment_status == "no_payment_required" and self.total == 0
        return self.payment_status == "paid" or (is_free and self.status == "complete")

    @property
    def rank(self) -> list[int]:
        """The status' place, and whether it is paid."""
        return [self.STATUSES.get(self.status, 0), self.payment_status != "unpaid"]


def _reference(value: object) -> str | None:
    """Read a text that the payer may have written: whatever it is, the session is read."""
    is_text = isinstance(value, str) and 0 < len(value) <= fields.MAX_TEXT_CHARACTERS
    return str(value) if is_text and "\0" not in str(value) else None
