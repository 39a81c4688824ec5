"""A bank for every test."""

import pytest

from tests.bank.story import Bank


@pytest.fixture
def bank(database):
    """A bank account of ours, registered."""
    bank = Bank()
    bank.register()
    return bank
