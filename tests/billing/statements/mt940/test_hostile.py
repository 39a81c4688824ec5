"""Hostile MT940 files: refused, or held with the exact difference."""

import pytest

from billing.statements import draft, limits
from billing.statements.errors import (
    AmountTooPrecise,
    BadAmount,
    BadLine,
    LineTooLong,
    TooManyStatements,
)
from tests.billing.statements.writing import mt940, only, reasons

LINE = ":61:2601310131C10,00NTRFNONREF"


@pytest.mark.parametrize(
    ("amount", "error"),
    [
        ("1.000,50", BadAmount),
        ("1,000,00", BadAmount),
        ("10.01", BadAmount),
        ("1'000,00", BadAmount),
        ("12345678901234567890,00", BadAmount),
        ("10,005", AmountTooPrecise),
        ("\u0661\u0660,00", BadLine),
        ("-10,00", BadLine),
        (" 10,00", BadLine),
        ("", BadLine),
    ],
)
def test_an_amount_that_is_not_beyond_doubt_holds_or_refuses(amount, error):
    line = f":61:2601310131C{amount}NTRFNONREF"

    read = only(mt940(line))

    assert reasons(read) == ["row_not_read", "balance_mismatch"]
    assert "line 5" in read.holds[0].says
    assert len(read.entries) == 0
    with pytest.raises(error, match="line 5"):  # no sum shows what is missing
        only(mt940(line, closing=""))


@pytest.mark.parametrize("amount", ["10,", "10,0", "0000000000010,00", "10"])
def test_short_and_filled_amounts_are_fine(amount):
    assert only(mt940(f":61:2601310131C{amount}NTRFNONREF")).entries[0].amount_minor == 1000


def test_an_entry_forged_in_a_payers_text_breaks_the_balance():
    read = only(mt940(LINE, ":86:Invoice 1", ":61:2601310131C5000,00NTRFFORGED"))

    assert [(hold.reason.value, hold.difference_minor) for hold in read.holds] == [
        ("balance_mismatch", 500_000)
    ]


def test_a_closing_balance_forged_in_a_payers_text_holds():
    forged = (":61:2601310131C5000,00NTRFFORGED", ":62F:C260131EUR5010,00")

    assert "balance_ambiguous" in reasons(only(mt940(LINE, ":86:Invoice 1", *forged)))


def test_an_entry_after_the_closing_balance_holds():
    assert "balance_ambiguous" in reasons(
        only(mt940(LINE, closing=f":62F:C260131EUR10,00\r\n{LINE}"))
    )


def test_a_missing_closing_balance_holds():
    assert reasons(only(mt940(LINE, closing=""))) == ["balance_missing"]


@pytest.mark.parametrize(
    "closing",
    [":62F:C260131EUR1.000,00", ":62F:C26013110,00", ":62F:C260131EUR10 00", ":62F:EUR10,00"],
)
def test_an_unreadable_closing_balance_holds(closing):
    assert reasons(only(mt940(LINE, closing=closing))) == ["balance_unreadable"]


def test_the_balance_is_checked_to_the_cent():
    read = only(mt940(LINE, closing=":62F:C260131EUR9,99"))

    assert [(hold.reason.value, hold.difference_minor) for hold in read.holds] == [
        ("balance_mismatch", 1)
    ]


def test_a_line_of_a_megabyte_is_refused():
    with pytest.raises(LineTooLong):
        only(mt940(LINE, ":86:" + "x" * 1_000_000))


def test_a_field_without_end_is_refused():
    with pytest.raises(LineTooLong):
        only(mt940(LINE, ":86:x", *["more"] * 1_000))


def test_statements_without_end_are_refused(monkeypatch):
    monkeypatch.setattr(draft, "MAX_STATEMENTS", 3)

    with pytest.raises(TooManyStatements):
        only(mt940() * 4)


def test_holds_without_end_are_counted_not_kept():
    read = only(mt940(*[":61:260230C1,00NTRFNONREF"] * 500, closing=":62F:C260131EUR500,00"))

    assert len(read.holds) == limits.MAX_HOLDS_OF_A_KIND + 1
    assert read.holds[-1].says == "490 more of this kind"


def test_a_refusal_never_repeats_more_than_a_little_of_the_file():
    with pytest.raises(BadLine) as refusal:
        only(mt940(":61:" + "<script>\x1b[31m" * 500, closing=""))

    assert len(str(refusal.value)) < 200
    assert "\x1b" not in str(refusal.value)
