"""Stripe's objects as the facts that we use of them, read from old shapes and new by what is there.

Since 2025-03-31 ("basil") an invoice names its subscription under `parent`, a line its price under
`pricing`, a subscription its period on its items, and payments stand in objects of their own:
docs.stripe.com/changelog/basil. Amounts are in Stripe's unit of the currency, times in seconds.
Every reader raises BadObject, BadAmount or UnknownCurrency for a field that can't be what it says.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Self

#: A subscription in one of these states is over for good.
ENDED = frozenset({"canceled", "incomplete_expired"})


@dataclass(frozen=True, slots=True)
class Facts:
    """What every object has. `hint`: the account that the object itself names, if it does."""

    KIND: ClassVar[str]

    id: str
    customer: str | None
    hint: int | None

    @classmethod
    def from_json(cls, kept: Mapping[str, Any]) -> Self:
        """The facts as they were kept."""
        return cls(**kept)

    @property
    def links(self) -> frozenset[str]:
        """Other objects of the same payment."""
        return frozenset()

    def gone(self) -> Self | None:
        """The object as it is once Stripe has deleted it; None: of its kind Stripe deletes none."""
        return None


@dataclass(frozen=True, slots=True)
class Price:
    """What a line or an item costs by. None: the object at hand does not say."""

    id: str | None
    product: str | None
    lookup_key: str | None = None
    plan: str | None = None
    credits: int | None = None
    is_one_time: bool | None = None


@dataclass(frozen=True, slots=True)
class Line:
    """A line of an invoice. `amount` is signed, before discounts."""

    id: str
    price: Price
    amount: int
    quantity: int
    is_proration: bool
    start: int | None
    end: int | None
    is_free_price: bool | None


@dataclass(frozen=True, slots=True)
class Item:
    """A subscription's item."""

    price: Price
    quantity: int


@dataclass(frozen=True, slots=True)
class Invoice(Facts):
    """`status`: draft, open, paid, uncollectible, void or deleted. `payments`: intents, charges."""

    KIND: ClassVar[str] = "invoice"

    subscription: str | None
    status: str
    currency: str
    total: int
    due: int
    paid: int
    attempts: int
    next_attempt: int | None
    created: int | None
    due_date: int | None
    number: str | None
    payments: tuple[str, ...]
    lines: tuple[Line, ...]
    has_more_lines: bool

    @classmethod
    def from_json(cls, kept: Mapping[str, Any]) -> Self:
        """The facts as they were kept."""
        lines = tuple([Line(**{**line, "price": Price(**line["price"])}) for line in kept["lines"]])
        return cls(**{**kept, "lines": lines, "payments": tuple(kept["payments"])})

    @property
    def links(self) -> frozenset[str]:
        """Its payments."""
        return frozenset(self.payments)

    def gone(self) -> Self:
        """A draft that was deleted."""
        return replace(self, status="deleted")


@dataclass(frozen=True, slots=True)
class Subscription(Facts):
    """`start` and `end` of the running period; `is_ended`: it is over for good."""

    KIND: ClassVar[str] = "subscription"

    status: str
    is_ended: bool
    start: int | None
    end: int | None
    cancels_at_end: bool
    latest_invoice: str | None
    created: int | None
    trial_end: int | None
    items: tuple[Item, ...]

    @classmethod
    def from_json(cls, kept: Mapping[str, Any]) -> Self:
        """The facts as they were kept."""
        items = [Item(Price(**item["price"]), item["quantity"]) for item in kept["items"]]
        return cls(**{**kept, "items": tuple(items)})


@dataclass(frozen=True, slots=True)
class Charge(Facts):
    """`amount` that was captured, `refunded` of it; `decline`: the code of a failure.

    `card`: as of a `PaymentMethod`.
    """

    KIND: ClassVar[str] = "charge"

    invoice: str | None
    payment_intent: str | None
    currency: str
    amount: int
    refunded: int
    status: str
    is_disputed: bool
    decline: str | None
    card: str | None = None

    @property
    def links(self) -> frozenset[str]:
        """Its invoice and intent."""
        return frozenset({each for each in (self.invoice, self.payment_intent) if each})


@dataclass(frozen=True, slots=True)
class Refund(Facts):
    """`status`: pending, requires_action, succeeded, failed or canceled."""

    KIND: ClassVar[str] = "refund"

    charge: str | None
    payment_intent: str | None
    currency: str
    amount: int
    status: str

    @property
    def links(self) -> frozenset[str]:
        """Its charge and intent."""
        return frozenset({each for each in (self.charge, self.payment_intent) if each})


@dataclass(frozen=True, slots=True)
class Dispute(Refund):
    """`status`: needs_response, under_review, won, lost, and others with `warning_`."""

    KIND: ClassVar[str] = "dispute"

    @property
    def is_open(self) -> bool:
        """Whether the bank has not decided yet; an inquiry (`warning_`) takes nothing."""
        return self.status in {"needs_response", "under_review"}

    @property
    def is_lost(self) -> bool:
        """Whether the money is gone for good."""
        return self.status == "lost"


@dataclass(frozen=True, slots=True)
class PaymentIntent(Facts):
    """`credits`: what its metadata says it buys, outside any invoice."""

    KIND: ClassVar[str] = "payment_intent"

    invoice: str | None
    latest_charge: str | None
    currency: str
    received: int
    status: str
    created: int | None
    credits: int | None

    @property
    def links(self) -> frozenset[str]:
        """Its invoice and charge."""
        return frozenset({each for each in (self.invoice, self.latest_charge) if each})


@dataclass(frozen=True, slots=True)
class CheckoutSession(Facts):
    """`credits` by its metadata; `items` only where they were fetched."""

    KIND: ClassVar[str] = "checkout_session"

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
    def from_json(cls, kept: Mapping[str, Any]) -> Self:
        """The facts as they were kept."""
        items = [Item(Price(**item["price"]), item["quantity"]) for item in kept["items"]]
        return cls(**{**kept, "items": tuple(items)})

    @property
    def links(self) -> frozenset[str]:
        """Its invoice and intent."""
        return frozenset({each for each in (self.invoice, self.payment_intent) if each})


@dataclass(frozen=True, slots=True)
class InvoicePayment(Facts):
    """What since "basil" says which payment paid which invoice."""

    KIND: ClassVar[str] = "invoice_payment"

    invoice: str | None
    payment: str | None
    status: str

    @property
    def links(self) -> frozenset[str]:
        """Both ends."""
        return frozenset({each for each in (self.invoice, self.payment) if each})


@dataclass(frozen=True, slots=True)
class Customer(Facts):
    """Whom Stripe charges; `is_deleted` there."""

    KIND: ClassVar[str] = "customer"

    is_deleted: bool

    def gone(self) -> Self:
        """A customer that was deleted."""
        return replace(self, is_deleted=True)


@dataclass(frozen=True, slots=True)
class PaymentMethod(Facts):
    """What a customer pays by. `card`: a digest that tells cards apart, of one that is a card."""

    KIND: ClassVar[str] = "payment_method"

    card: str | None = None


@dataclass(frozen=True, slots=True)
class CatalogPrice(Facts):
    """A price of our catalogue, or an old plan object."""

    KIND: ClassVar[str] = "price"

    price: Price
    is_deleted: bool

    @classmethod
    def from_json(cls, kept: Mapping[str, Any]) -> Self:
        """The facts as they were kept."""
        return cls(**{**kept, "price": Price(**kept["price"])})

    def gone(self) -> Self:
        """A price that was deleted: what it was still explains old lines."""
        return replace(self, is_deleted=True)


@dataclass(frozen=True, slots=True)
class Product(CatalogPrice):
    """A product: what its metadata says holds for each of its prices."""

    KIND: ClassVar[str] = "product"


@dataclass(frozen=True, slots=True)
class CashTransaction(Facts):
    """Money that a customer has at Stripe and that has paid no invoice yet."""

    KIND: ClassVar[str] = "cash_transaction"

    type: str
    currency: str
    net: int


KINDS: dict[str, type[Facts]] = {
    kind.KIND: kind
    for kind in (
        Invoice,
        Subscription,
        Charge,
        Refund,
        Dispute,
        PaymentIntent,
        CheckoutSession,
        InvoicePayment,
        Customer,
        PaymentMethod,
        CatalogPrice,
        Product,
        CashTransaction,
    )
}
