"""The inbox of Stripe's events on a real database, with books beside it."""

import pytest

from tests.stripe.story import Stripe


@pytest.fixture
def stripe(books):
    """Stripe's events delivered, one transaction each, without an API key."""
    return Stripe(books)
