"""Prices of our catalogue, and old plan objects."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Self

from billing.stripe import fields
from billing.stripe.fields import JSON, Price
from billing.stripe.objects.base import Facts


@dataclass(frozen=True, slots=True)
class CatalogPrice(Facts):
    """A price of our catalogue, which belongs to no customer."""

    KIND: ClassVar[str] = "price"
    EVENTS: ClassVar[tuple[str, ...]] = (
        "price.created",
        "price.updated",
        "price.deleted",
        "plan.created",
        "plan.updated",
        "plan.deleted",
    )

    price: Price
    is_deleted: bool

    @classmethod
    def parse(cls, source: JSON) -> Self:
        """Parse a price. Raises as `Facts.parse` does."""
        return cls._of(source, fields.price_of(source))

    @classmethod
    def _of(cls, source: JSON, price: Price) -> Self:
        id_ = fields.needed(source, "id")
        return cls(id_, None, None, price=price, is_deleted=fields.flag(source, "deleted"))

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> Self:
        """Load the facts as they were stored."""
        return cls(**{**stored, "price": Price(**stored["price"])})

    @property
    def rank(self) -> list[int]:
        """A deletion is final."""
        return [self.is_deleted]

    def gone(self) -> Self:
        """A price that was deleted; it still explains old lines."""
        return replace(self, is_deleted=True)
