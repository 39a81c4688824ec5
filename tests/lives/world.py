"""A world of some lives that share a database, a clock and all sweeps; each life is checked alone."""

import datetime as dt
import heapq
import itertools
import traceback
from collections import Counter
from dataclasses import dataclass, field
from functools import cached_property

import sqlalchemy as sa

from billing.lifecycle import app_writes
from billing.lifecycle.dunning import sweep as dunning_sweep
from billing.lifecycle.trials import reminders, sweeps
from billing.purchases import credits_back, purchases
from billing.renewal import expiry, plan_changes, renewals
from billing.stripe import inbox_upkeep
from models.transfers import TransferInvoice
from tests.billing.bank.customers import Customers
from tests.billing.bank.story import Bank
from tests.billing.stripe.story import Stripe
from tests.conftest import empty_database
from tests.lives import checks, months
from tests.lives.invoices import DAY_S
from tests.lives.life import Life
from tests.lives.money import PLANS
from worker.database import transaction

START = dt.datetime(2026, 1, 20, 9, tzinfo=dt.UTC)
#: Days after which lives do nothing more by themselves, and the days that are then waited.
ACTIVE_DAYS, LAST_DAYS = 120, 35
SWEEPS = (
    app_writes.sweep,
    purchases.sweep_due,
    renewals.sweep_due,
    plan_changes.sweep,
    credits_back.expire_holds,
    expiry.sweep,
    sweeps.begin_missing,
    reminders.remind_due,
    sweeps.expire_due,
    dunning_sweep.step_due,
)


@dataclass
class Books(Customers):
    def invoice_rows(self, slug):
        with transaction() as ctx:
            rows = sa.select(TransferInvoice).where(TransferInvoice.account_id == self.ids[slug])
            return list(ctx.session.scalars(rows.order_by(TransferInvoice.id)))


@dataclass
class World:
    """`seeds`: one for each life. `violations`: (life, what is wrong)."""

    kind = Life
    sweeps = SWEEPS
    seeds: list[int]
    days: int = ACTIVE_DAYS
    last_days: int = LAST_DAYS
    violations: list = field(default_factory=list)
    names: itertools.count = field(default_factory=lambda: itertools.count(1))
    _plans: list = field(default_factory=list)
    _order: itertools.count = field(default_factory=itertools.count)
    reached: Counter = field(default_factory=Counter)

    def __post_init__(self):
        empty_database()
        self.books = Books(now=START, bank=Bank(now=START))
        self.stripe = Stripe(self.books)
        for plan, (cents, credits) in PLANS.items():
            self.books.sell(plan, cents / 100, included_credits=credits)
        self.books.hire("dev@example.com")
        self.lives = [self.kind(self, number, seed) for number, seed in enumerate(self.seeds)]
        self.deliver(self._prices())

    def _prices(self):
        card = self.lives[0].card
        for plan in PLANS:
            for annual in (False, True):
                card.shop.event("price.created", card.price(plan, annual=annual))
        card.shop.event("price.created", card.shop.price(unit=2500, credits="500"))
        events, card.shop.events = card.shop.events, []
        return events

    @property
    def second(self):
        return int(self.books.now.timestamp())

    @cached_property
    def by_id(self):
        return {self.books.ids[life.slug]: life for life in self.lives}

    def plan(self, life, seconds, act):
        heapq.heappush(self._plans, (self.second + seconds, next(self._order), life, act))

    def deliver(self, events):
        if events:
            self.stripe.deliver_set(*events)

    def live(self):
        for life in self.lives:
            self._plan_acts(life)
        begun = self.second
        for day in range(self.days + self.last_days):
            self._until(begun + day * DAY_S)
            self.sweep()
            self.check(self.lives)
            if day % 30 == 29:
                self.audit()
        self.audit()
        for life in self.lives:
            self.count(life)
        return self

    def _plan_acts(self, life):
        """A life has busy days and quiet ones; some acts follow each other within minutes."""
        second = 0
        while True:
            gaps = [300, 1800, 6 * 3600, DAY_S, 3 * DAY_S, 9 * DAY_S, 15 * DAY_S]
            second += life.chance.choice(gaps) + life.chance.randrange(60)
            if second > self.days * DAY_S or len(life.said) > 400:
                return
            self.plan(life, second, life.act)

    def _until(self, second):
        while self._plans and self._plans[0][0] <= second:
            at, _, life, act = heapq.heappop(self._plans)
            self.books.now = months.at(at)
            if life not in self.lives:
                continue
            try:
                act() if act == life.act else life.run(act)
            except Exception as error:
                traceback.print_exc()
                self.fail(life, f"{type(error).__name__}: {error}")
                continue
            self.check([life])
        self.books.now = months.at(second)

    def sweep(self):
        self.books.sweep(*self.sweeps)
        with transaction() as ctx:
            due = inbox_upkeep.due(ctx.at(self.books.now), limit=100)
        for number in due:
            self.stripe.apply(number)
        self.books.bill()
        self.books.match()

    def check(self, lives):
        for life, wrong in checks.of_lives(self, lives):
            self.fail(life, wrong)

    def audit(self):
        report = self.books.audit()
        for name, found in report.findings.items():
            for finding in found:
                life = self._of(*finding)
                if name not in checks.ALLOWED_FINDINGS and self._is_checked(life):
                    self.fail(life, f"audit {name}: {finding}")

    def _is_checked(self, life):
        """A payment whose events are not all there yet may ask for a person."""
        return life is None or (life in self.lives and not life.late)

    def _of(self, subject, facts):
        """The life that a finding is about, if it names one."""
        words = subject.split()
        named = facts.get("account_id") or (words[0] == "account" and int(words[1]))
        return self.by_id.get(named)

    def fail(self, life, wrong):
        self.violations.append((life, wrong))
        if life in self.lives:
            self.count(life)
            self.lives.remove(life)

    def count(self, life):
        kinds = sorted(life.reached)
        self.reached.update(life.reached)
        self.reached.update(itertools.combinations(kinds, 2))


def told(life, wrong):
    """A violation as a reader needs it: the seed, the life, and what is wrong."""
    if life is None:
        return f"VIOLATION\n    {wrong}"
    lines = "\n".join(f"    {line}" for line in life.said)
    return f"VIOLATION in the life of seed {life.seed}\n{lines}\n    => {wrong}"
