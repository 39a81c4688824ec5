"""The main app's CreditCostConfig rows override our defaults."""

import datetime as dt

import pytest
from sqlalchemy import delete, insert, text, update

from billing.errors import UnknownOperation
from billing.usage import prices
from models.host import CreditCostConfig
from worker.database import transaction


def set_price(operation, **columns):
    with transaction() as ctx:
        ctx.session.execute(insert(CreditCostConfig).values(operation=operation, **columns))


def test_a_row_overrides_a_default(ledger):
    ledger.open_account("acme", credits=100)
    set_price("image_generation", credits_per_unit=7)

    assert ledger.debit("acme", "image_generation", units=2, key="k").entry.amount == -14


def test_a_row_adds_an_operation(ledger):
    ledger.open_account("acme", credits=100)
    set_price("translation", credits_per_unit=3, units_per_price=1000)

    assert ledger.debit("acme", "translation", units=1001, key="k").entry.amount == -6


def test_an_operation_may_be_free(ledger):
    ledger.open_account("acme", credits=0)
    set_price("clustering", credits_per_unit=0, is_fixed=True)

    assert ledger.debit("acme", "clustering", key="k").entry.amount == 0


@pytest.fixture
def ledger(ledger):
    """A change of price counts from the moment it is made, by the database's clock."""
    ledger.now = dt.datetime.now(dt.UTC) + dt.timedelta(hours=1)
    return ledger


@pytest.mark.parametrize(
    "columns",
    [
        pytest.param({"credits_per_unit": 5, "is_active": False}, id="switched off"),
        pytest.param({"credits_per_unit": -5}, id="a negative price would give credits away"),
        pytest.param({"credits_per_unit": 5, "units_per_price": 0}, id="a price per no units"),
    ],
)
def test_an_operation_without_a_sound_price_is_unknown(ledger, columns):
    ledger.open_account("acme", credits=100)
    set_price("clustering", **columns)

    assert ledger.debit("acme", "clustering", key="k").error.name == "UnknownOperation"


def test_a_price_changed_today_does_not_reprice_what_happened_yesterday(ledger):
    ledger.open_account("acme", credits=100)
    set_price("clustering", credits_per_unit=50, is_fixed=True)
    yesterday = ledger.now - dt.timedelta(days=1)

    old = ledger.debit("acme", "clustering", key="old", happened_at=yesterday)
    new = ledger.debit("acme", "clustering", key="new")

    assert (old.entry.amount, new.entry.amount) == (-10, -50)


def test_the_first_price_of_an_operation_counts_for_the_work_that_waits_for_it(ledger):
    ledger.open_account("acme", credits=100)
    last_week = ledger.now - dt.timedelta(days=7)
    waits = ledger.debit("acme", "translation", key="k", happened_at=last_week)
    set_price("translation", credits_per_unit=3)

    replayed = ledger.debit("acme", "translation", key="k", happened_at=last_week)

    assert waits.error.name == "UnknownOperation"
    assert replayed.entry.amount == -3


def test_a_price_that_was_switched_off_leaves_the_work_since_without_one(ledger):
    ledger.open_account("acme", credits=100)
    set_price("translation", credits_per_unit=3)
    with transaction() as ctx:
        ctx.session.execute(update(CreditCostConfig).values(is_active=False))

    assert ledger.debit("acme", "translation", key="k").error.name == "UnknownOperation"


def test_a_time_to_come_is_priced_as_now(ledger):
    ledger.open_account("acme", credits=100)

    tomorrow = ledger.now + dt.timedelta(days=1)
    answer = ledger.debit("acme", "clustering", key="k", happened_at=tomorrow)

    assert answer.entry.happened_at == ledger.now


def test_removing_a_row_brings_the_default_back(ledger):
    ledger.open_account("acme", credits=100)
    set_price("clustering", credits_per_unit=50, is_fixed=True)
    with transaction() as ctx:
        ctx.session.execute(delete(CreditCostConfig))

    assert ledger.debit("acme", "clustering", key="k").entry.amount == -10


def test_sql_and_python_read_the_same_price(ledger):
    set_price("clustering", credits_per_unit=3, units_per_price=7)
    set_price("image_generation", credits_per_unit=3, is_active=False)
    with transaction() as ctx:
        balance = prices.load(ctx.session)
        for operation in ("clustering", "content_generation", "image_prompt_extraction", "none"):
            for units in (1, 7, 8, 99, 100, 101, 1_000_000):
                in_sql = ctx.session.execute(
                    text("SELECT billing.price_of(:operation, :units, :at)"),
                    {"operation": operation, "units": units, "at": ledger.now},
                ).scalar()
                try:
                    in_python = balance.cost(operation, units, at=ledger.now)
                except UnknownOperation:
                    in_python = None
                assert in_sql == in_python
