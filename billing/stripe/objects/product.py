"""Products: their metadata holds for each of their prices."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Self

from billing.stripe import fields
from billing.stripe.fields import JSON, PLAN_METADATA, Price
from billing.stripe.objects.price import CatalogPrice


@dataclass(frozen=True, slots=True)
class Product(CatalogPrice):
    """A product of our catalogue."""

    KIND: ClassVar[str] = "product"
    EVENTS: ClassVar[tuple[str, ...]] = ("product.created", "product.updated", "product.deleted")

    @classmethod
    def parse(cls, source: JSON) -> Self:
        """Parse a product. Raises as `Facts.parse` does."""
        metadata = fields.inside(source, "metadata")
        price = Price(
            id=None,
            product=fields.needed(source, "id"),
            product_plan=fields.text(metadata, PLAN_METADATA),
            product_credits=fields.credits_in(metadata),
        )
        return cls._of(source, price)

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> Self:
        """Load the facts as they were stored. Old rows have the metadata as a price's own."""
        price = dict(stored["price"])
        for name in ("plan", "credits"):
            price[f"product_{name}"] = price.get(f"product_{name}") or price.pop(name)
        return cls(**{**stored, "price": Price(**{"plan": None, "credits": None, **price})})
