"""Products: their metadata holds for each of their prices."""

from dataclasses import dataclass
from typing import ClassVar, Self

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
            plan=fields.text(metadata, PLAN_METADATA),
            credits=fields.credits_in(metadata),
        )
        return cls._of(source, price)
