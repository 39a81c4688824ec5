"""A fall that no invoice shows gives nothing back, so undoing it gives only what is paid again."""

import pytest

from tests.billing.stripe.story import Stripe
from tests.billing.stripe.test_customer_balance import APRIL, HOUR, MARCH, MAY, NEXT_MARCH, Life
from tests.billing.stripe.writing import seconds

DAY = 24 * HOUR
LAST_DAY = APRIL - DAY


@pytest.fixture(params=["before basil", "since basil"])
def acme(request, stripe: Stripe, ledger) -> Life:
    return Life(stripe, ledger, basil=request.param == "since basil")


@pytest.fixture
def life(stripe, ledger) -> Life:
    return Life(stripe, ledger)


def again(credits, at, *, start=MARCH, end=APRIL) -> int:
    """The part of the credits for the time from `at` on."""
    return credits * (end - at) // (end - start)


def paid(life) -> int:
    return sum(charge["amount"] for charge in life.shop.charges)


def test_silent_falls_undone_on_the_last_day_give_the_days_that_were_paid_again(acme):
    acme.bills("scale")
    rises = [LAST_DAY + number * HOUR for number in range(3)]

    for at in rises:
        acme.changes("starter", "scale", at=at)

    assert paid(acme) < 22_900 + 3 * 460
    assert acme.credits == 4000 + sum(again(3000, at) for at in rises)


def test_a_silent_fall_to_a_free_plan_is_undone_for_the_days_that_were_paid_again(acme):
    acme.bills("scale")

    acme.changes("free", "scale", at=LAST_DAY)

    assert acme.credits == 4000 + again(3900, LAST_DAY)


def test_a_silent_fall_undone_at_once_gives_what_was_paid_twice(life):
    life.bills("scale")

    life.changes("starter", "scale", at=MARCH + DAY)

    assert paid(life) == 22_900 + 13_548
    assert life.credits == 4000 + again(3000, MARCH + DAY)


def test_a_rise_above_what_a_silent_fall_left_is_given_in_full(life):
    life.bills("growth")

    life.changes("starter", "scale", at=LAST_DAY)

    assert life.credits == 4000 + again(1000, LAST_DAY)


def test_of_a_year_a_silent_fall_is_undone_for_the_months_that_were_paid_again(life):
    life.bills("scale annual", end=NEXT_MARCH)
    june, middle = seconds(2026, 6, 1), seconds(2026, 6, 10)
    life.at(june + HOUR)

    life.changes("starter annual", "scale annual", at=middle, end=NEXT_MARCH)

    # Nine lots of 3,000 beside those of the year, for some eight and two thirds months.
    lot = 3000 - (3000 - 3000 * (NEXT_MARCH - middle) * 12 // ((NEXT_MARCH - MARCH) * 9))
    assert life.credits == 4000 + lot
    assert life.at(seconds(2026, 7, 1) + HOUR).credits == 4000 + lot


def test_a_smaller_quantity_that_no_invoice_shows_is_a_silent_fall(life):
    life.bills("starter", quantity=3)
    starter = life.price("starter")

    life.at(LAST_DAY)
    life.settles(*life.shop.change((starter, 1), (starter, 3), at=LAST_DAY, start=MARCH, end=APRIL))

    assert life.credits == 3000 + again(2000, LAST_DAY)


def test_a_silent_fall_of_a_pack_is_undone_for_the_days_that_were_paid_again(life):
    pack = life.shop.price(unit=2500, credits="500") | {
        "recurring": {"interval": "month", "interval_count": 1},
        "type": "recurring",
    }
    life.settles(
        life.shop.line(life.price("starter"), start=MARCH, end=APRIL),
        life.shop.line(pack, start=MARCH, end=APRIL, quantity=3),
    )

    life.at(LAST_DAY)
    life.settles(*life.shop.change((pack, 1), (pack, 3), at=LAST_DAY, start=MARCH, end=APRIL))

    assert life.credits == 1000 + 1500 + again(1000, LAST_DAY)


def test_a_rise_of_one_of_two_items_leaves_the_other_alone(life):
    starter, growth = life.price("starter"), life.price("growth")
    lines = [life.shop.line(price, start=MARCH, end=APRIL) for price in (starter, growth)]
    life.settles(*lines)

    life.changes("growth", "scale", at=LAST_DAY)

    assert life.credits == 1000 + 2000 + 2000


def test_a_fall_that_an_invoice_shows_and_one_that_none_does_are_both_undone(life):
    life.bills("scale")
    life.changes("growth", "starter", at=MARCH + DAY)

    life.changes("starter", "scale", at=LAST_DAY)

    assert life.credits == 4000 + again(2000, LAST_DAY)


@pytest.mark.parametrize(("fallen", "back"), [("growth", 13_900), ("starter", 8900)])
def test_what_an_end_after_a_silent_fall_gives_back_takes_its_share_of_the_whole(
    life, fallen, back
):
    life.bills("scale", quantity=2)
    middle = (MARCH + APRIL) // 2
    lines = life.shop.change((life.price(fallen), 2), (None, 0), at=middle, start=MARCH, end=APRIL)
    life.at(middle).settles(*lines)
    parked = life.credits

    life.bills("starter", start=middle, end=APRIL, quantity=2, subscription="sub_2")

    assert (parked, life.shop.charges[-1]["amount"]) == (8000, 17_800 - back)
    assert life.credits == 8000 - 8000 * back // (2 * 22_900) + 2000


def test_a_fall_to_a_free_plan_after_a_silent_one_takes_its_share_of_the_whole(life):
    life.bills("scale")
    middle = (MARCH + APRIL) // 2
    life.changes("growth", "free", at=middle)

    life.bills("starter", start=middle, end=APRIL, subscription="sub_2")

    assert life.credits == 4000 - 4000 * 6950 // 22_900 + 1000


def test_money_that_bought_the_same_plan_again_takes_no_share_of_the_whole(life):
    life.bills("scale")
    life.changes("growth", "free", at=MARCH + DAY)
    life.changes("free", "growth", at=MARCH + DAY + HOUR)
    life.changes("growth", None, at=LAST_DAY)

    life.bills("starter", start=LAST_DAY, end=APRIL, subscription="sub_2")

    assert 4000 - again(4000, LAST_DAY) + 1000 <= life.credits < 5000


def test_a_new_period_knows_nothing_of_the_silent_fall_in_the_last_one(life):
    life.bills("scale")
    life.at(APRIL).bills("starter", start=APRIL, end=MAY)
    life.at(APRIL + HOUR)

    life.changes("starter", "scale", at=MAY - DAY, start=APRIL, end=MAY)

    assert life.credits == 4000


def test_a_fall_and_a_rise_in_one_invoice_count_from_the_time_of_the_fall(life):
    life.bills("scale")
    life.spends(4000)
    fall, rise = MARCH + 10 * DAY, MARCH + 30 * DAY
    change = life.shop.change
    starter, growth, scale = [life.price(plan) for plan in ("starter", "growth", "scale")]
    lines = [
        *change((scale, 1), (starter, 1), at=fall, start=MARCH, end=APRIL),
        *change((starter, 1), (growth, 1), at=rise, start=MARCH, end=APRIL),
    ]
    life.at(rise).settles(*lines)

    life.at(APRIL).bills("growth", start=APRIL, end=MAY)

    # 2,000 credits were too many for 21 of 31 days, and all of their money paid for April.
    assert life.shop.balance == 0
    assert life.credits == 2000 - 1355
