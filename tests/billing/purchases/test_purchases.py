"""A purchase gives each of its lots once and in its time, and ends the credit cycle it replaces."""

import datetime as dt

import pytest
from sqlalchemy import insert, update

from billing.errors import BalanceTooLarge
from billing.host import funding
from billing.ledger.ledger import MAX_BALANCE
from billing.purchases import clawbacks, purchases
from billing.purchases.money import PaymentState, PurchaseMoney, Return
from billing.purchases.purchases import Bought
from models.purchases import Purchase
from models.stripe import StripeObject
from tests.billing.purchases.conftest import APRIL, MARCH, MAY, day
from worker.database import transaction

SECOND = dt.timedelta(seconds=1)
CANCELLED = {
    "id": "sub_1",
    "kind": "subscription",
    "facts": {"status": "canceled"},
    "version_at": MARCH,
    "recorded_at": MARCH,
    "rank": [0],
    "digest": b"",
}


@pytest.mark.parametrize(
    ("start", "end", "months"),
    [
        pytest.param(MARCH, APRIL, 1, id="a month of 31 days"),
        pytest.param(day(2, 28), day(3, 31), 1, id="from the last of February to that of March"),
        pytest.param(day(2, 1), MARCH, 1, id="a month of 28 days"),
        pytest.param(MARCH, day(3, 4), 1, id="a few days"),
        pytest.param(MARCH, day(3, 1, year=2027), 12, id="a year"),
        pytest.param(day(3, 1, year=2027), day(3, 1, year=2028), 12, id="a leap year"),
        pytest.param(MARCH, day(6, 1), 3, id="a quarter"),
    ],
)
def test_a_period_has_as_many_lots_as_months_and_at_least_one(start, end, months):
    assert purchases.months_of(start, end) == months


@pytest.mark.parametrize(
    ("plan_id", "ends_at", "lots"),
    [
        pytest.param(7, day(3, 1, year=2027), 12, id="a plan for a year"),
        pytest.param(None, day(3, 1, year=2027), 1, id="a pack for a year"),
        pytest.param(None, None, 1, id="a top-up"),
    ],
)
def test_the_credits_of_a_plan_come_by_the_month_and_those_of_a_pack_at_once(
    plan_id, ends_at, lots
):
    bought = Bought("k", 1, "in_1", "plan", 1000, MARCH, ends_at=ends_at, plan_id=plan_id)

    assert bought.lots == lots


def test_a_plan_that_is_paid_for_ends_the_credits_of_the_cycle_and_no_others(till, ledger):
    ledger.seed("acme")
    ledger.pass_time(days=2)
    ledger.grant("acme", 50, key="gift", expires_at=APRIL)

    till.buys(starts_at=day(3, 2), ends_at=day(4, 2))

    assert till.lots() == [("plan", 1000, 0, day(4, 2)), ("goodwill", 50, 0, APRIL)]
    assert ledger.cycle("acme").ended_at == ledger.now
    assert ledger.audit().agrees


@pytest.mark.parametrize(
    "terms",
    [
        pytest.param({"plan": None}, id="a top-up"),
        pytest.param({"plan": None, "ends_at": MAY}, id="a recurring pack"),
        pytest.param({"starts_at": day(2, 1), "ends_at": MARCH}, id="a month that is over"),
    ],
)
def test_what_funds_no_plan_now_leaves_the_credit_cycle_running(till, ledger, terms):
    ledger.seed("acme")

    till.buys(**terms)
    ledger.sweep()

    assert ledger.cycle("acme").ended_at is None
    assert ("plan", 1000, 0, APRIL) in till.lots()


def test_a_second_purchase_leaves_the_credits_of_the_first(till, ledger):
    ledger.seed("acme")
    till.buys()
    ledger.pass_time(days=1)

    till.buys(key="more", credits=500)

    assert till.lots() == [("plan", 1000, 0, APRIL), ("plan", 500, 0, APRIL)]


def test_a_purchase_after_a_cycle_began_anew_leaves_what_was_bought_before(till, ledger):
    ledger.seed("acme")
    ledger.now = day(3, 2)
    till.buys(starts_at=day(3, 2), ends_at=day(4, 2))
    ledger.now = day(3, 3)
    ended = PurchaseMoney(0, 0, 0, kept=100, lost=0, returns=(Return(ledger.now, 1000, 0),), gone=0)
    till.settles(moved={till.purchase().id: ended})
    with transaction() as ctx:
        ctx.session.execute(insert(StripeObject).values(**CANCELLED, account_id=ledger.ids["acme"]))
    ledger.repair()
    assert ledger.cycle("acme").ended_at is None

    till.buys(key="more", credits=500, starts_at=day(3, 3), ends_at=day(4, 3))

    assert till.lots() == [("plan", 1000, 0, day(4, 2)), ("plan", 500, 0, day(4, 3))]


def test_the_credits_of_a_cycle_that_a_hold_has_stay_with_the_hold(till, ledger):
    ledger.seed("acme")
    till.holds(1000)

    till.buys(starts_at=day(3, 1, 1), ends_at=day(4, 1, 1))

    assert till.lots()[0] == ("plan", 1000, 1000, APRIL)


def test_a_lot_is_given_from_its_moment_on_and_dated_by_it(till, ledger):
    till.buys(ends_at=MAY)
    ledger.now = APRIL - SECOND
    till.gives_due()
    before = len(ledger.see("acme").entries)
    ledger.now = APRIL
    till.gives_due()
    ledger.now = APRIL + 5 * SECOND
    till.buys(key="late", starts_at=MARCH, ends_at=MAY)

    entries = ledger.see("acme").entries
    assert before == 1
    assert [entry.happened_at for entry in entries] == [MARCH, APRIL, MARCH, APRIL]
    assert {entry.reference for entry in entries} == {"in_p", "in_late"}


def test_the_last_lot_ends_with_the_purchase_and_the_others_after_a_month(till, ledger):
    till.buys(starts_at=day(1, 31), ends_at=day(4, 10))
    till.buys(key="pack", plan=None, credits=5)

    assert till.lots() == [
        ("plan", 1000, 0, day(2, 28)),
        ("plan", 1000, 0, day(4, 10)),
        ("top_up", 5, 0, None),
    ]


def test_a_month_that_is_partly_refunded_gives_the_rest(till, ledger):
    till.buys(ends_at=day(6, 1))
    till.settles(paid=300, returned=150)

    ledger.now = APRIL
    till.gives_due()
    ledger.now = MAY
    till.gives_due()

    granted = [entry.amount for entry in ledger.see("acme").entries]
    assert granted == [1000, 500]
    assert till.purchase().next_due_at is None


def test_a_first_lot_that_does_not_fit_refuses_the_purchase(till, ledger):
    ledger.open_account("rich", credits=MAX_BALANCE - 999)

    with pytest.raises(BalanceTooLarge):
        till.buys("rich")


def test_a_later_lot_that_does_not_fit_is_tried_again_the_next_day(till, ledger):
    ledger.open_account("rich", credits=MAX_BALANCE - 1999)
    till.buys("rich", ends_at=MAY)
    ledger.now = APRIL
    till.gives_due()
    waits_until = till.purchase().next_due_at

    ledger.sweep()
    ledger.now = APRIL + dt.timedelta(days=1)
    till.gives_due()

    assert waits_until == ledger.now
    assert ("plan", 1000, 0, MAY) in till.lots("rich")


def test_of_the_purchases_by_transfer_the_one_that_runs_longest_counts(till, ledger):
    till.buys(key="short", origin="billing:invoice:1")
    till.buys(key="longest", origin="billing:invoice:2", ends_at=MAY)
    till.buys(key="card", origin="in_9", ends_at=day(6, 1))
    till.buys(key="pack", origin="billing:invoice:3", plan=None, ends_at=day(7, 1))
    till.buys(key="first", origin="billing:invoice:4", ends_at=day(4, 2))
    ledger.open_account("other")
    till.buys("other", key="over", origin="billing:invoice:5", starts_at=day(2, 1), ends_at=MARCH)

    with transaction() as ctx:
        paid = purchases.paid_by_transfer(ctx.at(ledger.now), ledger.ids.values())

    assert {account_id: bought.key for account_id, bought in paid.items()} == {
        ledger.ids["acme"]: "line:longest"
    }


def test_purchases_are_read_oldest_first_by_payment_and_by_account(till, ledger):
    ledger.open_account("other")
    for key, slug, origin in (("z", "acme", "in_2"), ("a", "other", "in_1"), ("m", "acme", "in_1")):
        till.buys(slug, key=key, origin=origin, plan=None)

    with transaction() as ctx:
        lists = [
            purchases.of_origins(ctx.session, ["in_1", "in_2"]),
            purchases.of_origins(ctx.session, ["in_1"]),
            purchases.of_account(ctx.session, ledger.ids["acme"]),
        ]
        keys = [[bought.key for bought in bought_list] for bought_list in lists]
    assert keys == [["line:z", "line:a", "line:m"], ["line:a", "line:m"], ["line:z", "line:m"]]


def test_a_lot_whose_key_is_taken_is_not_given_again(till, ledger):
    till.buys(ends_at=day(6, 1))
    ledger.now = MAY
    till.gives_due()
    with transaction() as ctx:
        ctx.session.execute(update(Purchase).values(given=0, next_due_at=MARCH))

    till.gives_due()

    assert [entry.amount for entry in ledger.see("acme").entries] == [1000] * 3
    assert till.purchase().given == 3


def test_what_a_payment_gave_and_took_is_seen_within_its_transaction(till, ledger):
    line = {"account_id": ledger.ids["acme"], "plan_id": ledger.plan(), "credits": 1000}
    line |= {"key": "line:p", "origin": "in_p", "source": "plan"}
    with transaction() as ctx:
        at = ctx.at(ledger.now)
        bought = purchases.open_all(at, [Bought(**line, starts_at=MARCH, ends_at=MAY)])
        rows = ctx.session.connection().exec_driver_sql("SELECT given FROM billing.purchases")
        assert rows.scalars().all() == [1]
        assert funding.way(at, ledger.ids["acme"]).card_until == MAY

        clawbacks.settle(at, bought, PaymentState(100, 100, {}))
        assert funding.way(at, ledger.ids["acme"]).card_until is None


def test_a_purchase_that_is_recorded_again_gives_nothing_and_is_not_new(till, ledger):
    line = Bought("k", ledger.ids["acme"], "in_p", "top_up", 5, MARCH)
    with transaction() as ctx:
        opened = [purchases.open_one(ctx.at(ledger.now), line) for _ in range(2)]
        is_new = [bought is not None for bought in opened]

    assert (is_new, ledger.lots("acme")) == ([True, False], {"top_up": 5})
