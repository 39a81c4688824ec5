"""Money that Stripe gives back as balance takes its credits back, so that it never buys twice."""

import datetime as dt
import random

import pytest
from sqlalchemy import select

from models.purchases import Purchase
from tests.billing.stripe.story import Stripe
from tests.billing.stripe.test_any_order import shuffled
from tests.billing.stripe.writing import Shop, seconds
from tests.conftest import empty_database
from tests.story import Ledger
from worker.database import transaction

MARCH, APRIL, MAY = seconds(2026, 3, 1), seconds(2026, 4, 1), seconds(2026, 5, 1)
NEXT_MARCH = seconds(2027, 3, 1)
HOUR = 3600


class Life:
    """Acme at a shop with four plans: its credits are asked after all events have been delivered."""

    def __init__(self, stripe, ledger, *, basil=False):
        self.stripe, self.ledger = stripe, ledger
        for slug, credits in (("free", 100), ("growth", 2000), ("scale", 4000)):
            ledger.plan(slug, included_credits=credits)
        ledger.open_account("acme", status="trial", plan="starter")
        ledger.go_to(2026, 3, 1)
        self.shop: Shop = stripe.shop("acme", basil=basil, now=MARCH)
        units = {"free": 0, "starter": 8900, "growth": 13_900, "scale": 22_900}
        self.month = {slug: self.shop.price(slug, unit=unit) for slug, unit in units.items()}
        self.year = {
            slug: self.shop.price(slug, unit=10 * unit, interval="year")
            for slug, unit in units.items()
        }
        for price in [*self.month.values(), *self.year.values()]:
            self.shop.event("price.created", price)

    def at(self, second) -> "Life":
        self.shop.now = second
        self.ledger.now = max(dt.datetime.fromtimestamp(second, dt.UTC), self.ledger.now)
        self.stripe.drip()
        self.ledger.sweep()
        return self

    def bills(self, plan, *, start=MARCH, end=APRIL, quantity=1, **fields) -> dict:
        line = self.shop.line(self.price(plan), start=start, end=end, quantity=quantity)
        return self.settles(line, **fields)

    def changes(self, old, new, *, at, start=MARCH, end=APRIL, **fields) -> dict:
        """The plan changes within a period, invoiced at once."""
        self.at(at)
        pairs = [(self.price(plan), 1) if plan else (None, 0) for plan in (old, new)]
        return self.settles(*self.shop.change(*pairs, at=at, start=start, end=end), **fields)

    def switches(self, old, new, *, at, start, end, until, **fields) -> dict:
        """The interval changes: the rest of the old is credited, the whole of the new is billed."""
        self.at(at)
        old_lines = self.shop.change((self.price(old), 1), (None, 0), at=at, start=start, end=end)
        new_line = self.shop.line(self.price(new), start=at, end=until)
        return self.settles(*old_lines, new_line, **fields)

    def price(self, plan) -> dict:
        slug, _, interval = plan.partition(" ")
        return (self.year if interval else self.month)[slug]

    def settles(self, *lines, **fields) -> dict:
        invoice = self.shop.settles(*lines, **fields)
        self.deliver()
        return invoice

    def deliver(self):
        self.stripe.deliver(*self.shop.events)
        self.past = [*getattr(self, "past", []), *self.shop.events]
        self.shop.events.clear()

    def spends(self, credits, *, key="debit:1"):
        assert self.ledger.debit("acme", "idea_generation", key=key, units=credits // 2).outcome

    @property
    def credits(self) -> int:
        seen = self.ledger.see("acme")
        findings = {name: found for name, found in self.ledger.audit().findings.items() if found}
        assert not findings
        return seen.credits


@pytest.fixture(params=["before basil", "since basil"])
def acme(request, stripe, ledger) -> Life:
    return Life(stripe, ledger, basil=request.param == "since basil")


@pytest.fixture
def life(stripe, ledger) -> Life:
    return Life(stripe, ledger)


def test_up_and_down_five_times_gives_the_higher_plan_once(acme):
    acme.bills("starter")

    for number in range(5):
        acme.changes("starter", "scale", at=MARCH + 720 * number + 560)
        acme.changes("scale", "starter", at=MARCH + 720 * number + 920)

    paid = sum(charge["amount"] for charge in acme.shop.charges)
    assert (paid, -acme.shop.balance) == (22_897, 13_988)
    assert acme.credits == 4000


def test_up_and_down_over_a_whole_month_gives_the_higher_plan_once(life):
    life.bills("starter")

    for day in range(2, 28, 4):
        life.changes("starter", "scale", at=MARCH + day * 24 * HOUR)
        life.changes("scale", "starter", at=MARCH + (day + 2) * 24 * HOUR)
    up = life.changes("starter", "scale", at=MARCH + 30 * 24 * HOUR)

    assert up["amount_due"] == 0
    assert life.credits == 4000


def test_what_was_spent_before_the_plan_was_bought_again_is_owed_once(life):
    life.bills("starter")
    life.changes("starter", "scale", at=MARCH + 300)
    life.spends(4000)
    life.changes("scale", "starter", at=MARCH + 600)

    life.changes("starter", "scale", at=MARCH + 900)

    assert life.credits == 0


def test_a_downgrade_alone_takes_nothing_from_the_running_month(life):
    life.bills("scale")

    life.changes("scale", "starter", at=MARCH + 5 * 24 * HOUR)

    assert life.credits == 4000


def test_between_months_and_years_in_a_loop_one_month_is_given(acme):
    acme.bills("starter")
    at, begun, until = MARCH, MARCH, APRIL
    given = []

    for _ in range(3):
        at += 300
        old, new, end = ("starter", "starter annual", NEXT_MARCH + at - MARCH)
        acme.switches(old, new, at=at, start=begun, end=until, until=end)
        given.append(acme.credits)
        begun, until, at = at, end, at + 300
        acme.switches(new, old, at=at, start=begun, end=until, until=APRIL + at - MARCH)
        given.append(acme.credits)
        begun, until = at, APRIL + at - MARCH

    assert given == [1000] * 6


def test_cancelled_with_proration_and_bought_again_from_the_balance_gives_what_was_paid(life):
    life.bills("starter")
    middle = (MARCH + APRIL) // 2
    life.changes("starter", None, at=middle)

    life.bills("starter", start=middle, end=middle + APRIL - MARCH, subscription="sub_2")

    assert life.shop.charges[-1]["amount"] == 4450
    assert life.credits == 1500


def test_a_fall_takes_nothing_from_a_rise_that_was_billed_late(life):
    life.bills("starter")
    starter, scale = life.price("starter"), life.price("scale")
    rise, middle = MARCH + 24 * 24 * HOUR, (APRIL + MAY) // 2
    late = life.shop.change((starter, 1), (scale, 1), at=rise, start=MARCH, end=APRIL)
    life.at(APRIL).settles(*late, life.shop.line(scale, start=APRIL, end=MAY))

    life.changes("scale", "starter", at=middle, start=APRIL, end=MAY)
    life.bills("starter", start=middle, end=middle + MAY - APRIL, subscription="sub_2")

    assert life.credits == 3000 + 4000 - 1500 + 1000


def test_money_back_beyond_what_was_paid_takes_no_other_purchase(life):
    life.bills("starter annual", end=NEXT_MARCH)

    life.switches(
        "scale annual", "starter", at=MARCH + HOUR, start=MARCH, end=NEXT_MARCH, until=APRIL + HOUR
    )

    assert life.shop.balance < -200_000
    with transaction() as ctx:
        year = ctx.session.scalars(select(Purchase).order_by(Purchase.id)).first()
        assert year.moved_minor + year.parked_minor <= year.price_minor


def test_a_year_given_up_after_two_months_gives_a_thousand_a_month_from_then_on(acme):
    acme.bills("starter annual", end=NEXT_MARCH)
    acme.at(APRIL + HOUR)
    switched = MAY + HOUR
    june, july, august = [seconds(2026, month, 1) + HOUR for month in (6, 7, 8)]

    acme.switches("starter annual", "starter", at=switched, start=MARCH, end=NEXT_MARCH, until=june)
    months = [acme.credits]
    for start, end in ((june, july), (july, august)):
        acme.at(start).bills("starter", start=start, end=end)
        months.append(acme.at(start + HOUR).credits)

    assert months == [1000, 1000, 1000]
    assert acme.shop.balance < 0


def test_an_annual_downgrade_gives_the_smaller_plan_from_the_next_month_on(acme):
    acme.bills("scale annual", end=NEXT_MARCH)

    acme.changes("scale annual", "starter annual", at=MARCH + 24 * HOUR, end=NEXT_MARCH)
    months = [acme.credits]
    for month in (4, 5, 12):
        acme.at(seconds(2026, month, 1) + HOUR)
        months.append(acme.credits)

    assert months == [4000, 1000, 1000, 1000]


def test_an_annual_downgrade_without_money_back_gives_the_smaller_plan_too(life):
    life.bills("scale annual", end=NEXT_MARCH)
    scale, starter = (
        life.price("scale annual"),
        life.price("starter annual") | {"unit_amount": 229_000},
    )

    lines = life.shop.change((scale, 1), (starter, 1), at=MARCH + HOUR, start=MARCH, end=NEXT_MARCH)
    life.at(MARCH + HOUR).settles(*lines)

    assert life.at(APRIL + HOUR).credits == 1000


def test_a_downgrade_that_is_known_late_takes_what_was_given_too_much(life):
    life.bills("scale annual", end=NEXT_MARCH)
    at = MARCH + 24 * HOUR
    life.shop.now = at
    lines = life.shop.change(
        (life.price("scale annual"), 1),
        (life.price("starter annual"), 1),
        at=at,
        start=MARCH,
        end=NEXT_MARCH,
    )
    life.at(APRIL + HOUR)

    life.settles(*lines)

    assert life.credits == 1000
    assert life.at(MAY + HOUR).credits == 1000


def test_a_new_anchor_gives_back_the_rest_of_the_old_period(life):
    life.bills("starter")
    middle = (MARCH + APRIL) // 2

    life.switches(
        "starter", "starter", at=middle, start=MARCH, end=APRIL, until=middle + APRIL - MARCH
    )

    assert life.credits == 1500


def test_a_smaller_quantity_gives_back_when_its_money_is_used(life):
    life.bills("starter", quantity=3)
    starter = life.price("starter")
    middle = (MARCH + APRIL) // 2
    lines = life.shop.change((starter, 3), (starter, 1), at=middle, start=MARCH, end=APRIL)
    life.at(middle).settles(*lines)
    parked = life.credits

    life.bills("starter", start=middle, end=APRIL, subscription="sub_2")

    assert (parked, life.credits) == (3000, 3000 - 1000 + 1000)


def test_a_renewal_paid_from_the_balance_takes_what_the_balance_had_bought(life):
    life.bills("scale")
    life.spends(4000)
    life.changes("scale", "starter", at=(MARCH + APRIL) // 2)

    life.at(APRIL).bills("starter", start=APRIL, end=MAY)

    assert life.shop.charges[-1]["amount"] == 1900
    assert life.credits == 1000 - 1500


def test_credits_that_had_expired_are_not_owed_when_the_balance_is_used(life):
    life.bills("scale")
    life.changes("scale", "starter", at=(MARCH + APRIL) // 2)
    life.at(APRIL + HOUR)

    life.bills("starter", start=APRIL, end=MAY)

    assert life.credits == 1000


def test_a_refund_of_money_that_is_parked_takes_it_from_the_balance_first(life):
    life.bills("starter annual", end=NEXT_MARCH)
    life.switches(
        "starter annual", "starter", at=MARCH + 300, start=MARCH, end=NEXT_MARCH, until=APRIL + 300
    )

    life.shop.refunds(life.shop.charges[0], -life.shop.balance)
    life.deliver()

    assert life.credits == 1000
    assert life.at(APRIL + HOUR).credits == 0


def test_a_refund_after_a_fall_to_a_free_plan_takes_its_share_of_the_whole(life):
    life.bills("starter")
    life.changes("starter", "free", at=MARCH + 3 * 24 * HOUR)

    life.shop.refunds(life.shop.charges[0], 4450)
    life.deliver()

    assert life.credits == 500


def test_a_refund_of_money_that_has_bought_something_else_takes_that(life):
    life.bills("starter")
    life.switches(
        "starter", "starter annual", at=MARCH + 300, start=MARCH, end=APRIL, until=NEXT_MARCH + 300
    )
    first, second = life.shop.charges

    life.shop.refunds(first, first["amount"])
    life.shop.refunds(second, second["amount"])
    life.deliver()

    assert life.credits == 0
    assert life.at(APRIL + HOUR).credits == 0


def test_a_balance_that_was_paid_out_takes_what_it_had_bought(life):
    life.bills("scale")
    middle = (MARCH + APRIL) // 2
    life.changes("scale", None, at=middle)
    life.shop.balance = 0

    later = middle + HOUR
    life.at(later).bills("starter", start=later, end=later + APRIL - MARCH, subscription="sub_2")

    assert life.credits == 4000 - 2000 + 1000


def test_a_balance_in_part_and_a_refund_take_the_share_of_the_whole_price(life):
    life.bills("starter")
    middle = (MARCH + APRIL) // 2
    life.changes("starter", None, at=middle)
    life.bills("starter", start=middle, end=middle + APRIL - MARCH, subscription="sub_2")

    life.shop.refunds(life.shop.charges[-1], 4450)
    life.deliver()

    assert life.credits == 1000


def a_restless_customer() -> Shop:
    """Up, down, up again, by the year, down within it, refunded in part, and a credit note."""
    shop = Shop(now=MARCH, account_id=1, basil=True)
    starter, scale = shop.price(), shop.price("scale", unit=22_900)
    annual = shop.price("scale", unit=229_000, interval="year")
    small = shop.price("starter", unit=89_000, interval="year")
    for price in (starter, scale, annual, small):
        shop.event("price.created", price)
    shop.settles(shop.line(starter, start=MARCH, end=APRIL))
    for number, (old, new) in enumerate([(starter, scale), (scale, starter), (starter, scale)]):
        shop.now = MARCH + HOUR * (number + 1)
        shop.settles(*shop.change((old, 1), (new, 1), at=shop.now, start=MARCH, end=APRIL))
    shop.now = MARCH + 240 * HOUR
    rest = shop.change((scale, 1), (None, 0), at=shop.now, start=MARCH, end=APRIL)
    until = NEXT_MARCH + 240 * HOUR
    bought = shop.settles(*rest, shop.line(annual, start=shop.now, end=until))
    begun, shop.now = shop.now, shop.now + HOUR
    shop.settles(*shop.change((annual, 1), (small, 1), at=shop.now, start=begun, end=until))
    shop.refunds(shop.charges[1], 5000)
    note = shop.credit_note(bought, 1000, customer_balance_transaction="cbtxn_1")
    shop.event("credit_note.created", note)
    shop.now += HOUR
    shop.settles(shop.line(starter, start=shop.now, end=APRIL), subscription="sub_2")
    return shop


def a_silent_customer() -> Shop:
    """Down without an invoice, up with one, down with one, silently further down, and up."""
    shop = Shop(now=MARCH, account_id=1, basil=True)
    starter, scale = shop.price(), shop.price("scale", unit=22_900)
    double = (starter, 2)
    for price in (starter, scale):
        shop.event("price.created", price)
    shop.settles(shop.line(scale, start=MARCH, end=APRIL))
    changes = [((starter, 1), (scale, 1)), ((scale, 1), double), ((starter, 1), (scale, 1))]
    for day, (old, new) in zip((5, 12, 29), changes, strict=True):
        shop.now = MARCH + day * 24 * HOUR
        shop.settles(*shop.change(old, new, at=shop.now, start=MARCH, end=APRIL))
    shop.now = MARCH + 30 * 24 * HOUR
    shop.settles(shop.line(starter, start=shop.now, end=MAY), subscription="sub_2")
    return shop


def end_of(events) -> tuple:
    empty_database()
    ledger = Ledger()
    ledger.go_to(2026, 4, 20)
    ledger.plan("scale", included_credits=4000)
    ledger.open_account("acme", status="trial", plan="starter", id=1)
    stripe = Stripe(ledger)
    stripe.deliver(*events)
    ledger.pass_time(hours=7)
    stripe.sweep()
    ledger.sweep()
    now = stripe.end_state("acme")
    ledger.go_to(2026, 5, 12)
    stripe.drip()
    ledger.sweep()
    with transaction() as ctx:
        columns = (
            Purchase.key,
            Purchase.returned_minor,
            Purchase.moved_minor,
            Purchase.parked_minor,
        )
        moneys = [
            tuple(row) for row in ctx.session.execute(select(*columns).order_by(Purchase.key))
        ]
    return now, stripe.end_state("acme"), moneys


@pytest.mark.parametrize("customer", [a_restless_customer, a_silent_customer])
def test_any_order_and_any_number_of_deliveries_end_in_the_same_credits_and_money(
    database, customer
):
    events = customer().events
    in_order = end_of(events)
    assert not any(in_order[0]["audit"].values())

    for _ in range(4):
        seed = random.randrange(2**32)
        assert end_of(shuffled(events, seed)) == in_order, seed
