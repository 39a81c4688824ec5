"""The main app hears of low credits once, as a threshold is crossed."""

from dataclasses import fields

import pytest
from sqlalchemy import select

from billing.ledger.balance import Balance
from models.operations import OutboxEvent
from worker.database import transaction


def events():
    with transaction() as ctx:
        of_credits = select(OutboxEvent).where(OutboxEvent.type == "credits.low")
        rows = ctx.session.scalars(of_credits.order_by(OutboxEvent.id)).all()
        return [(row.type, row.payload["threshold_percent"]) for row in rows]


def balance(before, after):
    unused = dict.fromkeys([field.name for field in fields(Balance)])
    return Balance(**{**unused, "was_credits": before, "credits": after})


@pytest.mark.parametrize(
    ("before", "after", "threshold"),
    [
        pytest.param(1000, 201, None, id="above the first"),
        pytest.param(201, 200, 20, id="onto the first"),
        pytest.param(200, 199, None, id="below it already"),
        pytest.param(300, 40, 5, id="across two at once, the lower"),
        pytest.param(10, 0, 0, id="to nothing"),
        pytest.param(10, -5, 0, id="below nothing"),
        pytest.param(-5, -6, None, id="deeper into debt"),
        pytest.param(100, 900, None, id="upwards"),
    ],
)
def test_a_threshold_is_crossed_downwards_only(before, after, threshold):
    assert balance(before, after).low_balance_percent(1000) == threshold


def test_an_event_is_left_at_the_crossing_only(ledger):
    ledger.open_account("acme", credits=215)  # its plan gives 1,000 a month
    for number in range(4):
        ledger.debit("acme", "clustering", key=str(number))

    assert events() == [("credits.low", 20)]


def test_credits_that_come_and_go_cross_again(ledger):
    ledger.open_account("acme", credits=205)
    ledger.debit("acme", "clustering", key="1")
    ledger.grant("acme", 100, key="gift")
    ledger.debit("acme", "clustering", units=1, key="2")
    ledger.debit("acme", "image_generation", units=17, key="3")

    assert events() == [("credits.low", 20), ("credits.low", 20)]


def test_an_account_without_a_plan_spends_and_hears_of_no_threshold(ledger):
    ledger.open_account("acme", plan=None, credits=10)

    assert ledger.debit("acme", "clustering", key="d").outcome == "taken"

    assert events() == []
