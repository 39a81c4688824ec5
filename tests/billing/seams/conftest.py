"""One account, acme, that pays by card and by transfer; credits are debited and held in units of 2."""

import pytest
import sqlalchemy as sa

from billing.lifecycle import app_writes
from billing.lifecycle.dunning import sweep as dunning_sweep
from billing.lifecycle.trials import sweeps as trial_sweeps
from billing.purchases import credits_back, purchases
from billing.renewal import expiry, plan_changes, renewals
from billing.usage import holds
from billing_client import Capture, PlaceHold, Release, Reverse
from models.credits import PlanPolicy
from tests.billing.bank.customers import Customers
from tests.billing.bank.story import line
from tests.billing.stripe.story import Stripe
from tests.billing.stripe.writing import Shop, seconds
from worker.database import transaction

OPERATION = "idea_generation"
MARCH, APRIL, MAY = seconds(2026, 3, 1, 12), seconds(2026, 4, 1, 12), seconds(2026, 5, 1, 12)
DAY_S = 86_400
SWEEPS = (
    app_writes.sweep,
    purchases.sweep_due,
    renewals.sweep_due,
    plan_changes.sweep,
    credits_back.expire_holds,
    expiry.sweep,
    trial_sweeps.begin_missing,
    trial_sweeps.expire_due,
    dunning_sweep.step_due,
)


class Acme(Customers):
    """The acts of one account. It is noon of the first of March."""

    stripe: Stripe
    shop: Shop

    @classmethod
    def open(cls, **fields):
        acme = cls()
        acme.bank.register()
        acme.sell("starter", 89)
        acme.sell("growth", 139, included_credits=2000)
        acme.hire("dev@example.com")
        acme.open_account("acme", **fields)
        acme.stripe = Stripe(acme)
        acme.shop = acme.stripe.shop("acme")
        return acme

    def policy_of(self, plan, **policy):
        with transaction() as ctx:
            ctx.session.execute(sa.insert(PlanPolicy).values(plan_id=self.plan(plan), **policy))

    def begins_cycle(self):
        """The app activates the account, which begins its own credit cycle."""
        self.seed("acme")

    # --- money ---

    def deliver(self):
        self.shop.now = int(self.now.timestamp())
        events, self.shop.events = self.shop.events, []
        self.stripe.deliver(*events)

    def at_stripe(self):
        self.shop.now = int(self.now.timestamp())
        return self.shop

    def subscribes(self, start=MARCH, end=APRIL):
        """The month is paid by card; returns the charge."""
        shop = self.at_stripe()
        state = shop.subscription(shop.price(), start=start, end=end)
        kind = "created" if start == MARCH else "updated"
        shop.event(f"customer.subscription.{kind}", state)
        charge = shop.pays(shop.bills(shop.price(), start=start, end=end))
        self.deliver()
        return charge

    def card_fails(self, start=APRIL, end=MAY):
        """The next month begins, and its invoice can't be charged; returns the invoice."""
        shop = self.at_stripe()
        invoice = shop.bills(shop.price(), start=start, end=end)
        invoice |= {"attempt_count": 1}
        shop.event("invoice.payment_failed", invoice)
        state = shop.subscription(
            shop.price(), start=start, end=end, status="past_due", latest_invoice=invoice["id"]
        )
        shop.event("customer.subscription.updated", state)
        self.deliver()
        return invoice

    def buys_pack(self):
        """500 credits for 25.00; returns the charge."""
        charge = self.at_stripe().buys(2500, credits=500)
        self.deliver()
        return charge

    def is_refunded(self, charge, cents=None):
        self.at_stripe().refunds(charge, cents or charge["amount"])
        self.deliver()

    def transfers(self, invoice, euros="89.00"):
        self.receive(line(euros, reference=invoice.reference))

    # --- credits: `credits` are even numbers ---

    def uses(self, credits, key):
        return self.debit("acme", OPERATION, key=key, units=credits // 2).outcome

    def holds(self, credits, key):
        message = PlaceHold(self.ids["acme"], OPERATION, key, units=credits // 2, ttl_s=DAY_S)
        with transaction() as ctx:
            placed = holds.place(ctx.at(self.now), message)
        return placed.reason or placed.outcome

    def captures(self, key, credits=None):
        units = credits and credits // 2
        return self.debit_all([Capture(self.ids["acme"], key, units=units)])[0].outcome

    def releases(self, key):
        return self.debit_all([Release(self.ids["acme"], key)])[0].outcome

    def reverses(self, key):
        return self.debit_all([Reverse(self.ids["acme"], key)])[0].outcome

    def goes_on(self, **duration):
        """Time passes, and all sweeps run."""
        self.pass_time(**duration)
        self.sweep(*SWEEPS)

    # --- what is left ---

    def left(self):
        """Each lot with credits, in burn order; a debt last."""
        seen = self.see("acme")
        lots = [(lot.source, lot.remaining) for lot in seen.lots if lot.remaining]
        return lots + ([("debt", seen.debt)] if seen.debt else [])

    def agrees(self):
        findings = self.audit().findings
        return not any(found for name, found in findings.items() if name != "without_access")


@pytest.fixture
def acme(database):
    """An active account without credits."""
    return Acme.open(status="active")


@pytest.fixture
def trial(database):
    """An account in trial with 1,000 trial credits; the trial ends in 14 days, its grace in 17."""
    trial = Acme.open(status="trial")
    trial.seed("acme")
    trial.sweep(trial_sweeps.begin_missing)
    return trial
