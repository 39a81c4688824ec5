"""A worker with an API key, in front of a fake Stripe, and the books of one customer."""

import datetime as dt
import itertools

import pytest

from billing.host import accounts
from tests import stripe_objects as objects
from tests.billing.stripe.conftest import configure
from tests.fake_stripe import KEY, FakeStripe
from tests.stripe_objects import MONTH
from worker import clock
from worker.database import transaction

SECRET = "whsec_of_the_tests"

__all__ = ["configure"]


@pytest.fixture
def fake(configure):
    """What Stripe has; this process's key opens it."""
    with FakeStripe() as fake:
        configure(
            NO_PROXY="127.0.0.1",
            BILLING_STRIPE_API_KEY=KEY,
            BILLING_STRIPE_API_BASE=fake.url,
            BILLING_STRIPE_WEBHOOK_SECRETS=SECRET,
        )
        yield fake


class Customer:
    """One customer of ours, `cus_1`, the account acme on the plan starter, and what it does at Stripe."""

    def __init__(self, ledger, fake):
        self.ledger, self.fake = ledger, fake
        self.now = ledger.now
        self.names = itertools.count(1)
        ledger.open_account("acme", status="trial", stripe_customer_id="cus_1")
        price = objects.price(metadata={"plan": "starter"}, product="prod_1")
        fake.keep(objects.product(), price, objects.customer())

    def at(self, **ago):
        return int((self.now - dt.timedelta(**ago)).timestamp())

    def buys(self, name="1", **ago):
        """A month of the plan is paid, so long ago; returns the invoice."""
        start = self.at(**ago)
        line = objects.line(f"il_{name}", period={"start": start, "end": start + MONTH})
        invoice = objects.invoice(f"in_{name}", lines=[line], created=start)
        item = objects.subscription_item(
            current_period_start=start,
            current_period_end=start + MONTH,
            price=objects.price(metadata={"plan": "starter"}),
        )
        self.subscription = objects.subscription(
            items=[item], latest_invoice=invoice["id"], created=start, start_date=start
        )
        self.fake.keep(self.subscription, invoice)
        return invoice

    @property
    def status(self):
        with transaction() as ctx:
            return accounts.read(ctx.session, "acme").status

    def event(self, kind, about, **ago):
        """An event of so long ago, which Stripe lists."""
        made = objects.event(f"evt_{next(self.names)}", kind, about=about, created=self.at(**ago))
        self.fake.keep(made)
        return made


@pytest.fixture
def acme(ledger, fake):
    ledger.now = clock.now()
    return Customer(ledger, fake)
