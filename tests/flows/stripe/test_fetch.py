"""A process talks to Stripe if it has a key, and with that key."""

from flows.stripe.fetch import gateway
from tests import stripe_objects as objects
from tests.fake_stripe import KEY, FakeStripe
from worker.settings import settings


def test_without_a_key_there_is_no_gateway():
    assert settings().stripe_api_key is None
    assert gateway.__wrapped__() is None


def test_with_a_key_the_gateway_reads_what_is_at_its_base(monkeypatch):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with FakeStripe() as fake:
        fake.keep(objects.customer())
        monkeypatch.setenv("BILLING_STRIPE_API_KEY", KEY)
        monkeypatch.setenv("BILLING_STRIPE_API_BASE", fake.url)
        settings.cache_clear()
        try:
            found = gateway.__wrapped__().fetch("customer", "cus_1")
        finally:
            settings.cache_clear()

    assert found == objects.customer()
