"""BAI2 files: read, held, or refused by the library and by us."""

from datetime import date

import pytest

from billing.statements.bai2 import reader
from billing.statements.canonical import Family
from billing.statements.errors import BadLine, Bai2Refused, FileTooLarge, Truncated
from tests.billing.statements.writing import bai2, only, reasons

CREDIT = "16,195,1000,Z,BANK1,INV-1,Wire from Payer/"
DEBIT = "16,495,400,Z,BANK2,,Wire to Supplier/"


def test_a_right_file_is_read_and_balanced():
    statement = only(bai2(CREDIT, DEBIT, closing="10600"))

    assert (statement.format, statement.family, statement.currency) == (
        "BAI2",
        Family.STATEMENT,
        "USD",
    )
    assert (statement.account.other, statement.account.bank) == ("12345", "BANK")
    assert (statement.opening.amount_minor, statement.closing.amount_minor) == (10_000, 10_600)
    assert not statement.is_held
    assert all(check.agrees for check in statement.checks)
    came, went = statement.entries
    assert (came.amount_minor, went.amount_minor) == (1000, -400)
    assert (came.booking_date, came.bank_reference, came.customer_reference) == (
        date(2026, 1, 31),
        "BANK1",
        "INV-1",
    )
    assert (came.type_code, came.only_detail.remittance) == ("195", ("Wire from Payer",))


def test_an_unbalanced_account_is_held_with_the_difference():
    read = only(bai2(CREDIT, closing="10600"))

    assert [(hold.reason.value, hold.difference_minor) for hold in read.holds] == [
        ("balance_mismatch", 400)
    ]


def test_a_wrong_control_total_holds_with_the_difference():
    read = only(bai2(CREDIT, account_total=11_001))

    assert ("control_total", -1) in [
        (hold.reason.value, hold.difference_minor) for hold in read.holds
    ]


def test_a_wrong_number_of_records_holds():
    assert "control_total" in reasons(only(bai2(CREDIT, records_in_account=9)))


def test_the_group_gives_the_currency_when_the_account_has_none():
    assert only(bai2(CREDIT, currency="").replace("2359,USD", "2359,CAD")).currency == "CAD"


@pytest.mark.parametrize(("currency", "shown"), [("JPY", 1000), ("BHD", 1000), ("USD", 1000)])
def test_amounts_are_minor_units_of_the_currency_already(currency, shown):
    assert only(bai2(CREDIT, currency=currency)).entries[0].amount_minor == shown


def test_a_report_of_the_running_day_is_a_report():
    assert only(bai2(CREDIT).replace("USD,2/", "USD,3/")).family is Family.REPORT


def test_a_test_group_is_held():
    assert reasons(only(bai2(CREDIT).replace("02,US,BANK,1", "02,US,BANK,4"))) == ["family_doubt"]


def test_commas_slashes_and_continuations_keep_all_of_the_text():
    read = only(
        bai2(
            "16,195,1000,Z,BANK1,,Invoice 08/18/23, part one of a ref",
            "88,erence, and more/",
            records_in_account=4,
        )
    )

    assert read.entries[0].only_detail.remittance == (
        "Invoice 08/18/23, part one of a ref",
        "erence, and more",
    )


@pytest.mark.parametrize(
    ("funds", "value"),
    [
        ("S,100,200,700", None),
        ("V,260203,", date(2026, 2, 3)),
        ("D,2,0,400,1,600", None),
        ("0", None),
    ],
)
def test_funds_types_do_not_shift_the_references(funds, value):
    [read_entry] = only(bai2(f"16,195,1000,{funds},BANK1,INV-1,Text/")).entries

    assert (read_entry.bank_reference, read_entry.customer_reference, read_entry.value_date) == (
        "BANK1",
        "INV-1",
        value,
    )


@pytest.mark.parametrize("amount", ["1_000", "-1000", "\uff11000", "10.00", "1e3", "9" * 30])
def test_an_amount_that_is_no_plain_number_holds_with_what_is_missing(amount):
    file = bai2("16,195,1000,Z,,,x/", DEBIT, closing="10600", records_in_account=4)

    read = only(file.replace("195,1000", f"195,{amount}"))

    assert [read_entry.amount_minor for read_entry in read.entries] == [-400]
    assert [(hold.reason.value, hold.difference_minor) for hold in read.holds][:3] == [
        ("row_not_read", None),
        ("control_total", -1000),
        ("balance_mismatch", -1000),
    ]
    assert "line 4" in read.holds[0].says


@pytest.mark.parametrize("place", ["03,12345,USD,010,1_0000", "49,1_000"])
def test_totals_that_python_would_read_generously_refuse_the_file(place):
    start = place[:3]
    text = "\n".join(
        place if line.startswith(start) else line for line in bai2(CREDIT).splitlines()
    )

    with pytest.raises(BadLine):
        only(text)


@pytest.mark.parametrize("record", ["49", "98"])
def test_a_missing_trailer_is_refused(record):
    text = "\n".join(line for line in bai2(CREDIT).splitlines() if not line.startswith(record))

    with pytest.raises(Bai2Refused):
        only(text)


def test_several_records_on_one_line_are_refused():
    with pytest.raises(Bai2Refused):
        only(bai2(CREDIT).replace("USD,2/\n03", "USD,2/ 03"))


def test_a_file_beyond_the_limit_is_refused(monkeypatch):
    monkeypatch.setattr(reader, "MAX_BAI2_BYTES", 10)

    with pytest.raises(FileTooLarge):
        only(bai2(CREDIT))


@pytest.mark.parametrize("records", [3, 4, 6])
def test_a_file_without_its_last_record_is_refused_and_not_read_for_ever(records):
    text = "\n".join(bai2(CREDIT).splitlines()[:records])

    with pytest.raises(Truncated):
        only(text)
