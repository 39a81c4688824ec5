"""Months are counted from an anchor, and an anchor's day is never forgotten."""

import datetime as dt

import pytest
from hypothesis import given
from hypothesis import strategies as st

from billing.renewal import periods

moments = st.datetimes(dt.datetime(2000, 1, 1), dt.datetime(2100, 1, 1), timezones=st.just(dt.UTC))
numbers = st.integers(0, 600)


def utc(*parts):
    return dt.datetime(*parts, tzinfo=dt.UTC)


def test_an_anchor_on_the_31st_falls_on_each_months_last_day_and_comes_back():
    anchor = utc(2027, 1, 31, 9, 30)

    days = [periods.boundary(anchor, number).strftime("%m-%d %H:%M") for number in range(6)]

    assert days == [
        "01-31 09:30",
        "02-28 09:30",
        "03-31 09:30",
        "04-30 09:30",
        "05-31 09:30",
        "06-30 09:30",
    ]


@pytest.mark.parametrize(
    ("anchor", "number", "expected"),
    [
        pytest.param(utc(2028, 1, 31), 1, utc(2028, 2, 29), id="the 31st in a leap February"),
        pytest.param(utc(2028, 2, 29), 12, utc(2029, 2, 28), id="a leap day a year later"),
        pytest.param(utc(2028, 2, 29), 48, utc(2032, 2, 29), id="a leap day four years later"),
        pytest.param(utc(2028, 2, 29), 1, utc(2028, 3, 29), id="a leap day a month later"),
        pytest.param(utc(2027, 12, 30, 23, 59), 2, utc(2028, 2, 29, 23, 59), id="over a new year"),
        pytest.param(utc(2099, 12, 31), 2, utc(2100, 2, 28), id="2100 is no leap year"),
    ],
)
def test_a_boundary_is_so_many_months_after_the_anchor(anchor, number, expected):
    assert periods.boundary(anchor, number) == expected


def test_clocks_that_change_in_the_customers_country_change_nothing():
    anchor = utc(2027, 2, 28, 2, 30)  # 2027-03-28 02:30 does not exist in Berlin

    assert periods.boundary(anchor, 1) == utc(2027, 3, 28, 2, 30)


def test_an_anchor_in_another_zone_counts_in_utc():
    berlin = dt.datetime(2027, 2, 1, 0, 30, tzinfo=dt.timezone(dt.timedelta(hours=1)))

    assert periods.boundary(berlin, 1) == utc(2027, 2, 28, 23, 30)


@given(moments, numbers)
def test_boundaries_rise_strictly(anchor, number):
    assert periods.boundary(anchor, number) < periods.boundary(anchor, number + 1)


@given(moments, numbers)
def test_a_boundary_never_drifts(anchor, number):
    found = periods.boundary(anchor, number)

    months = (found.year - anchor.year) * 12 + found.month - anchor.month
    assert months == number
    assert found.timetz() == anchor.timetz()
    is_last_day = (found + dt.timedelta(days=1)).month != found.month
    assert found.day == anchor.day or (found.day < anchor.day and is_last_day)


@given(moments, st.timedeltas(dt.timedelta(0), dt.timedelta(days=20_000)))
def test_each_moment_is_in_exactly_one_period(anchor, later):
    moment = anchor + later

    number = periods.period_at(anchor, moment)

    assert periods.boundary(anchor, number - 1) <= moment < periods.boundary(anchor, number)


@given(moments, st.integers(1, 600))
def test_a_boundary_is_the_first_moment_of_its_period(anchor, number):
    boundary = periods.boundary(anchor, number)

    assert periods.period_at(anchor, boundary) == number + 1
    assert periods.period_at(anchor, boundary - dt.timedelta(microseconds=1)) == number
