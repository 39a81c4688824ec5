"""The words of these tests: buy, settle a payment, bridge a renewal, and give what is due."""

import datetime as dt
from dataclasses import dataclass

import pytest
from sqlalchemy import select

from billing.purchases import bridge, clawbacks, purchases
from billing.purchases.bridge import NewPeriod
from billing.purchases.money import PaymentState
from billing.purchases.purchases import Bought
from billing.usage import holds
from billing_client import PlaceHold, Release
from models.operations import OutboxEvent
from models.purchases import Purchase
from tests.story import Ledger
from worker.database import transaction


def day(month, day, hour=0, *, year=2026) -> dt.datetime:
    return dt.datetime(year, month, day, hour, tzinfo=dt.UTC)


MARCH, APRIL, MAY = day(3, 1), day(4, 1), day(5, 1)


@dataclass
class Till:
    """Buys for the accounts of a ledger, at its time; purchases go by the last word of their key."""

    ledger: Ledger

    def buys(self, slug="acme", *, key="p", origin=None, plan="starter", **changed) -> None:
        """Buy a month of a plan, 1000 credits from March on, as changed; `plan` None: a top-up."""
        terms = {"credits": 1000, "starts_at": MARCH, "ends_at": APRIL if plan else None}
        line = Bought(
            key=f"line:{key}",
            account_id=self.ledger.ids[slug],
            origin=origin or f"in_{key}",
            source="plan" if plan else "top_up",
            plan_id=self.ledger.plan(plan) if plan else None,
            **terms | changed,
        )
        with transaction() as ctx:
            purchases.open_all(ctx.at(self.ledger.now), [line])

    def purchase(self, key="p") -> Purchase:
        with transaction() as ctx:
            return ctx.session.scalars(self._named(key)).one()

    def settles(self, *keys, **state) -> None:
        """A payment of 100, of these purchases, is in this state."""
        self.settles_all({keys or ("p",): state})

    def settles_all(self, states) -> None:
        """Several payments at once: states by the keys of their purchases."""
        with transaction() as ctx:
            payments = [
                (
                    [ctx.session.scalars(self._named(key)).one() for key in keys],
                    PaymentState(**{"paid": 100, "returned": 0, "disputes": {}} | state),
                )
                for keys, state in states.items()
            ]
            clawbacks.settle_all(ctx.at(self.ledger.now), payments)

    def gives_due(self) -> None:
        self.ledger.sweep(purchases.sweep_due)

    def bridges(self, *slugs, starts_at=APRIL, credits=1000, is_first=False) -> None:
        """Begin a period, whose invoice is not known to be paid, for each of these accounts."""
        periods = [
            NewPeriod(self.ledger.ids[slug], starts_at, credits, is_first)
            for slug in slugs or ("acme",)
        ]
        with transaction() as ctx:
            bridge.give(ctx.at(self.ledger.now), periods)

    def ends_bridge(self, slug="acme") -> None:
        with transaction() as ctx:
            bridge.end(ctx.at(self.ledger.now), self.ledger.ids[slug])

    def holds(self, credits, slug="acme", *, key="h") -> None:
        """Set so many credits aside; they are even."""
        message = PlaceHold(self.ledger.ids[slug], "idea_generation", key, units=credits // 2)
        with transaction() as ctx:
            assert holds.place(ctx.at(self.ledger.now), message).outcome == "held"

    def releases(self, slug="acme", *, key="h") -> None:
        self.ledger.debit_all([Release(self.ledger.ids[slug], key)])

    def spends(self, credits, slug="acme", *, key="d") -> None:
        answer = self.ledger.debit(slug, "idea_generation", key=key, units=credits // 2)
        assert answer.outcome == "taken"

    def lots(self, slug="acme") -> list[tuple]:
        """Source, remaining credits, held ones and expiry of each open lot, as they burn."""
        seen = self.ledger.see(slug).lots
        return [(lot.source, lot.remaining, lot.held, lot.expires_at) for lot in seen]

    def events(self, kind) -> list[dict]:
        rows = select(OutboxEvent.payload).where(OutboxEvent.type == kind)
        with transaction() as ctx:
            return list(ctx.session.scalars(rows.order_by(OutboxEvent.id)))

    def _named(self, key):
        return select(Purchase).where(Purchase.key == f"line:{key}")


@pytest.fixture
def till(ledger):
    """Acme is active on the plan starter, of 1000 credits; it is the first of March."""
    ledger.now = MARCH
    ledger.open_account("acme")
    return Till(ledger)
