"""Customers who pay by bank transfer."""

from tests.billing.bank.conftest import shop

__all__ = ["shop"]
