"""Which of two states of an object is the newer: by the time Stripe gives, then by its life cycle.

Stripe's times are whole seconds, and events of one second come in any order. A state's rank says
how far along its object's life it is; states of equal rank are told apart by what is in them, so
that whatever the order of arrival, the same one stays.
"""

import hashlib
import json
from collections.abc import Callable
from dataclasses import fields
from functools import cache
from typing import Any

from billing.stripe.types import (
    CashTransaction,
    CatalogPrice,
    Charge,
    CheckoutSession,
    Customer,
    Dispute,
    Facts,
    Invoice,
    InvoicePayment,
    PaymentIntent,
    Product,
    Refund,
    Subscription,
)

#: kind -> its statuses, the later in life behind the earlier
LIVES: dict[str, tuple[str, ...]] = {
    "invoice": ("draft", "open", "uncollectible", "paid", "void", "deleted"),
    # Within one second and one period: a payment fails and then succeeds, or the other way round.
    # The pessimist's state is kept; that the period's invoice is paid outweighs it when it is read
    # (`billing.stripe.subscriptions`).
    "subscription": (
        "incomplete",
        "trialing",
        "active",
        "past_due",
        "unpaid",
        "paused",
        "incomplete_expired",
        "canceled",
    ),
    "charge": ("failed", "pending", "succeeded"),
    "refund": ("pending", "requires_action", "succeeded", "canceled", "failed"),
    "dispute": (
        "warning_needs_response",
        "warning_under_review",
        "warning_closed",
        "needs_response",
        "under_review",
        "charge_refunded",
        "prevented",
        "won",
        "lost",
    ),
    "payment_intent": (
        "requires_payment_method",
        "requires_confirmation",
        "requires_action",
        "processing",
        "requires_capture",
        "canceled",
        "succeeded",
    ),
    "checkout_session": ("open", "expired", "complete"),
    "invoice_payment": ("open", "canceled", "paid"),
}


def rank_of(facts: Facts) -> list[int]:
    """How far along its life this state is; compared element by element."""
    rank: Callable[..., list[int]] | None = _RANKS.get(type(facts))
    return rank(facts) if rank else []


def written(facts: Facts) -> str:
    """The facts as JSON, the same wherever they are written."""
    return json.dumps(facts, default=_as_dict, sort_keys=True, separators=(",", ":"))


def _as_dict(facts: Any) -> dict[str, object]:
    """One level of what `dataclasses.asdict` makes, which copies all the levels first."""
    return {name: getattr(facts, name) for name in _names(facts.__class__)}


@cache
def _names(kind: Any) -> tuple[str, ...]:
    return tuple([each.name for each in fields(kind)])


def digest_of(shown: str) -> bytes:
    """What tells two states of equal rank apart: of the facts as `written`."""
    return hashlib.sha256(shown.encode()).digest()[:16]


def _place(kind: str, status: str) -> int:
    """A status' place in its kind's life; one that Stripe has added since comes first."""
    life = LIVES[kind]
    return life.index(status) + 1 if status in life else 0


def _invoice(facts: Invoice) -> list[int]:
    return [_place("invoice", facts.status), facts.attempts, facts.paid]


def _subscription(facts: Subscription) -> list[int]:
    place = _place("subscription", facts.status)
    return [facts.is_ended, facts.end or 0, place, facts.cancels_at_end]


def _charge(facts: Charge) -> list[int]:
    return [_place("charge", facts.status), facts.refunded, facts.is_disputed, facts.amount]


def _refund(facts: Refund) -> list[int]:
    return [_place(facts.KIND, facts.status)]


def _payment_intent(facts: PaymentIntent) -> list[int]:
    return [_place("payment_intent", facts.status), facts.received]


def _session(facts: CheckoutSession) -> list[int]:
    return [_place("checkout_session", facts.status), facts.payment_status != "unpaid"]


def _invoice_payment(facts: InvoicePayment) -> list[int]:
    return [_place("invoice_payment", facts.status)]


def _deletable(facts: Customer | CatalogPrice) -> list[int]:
    return [facts.is_deleted]


def _cash(facts: CashTransaction) -> list[int]:
    return [facts.net]


_RANKS: dict[type[Facts], Callable[..., list[int]]] = {
    Invoice: _invoice,
    Subscription: _subscription,
    Charge: _charge,
    Refund: _refund,
    Dispute: _refund,
    PaymentIntent: _payment_intent,
    CheckoutSession: _session,
    InvoicePayment: _invoice_payment,
    Customer: _deletable,
    CatalogPrice: _deletable,
    Product: _deletable,
    CashTransaction: _cash,
}
