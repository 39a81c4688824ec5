"""Two years of accounts that sign up, pay or don't, held against a model in plain Python.

Sweeps come late, twice, in any order, and not at all for days. No account is out that paid or
announced in time, none is in that should not be, and each reminder is sent exactly once.
"""

import datetime as dt
import random
from collections import Counter, defaultdict
from dataclasses import dataclass, field

import pytest
from sqlalchemy import insert, select

from billing.context import Policy
from billing.lifecycle import app_writes, status
from billing.lifecycle.dunning import cases as dunning_cases
from billing.lifecycle.dunning import sweep as dunning_sweep
from billing.lifecycle.trials import reminders as trial_reminders
from billing.lifecycle.trials import sweeps as trial_sweeps
from models.accounts import Suspension
from models.host import Account as AccountRow
from models.life import Trial
from models.operations import OutboxEvent
from tests.billing.lifecycle.conftest import Life
from tests.billing.lifecycle.model import DAY, Account
from tests.seeds import SEED, part, seeds
from worker.database import transaction

START = dt.datetime(2027, 3, 1, 9, tzinfo=dt.UTC)  # the leap day of 2028 lies within
TWO_YEARS = 731
SWEEPS = {
    "begin": trial_sweeps.begin_missing,
    "remind": trial_reminders.remind_due,
    "expire": trial_sweeps.expire_due,
    "dun": dunning_sweep.step_due,
}
#: How often each happens to an account on a day on which something does.
HAPPENINGS = {
    "pay": 8,
    "card_fails": 8,
    "announce": 4,
    "extend": 3,
    "restore": 3,
    "dispute": 2,
    "settle_dispute": 4,
    "cancel": 1,
    "app_writes": 3,
}


@dataclass
class World:
    """The worker and the model, with the same inputs."""

    seed: int
    accounts: int
    life: Life = field(default_factory=lambda: Life(now=START, policy=NO_GUARD))
    models: dict = field(default_factory=dict)

    def __post_init__(self):
        self.chance = random.Random(self.seed)
        self.life.plan()
        self.comes_on = defaultdict(int)
        self.reactivated_by_app = set()
        for _ in range(self.accounts):
            self.comes_on[self.chance.randrange(TWO_YEARS - 60)] += 1

    def live_a_day(self, day):
        self.life.now = START + day * DAY + dt.timedelta(minutes=self.chance.randrange(600))
        self.sign_up(self.comes_on[day])
        if self.models:
            share = self.accounts / TWO_YEARS * 6
            for _ in range(int(share) + (self.chance.random() < share % 1)):
                slug = self.chance.choice(list(self.models))
                self.life.pass_time(seconds=1)
                (what,) = self.chance.choices(list(HAPPENINGS), HAPPENINGS.values())
                getattr(self, what)(slug, self.models[slug])

    def sign_up(self, count):
        now, first = self.life.now, len(self.models)
        slugs = [f"acme{first + number}" for number in range(count)]
        if not slugs:
            return
        with transaction() as ctx:
            values = [
                {"slug": s, "name": s, "plan_id": 1, "status": "trial", "created_at": now}
                for s in slugs
            ]
            rows = ctx.session.execute(
                insert(AccountRow).returning(AccountRow.slug, AccountRow.id), values
            )
            self.life.ids |= dict(rows.all())
        self.models |= {slug: Account(now) for slug in slugs}

    def sweep(self):
        """Some sweeps, in any order, once or twice; the operator confirmed all."""
        names = self.chance.sample(list(SWEEPS), self.chance.choice([2, 4, 4, 4]))
        for name in names * self.chance.choice([1, 1, 1, 2]):
            self.life.age(SWEEPS[name])
            for model in self.models.values():
                getattr(model, name)(self.life.now)

    # --- what happens to an account ---

    def pay(self, slug, model):
        self.life.pay(slug, actor=self.chance.choice(["bank", "stripe"]))
        model.pay(self.life.now)

    def announce(self, slug, model):
        if model.may_announce():
            self.life.announce(slug)
            model.announce(self.life.now)

    def card_fails(self, slug, model):
        if model.status == "active":
            hopeless = self.chance.random() < 0.3
            code = "stolen_card" if hopeless else "insufficient_funds"
            self.life.act(dunning_cases.open_case, slug, cause="card_failed", decline_code=code)
            model.card_fails(self.life.now, hopeless=hopeless)

    def extend(self, slug, model):
        days = self.chance.randrange(1, 60)
        ends_at = self.life.now + days * DAY
        if model.trial_open and model.may_be_extended(ends_at, self.life.now):
            self.life.extend(slug, days=days)
            model.extend(ends_at, self.life.now)

    def restore(self, slug, model):
        days = self.chance.randrange(1, 30)
        ends_at = self.life.now + days * DAY
        if model.ends_at and model.may_be_restored(ends_at):
            self.life.restore(slug, days=days)
            model.restore(ends_at, self.life.now)

    def dispute(self, slug, model):
        if model.status != "cancelled":
            self.how(status.suspend, slug, reason="dispute")
            model.suspend("dispute")

    def settle_dispute(self, slug, model):
        self.how(status.lift, slug, reason="dispute")
        model.lift("dispute")

    def cancel(self, slug, model):
        self.how(status.change, slug, to="cancelled", reason="requested")
        model.cancel()

    def app_writes(self, slug, model):
        """The main app's own hand: the same effects as a change of ours."""
        to = self.chance.choice(["trial", "trial", "active", "suspended", "cancelled"])
        self.life.set_host(slug, status=to)
        self.life.age(app_writes.sweep)
        model.app_writes(to)
        self.reactivated_by_app.add(slug)

    def how(self, act, slug, **given):
        self.life.act(act, slug, actor="operator:test", **given)

    # --- what became of them ---

    def compare(self):
        with transaction() as ctx:
            statuses = dict(ctx.session.execute(select(AccountRow.slug, AccountRow.status)).all())
            reasons, reminders, asked = defaultdict(set), defaultdict(Counter), defaultdict(Counter)
            trying = set(
                ctx.session.scalars(select(Trial.account_id).where(Trial.ended_at.is_(None)))
            )
            open_ones = select(Suspension.account_id, Suspension.reason)
            for id, reason in ctx.session.execute(open_ones.where(Suspension.lifted_at.is_(None))):
                reasons[id].add(reason)
            rows = select(OutboxEvent.account_id, OutboxEvent.type, OutboxEvent.payload)
            kinds = {"payment.missing": "remind", "payment.retry_due": "retry"}
            for id, kind, said in ctx.session.execute(rows):
                if kind == "trial.ending":
                    end = dt.datetime.fromisoformat(said["ends_at"])
                    reminders[id][end, said["days_left"]] += 1
                elif kind in kinds:
                    asked[id][said["day"], kinds[kind]] += 1
        for slug, model in self.models.items():
            id = self.life.ids[slug]
            seen = (statuses[slug], id in trying, reasons[id], reminders[id], asked[id])
            expected = (
                model.status,
                model.trial_open,
                {reason for reason, _ in model.reasons},
                Counter(model.reminders),
                Counter(model.asked),
            )
            assert seen == expected, (slug, self.seed, self.life.now)

    def check_invariants(self):
        """What must hold whatever the model says, after all sweeps."""
        now = self.life.now
        for slug, model in self.models.items():
            assert max(Counter(model.reminders).values(), default=0) <= 1, slug
            if model.status == "trial":
                assert model.suspends_at > now, slug
            if model.status == "pending_payment":
                assert model.case is not None, slug
                assert now - model.case.starts_at < 14 * DAY, slug
            in_dunning = model.case is not None and now - model.case.starts_at >= 14 * DAY
            if in_dunning and slug not in self.reactivated_by_app:
                assert model.has("payment_failed"), slug
                assert model.status == "suspended", slug
            if model.has("trial_over") and not model.has_missed:
                assert not model.paid_at, slug


NO_GUARD = Policy(suspended_at_once=10**9)


def live(world, *, every):
    """Two years, with a sweep each `every` days or so, and an outage now and then."""
    outage = 0
    for day in range(TWO_YEARS):
        world.live_a_day(day)
        if world.chance.random() < 0.01:
            outage = world.chance.randrange(2, 15)
        outage -= 1
        if outage < 0 and (every == 1 or world.chance.random() < 1 / every):
            world.sweep()
        if day % 90 == 89:
            world.compare()
    for name, sweep in SWEEPS.items():
        world.life.age(sweep)
        for model in world.models.values():
            getattr(model, name)(world.life.now)
    world.compare()
    world.check_invariants()
    world.life.sweep()
    assert world.life.audit().agrees


@pytest.mark.timeout(300)
@pytest.mark.parametrize("seed", [1, 2])
def test_two_years_of_a_few_accounts_are_as_the_model_has_them(database, seed):
    live(World(seed, accounts=40), every=4)


@pytest.mark.long
@pytest.mark.timeout(3600)
def test_two_years_of_ten_thousand_accounts_are_as_the_model_has_them(database):
    live(World(seeds(1)[0], accounts=part(10_000)), every=1 if SEED is None else 7)
