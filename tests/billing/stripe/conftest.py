"""The inbox of Stripe's events on a real database, with books beside it."""

import pytest

from billing.stripe import catalog, inbox_upkeep
from flows.stripe import fetch as stripe_fetch
from tests.billing.stripe.door import SECRET, Door
from tests.billing.stripe.story import Stripe
from worker import clock
from worker.database import transaction
from worker.settings import settings


@pytest.fixture
def stripe(ledger):
    """Stripe's events delivered, one transaction each, without an API key."""
    return Stripe(ledger)


@pytest.fixture
def configure(monkeypatch):
    """Sets this process's settings for one test: `configure(BILLING_STRIPE_ACCOUNT="acct_1")`."""

    def configure(**environment):
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        settings.cache_clear()
        stripe_fetch.gateway.cache_clear()

    yield configure
    monkeypatch.undo()
    configure()


@pytest.fixture
def link(ledger):
    """Links a price as `billing stripe prices link` does, at the books' time."""

    def link(price, *, plan=None, credits=None, foreign=False):
        assert [plan, credits, foreign or None].count(None) == 2
        plan_id = ledger.plan(plan) if plan else None
        with transaction() as ctx:
            now = ctx.at(ledger.now)
            catalog.link(now, price, plan_id=plan_id, credits=credits)
            return inbox_upkeep.wake_price(now, price)

    return link


@pytest.fixture
def door(configure, ledger):
    """The worker's own door, with the endpoint's secret, at the books' time, which is now."""
    configure(BILLING_STRIPE_WEBHOOK_SECRETS=SECRET)
    ledger.now = clock.now()
    return Door()
