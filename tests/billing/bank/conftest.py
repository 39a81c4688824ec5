"""A bank for every test."""

import pytest

from tests.billing.bank.customers import Customers
from tests.billing.bank.story import Bank


@pytest.fixture
def bank(database):
    """A bank account of ours, registered."""
    bank = Bank()
    bank.register()
    return bank


@pytest.fixture
def shop(database):
    """Customers who pay by transfer, a starter plan at 89, and somebody who may decide."""
    shop = Customers()
    shop.bank.register()
    shop.sell("starter", 89)
    shop.sell("growth", 139, included_credits=2000)
    shop.hire("dev@example.com")
    shop.hire("second@example.com")
    return shop
