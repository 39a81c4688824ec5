"""A fake Stripe for one test, and the real gateway, over the real SDK, in front of it."""

import pytest

from gateways.stripe_api import StripeGateway
from tests.fake_stripe import KEY, FakeStripe


@pytest.fixture
def fake(monkeypatch):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with FakeStripe() as fake:
        yield fake


@pytest.fixture
def pauses():
    """The seconds that the gateway would have slept."""
    return []


@pytest.fixture
def stripe_api(fake, pauses):
    return StripeGateway(KEY, api_base=fake.url, sleep=pauses.append)
