"""Amounts, currencies and dates: read exactly, or refused."""

from datetime import date
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from billing.statements.camt.fields import iso_day
from billing.statements.dates import compact_day, entry_day, separated_day, swift_day
from billing.statements.delimited.numbers import read_number
from billing.statements.errors import (
    AmountTooLarge,
    AmountTooPrecise,
    BadAmount,
    BadCurrency,
    MoneyRefused,
)
from billing.statements.money import (
    MAX_MINOR,
    currency_exponent,
    minor_of,
    plain_decimal,
    signed_minor,
    to_minor,
)
from billing.statements.plain import shown_amount

EXPONENTS = st.sampled_from([0, 2, 3])
MINOR = st.integers(min_value=0, max_value=MAX_MINOR)


def printed(minor, exponent, *, decimal=".", group=""):
    digits = str(minor).rjust(exponent + 1, "0")
    whole, rest = (digits[:-exponent], digits[-exponent:]) if exponent else (digits, "")
    grouped = f"{int(whole):,}".replace(",", group) if group else whole
    return grouped + (decimal + rest if exponent else "")


@given(minor=MINOR, exponent=EXPONENTS)
def test_a_printed_amount_reads_back_the_same(minor, exponent):
    assert to_minor(printed(minor, exponent), exponent=exponent, position="") == minor


@given(
    minor=st.integers(0, 10**14),
    exponent=EXPONENTS,
    group=st.sampled_from([".", "'", " ", "\u00a0", "\u202f"]),
)
def test_grouped_numbers_read_back_the_same(minor, exponent, group):
    text = printed(minor, exponent, decimal=",", group=group)

    assert to_minor(text, exponent=exponent, position="", decimal=",", group=group) == minor


@given(minor=st.integers(-(10**14), 10**14), brackets=st.booleans())
def test_table_cells_read_back_the_same(minor, brackets):
    text = printed(abs(minor), 2, group=",")
    signed = text if minor >= 0 else f"({text})" if brackets else f"-{text}"

    assert read_number(signed, exponent=2, decimal=".", group=",", position="") == minor


@given(minor=st.integers(-MAX_MINOR, MAX_MINOR), sign=st.sampled_from(["front", "behind"]))
def test_a_sign_may_come_before_or_after_the_digits(minor, sign):
    text = printed(abs(minor), 2)
    mark = "-" if minor < 0 else "+"

    assert (
        signed_minor(
            f"{mark}{text}" if sign == "front" else f"{text}{mark}", exponent=2, position=""
        )
        == minor
    )


@given(text=st.text(max_size=40), exponent=EXPONENTS)
def test_any_text_is_a_number_of_ascii_digits_or_refused(text, exponent):
    try:
        minor = to_minor(text, exponent=exponent, position="here")
    except MoneyRefused:
        return

    assert set(text) <= set("0123456789.")
    assert Decimal(text) == Decimal(minor) / 10**exponent


@given(text=st.text(alphabet="0123456789.,' +-()\u0661\uff11_eE$", max_size=24))
def test_any_table_cell_is_a_number_or_refused(text):
    try:
        minor = read_number(text, exponent=2, decimal=".", group=",", position="here")
    except MoneyRefused:
        return

    assert isinstance(minor, int)
    assert str(abs(minor)).lstrip("0") in "".join(char for char in text if char.isdigit()) + "00"


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("", BadAmount),
        (".", BadAmount),
        (" 1", BadAmount),
        ("1 ", BadAmount),
        ("0x10", BadAmount),
        ("1.000000", BadAmount),
        ("1.2.3", BadAmount),
        ("1.005", AmountTooPrecise),
        ("9" * 18, AmountTooLarge),
        ("9" * 19, BadAmount),
    ],
)
def test_each_refusal_has_its_name(text, error):
    with pytest.raises(error):
        to_minor(text, exponent=2, position="")


@given(
    minor=MINOR,
    sign=st.sampled_from(["", "+"]),
    zeros=st.text("0", max_size=9),
    after=st.text("0", max_size=9),
)
def test_every_form_of_an_xs_decimal_reads_as_the_same_amount(minor, sign, zeros, after):
    for text in {printed(minor, 2), printed(minor, 2).lstrip("0").rstrip("0")} - {"."}:
        assert minor_of(plain_decimal(f"{sign}{zeros}{text}{after}"), "EUR", "") == minor


@pytest.mark.parametrize(
    ("text", "minor"),
    [(".5", 50), ("+5.00", 500), ("5.", 500), ("-0.00", 0), ("007", 700), ("8.8500000000", 885)],
)
def test_an_xs_decimal_may_leave_out_and_fill_in_digits(text, minor):
    assert minor_of(plain_decimal(text), "EUR", "") == minor


@pytest.mark.parametrize(
    "text", ["-5.00", "++5", "5.0.0", ".", "+", "", "1e3", "5,00", "INF", "\uff15", "0" * 70]
)
def test_a_text_that_is_no_positive_xs_decimal_is_no_amount(text):
    with pytest.raises(BadAmount):
        minor_of(plain_decimal(text), "EUR", "")


@pytest.mark.parametrize(
    ("code", "exponent"), [("JPY", 0), ("EUR", 2), ("DEM", 2), ("KWD", 3), ("QQQ", 2)]
)
def test_a_currency_has_its_decimals(code, exponent):
    assert currency_exponent(code, "") == exponent


@pytest.mark.parametrize("code", ["eur", "EU", "", "EUR ", "CLF", "\uff25\uff35\uff32"])
def test_an_unsupported_currency_is_refused(code):
    with pytest.raises(BadCurrency):
        currency_exponent(code, "")


@pytest.mark.parametrize(
    ("minor", "currency", "shown"),
    [
        (-1250, "EUR", "-12.50 EUR"),
        (5, "EUR", "0.05 EUR"),
        (7, "JPY", "7 JPY"),
        (1, "BHD", "0.001 BHD"),
        (0, "EUR", "0.00 EUR"),
    ],
)
def test_people_see_amounts_as_they_write_them(minor, currency, shown):
    assert shown_amount(minor, currency) == shown


@given(day=st.dates(date(1980, 1, 1), date(2079, 12, 31)))
def test_days_read_back_the_same_in_every_form(day):
    assert iso_day(day.isoformat()) == day
    assert swift_day(day.strftime("%y%m%d")) == day
    assert compact_day(day.strftime("%Y%m%d")) == day
    assert separated_day(day.strftime("%d.%m.%Y"), "dmy") == day
    assert separated_day(day.strftime("%m/%d/%y"), "mdy") == day


@given(value=st.dates(date(1990, 1, 1), date(2070, 1, 1)), days=st.integers(-180, 180))
def test_an_entry_day_is_found_around_any_value_day(value, days):
    booked = date.fromordinal(value.toordinal() + days)

    assert entry_day(booked.strftime("%m%d"), value) == booked


@pytest.mark.parametrize(
    "text",
    [
        "2026-02-30",
        "2026-1-1",
        "2026-01-01x",
        "20260101",
        "",
        "\u0662026-01-01",
        "2026-01-01T",
        "0000-00-00",
    ],
)
def test_a_text_that_is_no_day_is_none(text):
    assert iso_day(text) is None
