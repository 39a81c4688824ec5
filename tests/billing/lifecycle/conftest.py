"""The vocabulary of lifecycle tests: that of the ledger, and time-driven sweeps."""

import datetime as dt
from dataclasses import dataclass, field, replace

import pytest
from sqlalchemy import insert, select, text

from billing.context import Policy
from billing.host import accounts
from billing.lifecycle import status
from billing.lifecycle.dunning import sweep as dunning_sweep
from billing.lifecycle.trials import overrides as trial_overrides
from billing.lifecycle.trials import reminders as trial_reminders
from billing.lifecycle.trials import sweeps as trial_sweeps
from models.accounts import Suspension
from models.host import Payment, Subscription
from models.life import DunningCase, Trial
from models.operations import OutboxEvent
from tests.story import Ledger
from worker.database import transaction

SWEEPS = (
    trial_sweeps.begin_missing,
    trial_reminders.remind_due,
    trial_sweeps.expire_due,
    dunning_sweep.step_due,
)


@dataclass
class Life(Ledger):
    """A ledger whose accounts also age; `policy` is the operator's."""

    policy: Policy = field(default_factory=Policy)

    def act(self, act, slug=None, actor="billing", **given):
        """Call an act of the domain, on an account if one is named, at the present time."""
        with transaction(actor=actor) as ctx:
            asked = [] if slug is None else [self.ids[slug]]
            return act(replace(ctx, now=self.now, policy=self.policy), *asked, **given)

    def age(self, *sweeps):
        """Run these sweeps, else all, until nothing is due."""
        results = []
        for sweep in sweeps or SWEEPS:
            while done := self.act(sweep):
                results += done
        return results

    def try_out(self, slug, **fields):
        """Sign up for a trial, and let the sweep give it its end."""
        self.open_account(slug, status="trial", **fields)
        self.age(trial_sweeps.begin_missing)

    def trial(self, slug) -> Trial:
        with transaction() as ctx:
            return ctx.session.get(Trial, self.ids[slug])

    def case(self, slug) -> DunningCase | None:
        rows = select(DunningCase).where(DunningCase.account_id == self.ids[slug])
        with transaction() as ctx:
            return ctx.session.scalars(rows.order_by(DunningCase.id.desc())).first()

    def extend(self, slug, *, days):
        how = {"actor": "operator:test", "ends_at": self.now + dt.timedelta(days=days)}
        return self.act(trial_overrides.extend, slug, **how)

    def restore(self, slug, *, days):
        how = {"actor": "operator:test", "ends_at": self.now + dt.timedelta(days=days)}
        return self.act(trial_overrides.restore, slug, **how)

    def record_payment(self, slug, *, paid="succeeded", invoice_id=None):
        """The payment's row alone, as the main app may write it."""
        with transaction() as ctx:
            values = {"account_id": self.ids[slug], "status": paid, "happened_at": self.now}
            ctx.session.execute(insert(Payment).values(**values, invoice_id=invoice_id))

    def subscribe(self, slug, *, until, status="active"):
        """The subscription's row alone."""
        with transaction() as ctx:
            values = {
                "account_id": self.ids[slug],
                "status": status,
                "current_period_start": self.now,
                "current_period_end": until,
            }
            ctx.session.execute(insert(Subscription).values(**values))

    def pay(self, slug, *, actor="bank"):
        """Record a payment and reactivate the account, in one transaction."""

        def record(ctx, account_id):
            accounts.lock(ctx.session, [account_id])
            values = {"account_id": account_id, "status": "succeeded", "happened_at": ctx.now}
            ctx.session.execute(insert(Payment).values(**values))
            status.payment_received(ctx, [account_id])

        self.act(record, slug, actor=actor)

    def announce(self, slug):
        how = {"to": "pending_payment", "reason": "transfer_announced", "actor": "bank"}
        self.act(status.change, slug, **how)

    def cancel(self, slug):
        how = {"to": "cancelled", "reason": "requested", "actor": "operator:test"}
        self.act(status.change, slug, **how)

    def reasons(self, slug):
        with transaction() as ctx:
            return status.suspension_reasons(ctx.session, self.ids[slug])

    def status(self, slug):
        return self.see(slug).status

    def events(self, *types):
        """The events left so far, of these types: (type, payload)."""
        rows = select(OutboxEvent.type, OutboxEvent.payload).order_by(OutboxEvent.id)
        with transaction() as ctx:
            found = ctx.session.execute(rows).all()
        return [(kind, payload) for kind, payload in found if not types or kind in types]

    def reminders(self):
        """Of each reminder of a trial, the days left."""
        return [payload["days_left"] for _, payload in self.events("trial.ending")]

    def suspensions(self):
        rows = select(Suspension.account_id, Suspension.reason).order_by(Suspension.id)
        with transaction() as ctx:
            return ctx.session.execute(rows).all()


@pytest.fixture
def life(database):
    """Accounts to tell the life of."""
    return Life()


def tables_that_say(*words):
    """Our tables in which one of these words stands, anywhere in a row."""
    said = set()
    with transaction() as ctx:
        names = ctx.session.scalars(
            text("SELECT tablename FROM pg_tables WHERE schemaname = 'billing' ORDER BY tablename")
        )
        for name in list(names):
            rows = ctx.session.scalars(
                text(f"SELECT row_to_json(t)::text FROM billing.{name} AS t")
            )
            said |= {name for row in rows if any(word in row for word in words)}
    return said
