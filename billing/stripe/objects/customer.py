"""Customers: the payers at Stripe."""

from dataclasses import dataclass, replace
from typing import ClassVar, Self

from billing.stripe import fields
from billing.stripe.fields import JSON
from billing.stripe.objects.base import Facts


@dataclass(frozen=True, slots=True)
class Customer(Facts):
    """A customer; `is_deleted` at Stripe."""

    KIND: ClassVar[str] = "customer"
    EVENTS: ClassVar[tuple[str, ...]] = ("customer.created", "customer.updated", "customer.deleted")

    is_deleted: bool

    @classmethod
    def parse(cls, source: JSON) -> Self:
        """Parse a customer. Raises as `Facts.parse` does."""
        shared = fields.common(source)
        is_deleted = fields.flag(source, "deleted")
        return cls(**{**shared, "customer": shared["id"]}, is_deleted=is_deleted)

    @property
    def rank(self) -> list[int]:
        """A deletion is final."""
        return [self.is_deleted]

    def gone(self) -> Self:
        """A customer that was deleted."""
        return replace(self, is_deleted=True)
