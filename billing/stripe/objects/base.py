"""The part of Stripe's objects that all kinds share.

A kind reads old shapes and new by the fields that are present. Since 2025-03-31 ("basil") an
invoice names its subscription under `parent`, a line its price under `pricing`, a subscription its
period on its items, and payments are objects of their own: docs.stripe.com/changelog/basil.
Amounts are in Stripe's unit of the currency, times in seconds.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple, Self

from billing.context import Context
from billing.host.accounts import HostAccount
from billing.stripe import fields
from billing.stripe.fields import JSON, Price


@dataclass(frozen=True, slots=True)
class Facts:
    """An object of Stripe's, reduced to the facts that we use.

    Attributes:
        KIND: The name of the kind, as tables keep it.
        EVENTS: The event types that carry an object of this kind.
        STATUSES: The statuses of its life with their places; one that Stripe added since has 0.
        LINKS: The fields with the ids of other objects of the same payment.
        hint: The account that the object's own metadata names, if any. Only the merchant's API key
            writes them.
    """

    KIND: ClassVar[str]
    EVENTS: ClassVar[tuple[str, ...]]
    STATUSES: ClassVar[Mapping[str, int]] = {}
    LINKS: ClassVar[tuple[str, ...]] = ()

    id: str
    customer: str | None
    hint: int | None

    @classmethod
    def parse(cls, source: JSON) -> Self:
        """Parse Stripe's JSON. Raises BadObject, BadAmount or UnknownCurrency."""
        raise NotImplementedError

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> Self:
        """Load the facts as `object_rows` stored them."""
        return cls(**stored)

    @property
    def rank(self) -> list[int]:
        """The progress of this state along the object's life; states of one second compare it."""
        return []

    @property
    def is_of_payment(self) -> bool:
        """Whether it is a part of one payment."""
        return bool(self.LINKS)

    @property
    def links(self) -> frozenset[str]:
        """The ids of other objects of the same payment."""
        return frozenset(filter(None, [getattr(self, name) for name in self.LINKS]))

    def gone(self) -> Self | None:
        """The state after Stripe deleted the object; None where Stripe deletes none of the kind."""
        return None

    def follow(self, ctx: Context, change: "Change") -> bool:
        """Do what follows from this newer state alone; return whether it may ask for money."""
        return False


class Change(NamedTuple):
    """A newer state: its account, the state before, and all objects of its payment."""

    account: HostAccount
    before: Facts | None
    payment: Sequence[Facts]


@dataclass(frozen=True, slots=True)
class Item:
    """An item of a subscription or of a Checkout session."""

    price: Price
    quantity: int


def parse_items(source: JSON, name: str) -> tuple[Item, ...]:
    """Parse the items of a list."""
    return tuple(
        [
            Item(fields.price_named(item), fields.count(item, "quantity", default=1))
            for item in fields.items(source, name)
        ]
    )


def items_from_json(stored: Sequence[Mapping[str, Any]]) -> tuple[Item, ...]:
    """Load items as they were stored."""
    return tuple([Item(Price(**item["price"]), item["quantity"]) for item in stored])


def in_order(*statuses: str) -> dict[str, int]:
    """Number statuses in the order of an object's life, from 1 on."""
    return {status: number for number, status in enumerate(statuses, start=1)}
