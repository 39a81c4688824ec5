"""Whatever comes, in whatever order: the books agree, and no more is taken back than was given."""

from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import func, select

from billing.renewal import expiry
from billing.usage import holds
from billing_client import Capture, PlaceHold, Release
from models.credits import Hold
from models.purchases import Purchase
from tests.billing.stripe.story import Stripe
from tests.billing.stripe.writing import seconds
from tests.conftest import empty_database
from tests.seeds import part
from tests.story import Ledger
from worker.database import transaction

MARCH = seconds(2026, 3, 1)
CENTS = st.sampled_from([1, 2225, 4450, 8899, 8900])


@dataclass
class Tale:
    """Acme's quarter, paid for with 89 dollars, and all that may become of it."""

    ledger: Ledger = field(default_factory=Ledger)
    refunds: list[dict] = field(default_factory=list)
    disputes: list[dict] = field(default_factory=list)
    held: list[str] = field(default_factory=list)
    step: int = 0

    def __post_init__(self):
        self.ledger.open_account("acme", status="trial", plan="starter")
        self.stripe = Stripe(self.ledger)
        self.shop = self.stripe.shop("acme")
        line = self.shop.line(self.shop.price(), start=MARCH, end=seconds(2026, 6, 1))
        invoice = self.shop.invoice([line], subscription="sub_1", status="open")
        self.charge = self.shop.pays(invoice)
        self.deliver()

    def deliver(self):
        self.stripe.deliver(*self.shop.events)
        self.shop.events.clear()

    def act(self, what, much):
        self.step += 1
        self.shop.now += 60
        getattr(self, what)(much)
        self.deliver()

    def refund(self, cents):
        left = self.charge["amount"] - self.charge["amount_refunded"]
        if left:
            self.refunds.append(self.shop.refunds(self.charge, min(cents, left)))

    def refund_fails(self, which):
        if self.refunds:
            failed = self.refunds[which % len(self.refunds)]
            self.shop.event("refund.failed", failed | {"status": "failed"})

    def dispute(self, cents):
        self.disputes.append(self.shop.opens_dispute(self.charge, amount=cents))

    def dispute_is_won(self, which):
        self._closes(which, "won")

    def dispute_is_lost(self, which):
        self._closes(which, "lost")

    def _closes(self, which, status):
        if self.disputes:
            self.shop.closes_dispute(self.disputes[which % len(self.disputes)], status)

    def debit(self, much):
        self.ledger.debit("acme", "idea_generation", key=f"debit:{self.step}", units=much // 20 + 1)

    def hold(self, much):
        message = PlaceHold(
            self.ledger.ids["acme"], "idea_generation", f"hold:{self.step}", units=much // 50 + 1
        )
        with transaction() as ctx:
            holds.place(ctx.at(self.ledger.now), message)
        self.held.append(message.key)

    def finish(self, which):
        if self.held:
            finish = Capture if which % 2 else Release
            self.ledger.debit_all([finish(self.ledger.ids["acme"], self.held.pop())])

    def top_up(self, much):
        self.ledger.grant("acme", much, "top_up", key=f"grant:{self.step}")

    def time_passes(self, much):
        self.ledger.pass_time(days=much // 200)
        self.ledger.sweep(holds.sweep)
        self.stripe.drip()
        self.ledger.sweep()

    def check(self):
        # As each minute: what a hold gave back into a lot whose time was over has expired by then.
        self.ledger.sweep(expiry.sweep)
        findings = {name: found for name, found in self.ledger.audit().findings.items() if found}
        assert not findings
        with transaction() as ctx:
            purchase = ctx.session.scalars(select(Purchase)).one()
            frozen = ctx.session.execute(
                select(func.count()).where(Hold.state == "held", Hold.operation.like("billing:%"))
            ).scalar_one()
        assert 0 <= purchase.taken_back <= purchase.credits * purchase.lots
        assert frozen <= len(self.disputes)


STEPS = [name for name in vars(Tale) if name[0] != "_" and name not in {"deliver", "act", "check"}]
STEPS = [name for name in STEPS if callable(getattr(Tale, name))]


A_TALE = st.lists(st.tuples(st.sampled_from(STEPS), CENTS), min_size=1, max_size=12)


def tell(steps):
    empty_database()
    tale = Tale()
    for what, much in steps:
        tale.act(what, much)
        tale.check()


@settings(max_examples=8)
@given(steps=A_TALE)
def test_after_every_step_the_books_agree(steps):
    tell(steps)


@pytest.mark.long
@settings(max_examples=part(200))
@given(steps=A_TALE)
def test_after_every_step_of_many_tales_the_books_agree(steps):
    tell(steps)
