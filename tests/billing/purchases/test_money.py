"""The share of a purchase's credits that goes back with its money."""

import pytest

from billing.purchases import money
from billing.purchases.money import PaymentState, PurchaseMoney, Return
from models.purchases import Purchase
from tests.billing.purchases.conftest import APRIL, MARCH, MAY, day

MIDDLE_OF_MARCH = day(3, 16)


@pytest.mark.parametrize(
    ("total", "amount", "of", "credits"),
    [
        pytest.param(1000, 0, 100, 0, id="no money, no credits"),
        pytest.param(1000, 1, 300, 3, id="a part is rounded down"),
        pytest.param(1000, 299, 300, 996, id="a cent less than all is not all"),
        pytest.param(1000, 300, 300, 1000, id="all"),
        pytest.param(1000, 500, 300, 1000, id="more than all is all"),
        pytest.param(1000, 0, 0, 0, id="nothing of nothing"),
        pytest.param(1000, 1, 0, 1000, id="something of nothing is all"),
    ],
)
def test_money_takes_its_share_of_the_credits(total, amount, of, credits):
    assert money.share(total, amount, of=of) == credits


def year(**changed):
    """Twelve lots of 1000 credits from March on, of which the first two were given."""
    terms = {"id": 1, "plan_id": 7, "credits": 1000, "lots": 12, "given": 2, "withheld": 0}
    return Purchase(**terms | {"starts_at": MARCH} | changed)


def moved(*returns, lost=0, kept=100):
    """The state of a payment part of whose money moved through the customer's balance."""
    part = PurchaseMoney(0, 0, 0, kept=kept, lost=lost, returns=returns, gone=0)
    return PaymentState(100, 50, {}, moved={1: part})


def target(purchase, state):
    result = money.target_of(purchase, state)
    return result.reduced, result.cash, result.given


@pytest.mark.parametrize(
    ("changed", "state", "expected"),
    [
        pytest.param(
            {}, PaymentState(100, 50, {}), (0, 6000, 0), id="money that only went back takes cash"
        ),
        pytest.param(
            {},
            PaymentState(100, 50, {}, moved={2: PurchaseMoney(0, 0, 0, 100, 100, (), 0)}),
            (0, 6000, 0),
            id="the moved money of another purchase is no matter",
        ),
        pytest.param(
            {},
            moved(Return(MIDDLE_OF_MARCH, 400, 150)),
            (400, 0, 150 + 400),
            id="a change takes off the running lot, and off one given before it was known",
        ),
        pytest.param(
            {"withheld": 400},
            moved(Return(MIDDLE_OF_MARCH, 400, 150)),
            (400, 0, 150),
            id="a lot that was given smaller is not taken from again",
        ),
        pytest.param(
            {"withheld": 900},
            moved(Return(MIDDLE_OF_MARCH, 400, 150)),
            (400, 0, 150),
            id="a lot that was given too small does not make up for the running one",
        ),
        pytest.param(
            {},
            moved(Return(APRIL, 400, 150)),
            (400, 0, 150),
            id="the lot that begins at the change's own moment is the running one",
        ),
        pytest.param(
            {},
            moved(Return(MIDDLE_OF_MARCH, 700, 0), Return(MAY, 700, 0)),
            (1000, 0, 700),
            id="a lot loses no more than all its credits",
        ),
        pytest.param(
            {"given": 4},
            moved(Return(MIDDLE_OF_MARCH, 700, 0), Return(day(4, 2), 700, 0)),
            (1000, 0, 700 + 1000 + 1000),
            id="a later lot loses by both changes, and no more than it has",
        ),
        pytest.param(
            {"lots": 2},
            moved(Return(MIDDLE_OF_MARCH, 1000, 5000)),
            (1000, 0, 1000 + 1000),
            id="the running lots lose no more than the later ones leave",
        ),
        pytest.param(
            {"given": 1, "lots": 2},
            moved(Return(MIDDLE_OF_MARCH, 400, 200), lost=50),
            (400, 700, 200),
            id="cash takes its share of what the changes left",
        ),
        pytest.param(
            {"plan_id": None, "lots": 1, "given": 1},
            moved(Return(day(2, 1), 400, 100)),
            (400, 0, 100),
            id="a pack has no months: its change takes from the one lot alone",
        ),
    ],
)
def test_a_change_of_plan_and_cash_that_goes_back_take_each_their_part(changed, state, expected):
    assert target(year(**changed), state) == expected
