"""The main app's CreditCostConfig rows override our defaults."""

import datetime as dt

import pytest
from sqlalchemy import delete, insert, text

from billing.errors import UnknownOperation
from billing.usage import prices
from models.host import CreditCostConfig
from worker.database import transaction


def set_price(operation, **columns):
    with transaction() as session:
        session.execute(insert(CreditCostConfig).values(operation=operation, **columns))


def test_a_row_overrides_a_default(books):
    books.open_account("acme", credits=100)
    set_price("image_generation", credits_per_unit=7)

    assert books.debit("acme", "image_generation", units=2, key="k").entry.amount == -14


def test_a_row_adds_an_operation(books):
    books.open_account("acme", credits=100)
    set_price("translation", credits_per_unit=3, units_per_price=1000)

    assert books.debit("acme", "translation", units=1001, key="k").entry.amount == -6


def test_an_operation_may_be_free(books):
    books.open_account("acme", credits=0)
    set_price("clustering", credits_per_unit=0, is_fixed=True)

    assert books.debit("acme", "clustering", key="k").entry.amount == 0


@pytest.fixture
def books(books):
    """A change of price counts from the moment it is made, by the database's clock."""
    books.now = dt.datetime.now(dt.UTC) + dt.timedelta(hours=1)
    return books


@pytest.mark.parametrize(
    "columns",
    [
        pytest.param({"credits_per_unit": 5, "is_active": False}, id="switched off"),
        pytest.param({"credits_per_unit": -5}, id="a negative price would give credits away"),
        pytest.param({"credits_per_unit": 5, "units_per_price": 0}, id="a price per no units"),
    ],
)
def test_an_operation_without_a_sound_price_is_unknown(books, columns):
    books.open_account("acme", credits=100)
    set_price("clustering", **columns)

    assert books.debit("acme", "clustering", key="k").error.name == "UnknownOperation"


def test_a_price_changed_today_does_not_reprice_what_happened_yesterday(books):
    books.open_account("acme", credits=100)
    set_price("clustering", credits_per_unit=50, is_fixed=True)
    yesterday = books.now - dt.timedelta(days=1)

    old = books.debit("acme", "clustering", key="old", happened_at=yesterday)
    new = books.debit("acme", "clustering", key="new")

    assert (old.entry.amount, new.entry.amount) == (-10, -50)


def test_a_time_to_come_is_priced_as_now(books):
    books.open_account("acme", credits=100)

    tomorrow = books.now + dt.timedelta(days=1)
    answer = books.debit("acme", "clustering", key="k", happened_at=tomorrow)

    assert answer.entry.happened_at == books.now


def test_removing_a_row_brings_the_default_back(books):
    books.open_account("acme", credits=100)
    set_price("clustering", credits_per_unit=50, is_fixed=True)
    with transaction() as session:
        session.execute(delete(CreditCostConfig))

    assert books.debit("acme", "clustering", key="k").entry.amount == -10


def test_sql_and_python_read_the_same_price(books):
    set_price("clustering", credits_per_unit=3, units_per_price=7)
    set_price("image_generation", credits_per_unit=3, is_active=False)
    with transaction() as session:
        book = prices.load(session)
        for operation in ("clustering", "content_generation", "image_prompt_extraction", "none"):
            for units in (1, 7, 8, 99, 100, 101, 1_000_000):
                in_sql = session.execute(
                    text("SELECT billing.price_of(:operation, :units, :at)"),
                    {"operation": operation, "units": units, "at": books.now},
                ).scalar()
                try:
                    in_python = book.cost(operation, units, at=books.now)
                except UnknownOperation:
                    in_python = None
                assert in_sql == in_python
