"""Rows of one account: purchases, subscriptions at Stripe, and the main app's own subscription."""

import datetime as dt
from dataclasses import dataclass

import pytest
from sqlalchemy import insert

from models.host import Payment, Subscription
from models.life import DunningCase
from models.purchases import Purchase
from models.stripe import StripeObject
from tests.story import NOON, Ledger
from worker.database import transaction

DAY = dt.timedelta(days=1)


@dataclass
class Rows:
    """Writes rows of the account acme; days count from noon."""

    ledger: Ledger

    def write(self, *rows) -> None:
        """Write rows, each a function's name here and its arguments."""
        for name, fields in rows:
            getattr(self, name)(**fields)

    def purchase(self, *, days=10, slug="acme", **fields) -> None:
        """A month of a plan that ends in so many days; 1000 credits, paid at Stripe."""
        ends_at = NOON + days * DAY
        values = {"key": f"line:{len(fields)}:{days}", "origin": "in_1", "source": "plan"}
        values |= {"plan_id": self.ledger.plan(), "credits": 1000, "lots": 1, "given": 1}
        values |= {"starts_at": ends_at - 30 * DAY, "ends_at": ends_at, "recorded_at": NOON - DAY}
        self._insert(Purchase, slug, **values | fields)

    def at_stripe(self, status="active", *, id="sub_1", days=10, since=-20, slug="acme") -> None:
        end, created = ((NOON + number * DAY).timestamp() for number in (days, since))
        facts = {"status": status, "end": int(end), "created": int(created)}
        values = {"id": id, "kind": "subscription", "version_at": NOON, "rank": [0], "digest": b""}
        values["recorded_at"] = NOON
        self._insert(StripeObject, slug, facts=facts, **values)

    def subscription(self, status="active", *, days=10, slug="acme", **fields) -> None:
        """The main app's row; by bank transfer, unless `fields` say otherwise."""
        values = {"payment_method": "bank_transfer", "external_payment_id": "billing:invoice:1"}
        values |= {"current_period_start": NOON - DAY, "current_period_end": NOON + days * DAY}
        self._insert(Subscription, slug, status=status, **values | fields)

    def payment(self, *, days=-1, status="succeeded", slug="acme", **fields) -> None:
        self._insert(Payment, slug, status=status, happened_at=NOON + days * DAY, **fields)

    def case(self, *, days=-1, slug="acme", **fields) -> None:
        values = {"schedule": "card", "cause": "card_failed", "starts_at": NOON, "due_at": NOON}
        self._insert(DunningCase, slug, opened_at=NOON + days * DAY, **values | fields)

    def _insert(self, table, slug, **values):
        with transaction() as ctx:
            ctx.session.execute(insert(table).values(account_id=self.ledger.ids[slug], **values))


@pytest.fixture
def rows(ledger):
    ledger.open_account("other")
    ledger.open_account("acme")
    return Rows(ledger)
