"""BAI2 files that the bai2 library refuses: continued records 03, and type codes it does not know."""

import pytest

from billing.statements.errors import Bai2Refused
from billing.statements.read import read_statements
from tests.billing.statements.writing import bai2, only, reasons

CREDIT = "16,195,1000,Z,BANK1,INV-1,Wire from Payer/"


def continued(*rows, total, count):
    """A file whose record 03 goes on in records 88, with one credit of 10.00."""
    text = bai2(CREDIT, account_total=total, records_in_account=count)
    return text.replace("03,12345,USD,010,10000,,/", "\n".join(rows))


@pytest.mark.parametrize(
    "rows",
    [
        pytest.param(
            ["03,12345,USD,010,10000,,,015,11000,,,045/", "88,11000,,/"], id="inside a summary"
        ),
        pytest.param(
            ["03,12345,USD,010/", "88,10000,,,015,11000/", "88,,,045,11000,,/"], id="anywhere"
        ),
        pytest.param(
            ["03,12345,USD/", "88,010,10000,,/", "88,015,11000,,/", "88,045,11000,,/"],
            id="at each summary",
        ),
        pytest.param(
            ["03,12345,USD,010,10000,,,/", "88,015,11000,,,/", "88,045,11000,,,/"],
            id="with a comma at each end",
        ),
        pytest.param(
            ["03,12345,USD,010,10000,,,", "88,015,11000,,,045", "88,11000,,/"], id="without a slash"
        ),
        pytest.param(
            ["03,12345,USD,010,10000,,,015,11000,,/", "88,045,11000,2,S,,1000/", "88,10000/"],
            id="with its availability",
        ),
    ],
)
def test_a_continued_account_record_is_read_whole(rows):
    read = only(continued(*rows, total=33_000, count=2 + len(rows)))

    assert not read.is_held
    assert (read.opening.amount_minor, read.closing.amount_minor) == (10_000, 11_000)
    assert [entry.amount_minor for entry in read.entries] == [1000]


def test_a_wrong_number_of_records_holds_nothing_where_every_sum_agrees():
    rows = ["03,12345,USD,010,10000,,,015,11000,,,045/", "88,11000,,/"]

    read = only(continued(*rows, total=33_000, count=9))

    assert not read.is_held
    assert any("49 records" in note for note in read.notes)


def test_a_wrong_number_of_records_holds_where_a_sum_differs():
    rows = ["03,12345,USD,010,10000,,,015,11000,,,045/", "88,11000,,/"]

    assert "control_total" in reasons(only(continued(*rows, total=33_001, count=9)))


@pytest.mark.parametrize(
    ("code", "minor"), [("920", 1000), ("959", 1000), ("960", -1000), ("999", -1000)]
)
def test_a_code_of_the_banks_own_has_the_direction_of_its_range(code, minor):
    closing = str(10_000 + minor)

    read = only(bai2(f"16,{code},1000,Z,BANK1,,Custom/", closing=closing))

    assert not read.is_held
    assert [(entry.amount_minor, entry.type_code) for entry in read.entries] == [(minor, code)]


@pytest.mark.parametrize("closing", [None, "10999"])
def test_a_direction_of_the_banks_own_that_no_balance_proves_holds(closing):
    assert only(bai2("16,925,1000,Z,BANK1,,Custom/", closing=closing)).is_held


@pytest.mark.parametrize(("code", "minor"), [("168", 1000), ("399", 1000), ("699", -1000)])
def test_a_code_that_the_library_does_not_know_has_the_direction_of_its_range(code, minor):
    [entry] = only(bai2(f"16,{code},1000,Z,,,x/", closing=str(10_000 + minor))).entries

    assert (entry.amount_minor, entry.type_code) == (minor, code)


@pytest.mark.parametrize("code", ["900", "908", "919"])
def test_a_status_of_the_banks_own_is_kept_as_text_and_is_no_money(code):
    read = only(bai2(CREDIT, f"16,{code},100,0,BR2,,as agreed/", closing="11000"))

    assert not read.is_held
    assert [entry.amount_minor for entry in read.entries] == [1000]
    [note] = read.notes
    assert code in note
    assert "as agreed" in note


def test_a_summary_of_the_banks_own_counts_in_the_control_total_alone():
    file = bai2(CREDIT, closing="11000", account_total=22_500)

    read = only(file.replace(",015,11000,,", ",015,11000,,,901,500,,"))

    assert not read.is_held
    assert len(read.entries) == 1


@pytest.mark.parametrize(
    "record",
    ["16,195,89.00,Z,B,,x/", "16,19,1000,Z,B,,x/", "16,195,1000,Q,B,,x/", "16,890,1000,Z,B,,x/"],
)
def test_a_record_that_can_not_be_read_holds_and_the_others_are_read(record):
    text = bai2(CREDIT, "16,195,1000,Z,B,,x/", closing="12000")

    read = only(text.replace("16,195,1000,Z,B,,x/", record))

    assert [entry.amount_minor for entry in read.entries] == [1000]
    assert {"row_not_read", "balance_mismatch"} <= set(reasons(read))
    assert "line 5" in read.holds[0].says


def test_the_text_of_a_record_that_can_not_be_read_goes_to_no_other():
    text = bai2("16,195,8900,Z,B,,lost", "88,and more/", CREDIT)

    [entry] = only(text.replace("195,8900", "195,89.00")).entries

    assert entry.only_detail.remittance == ("Wire from Payer",)


def test_the_other_accounts_of_the_file_are_read():
    text = bai2(CREDIT, closing="11000")
    lines = text.splitlines()
    second = [
        line.replace("03,12345", "03,67890").replace("195,1000", "195,x") for line in lines[2:5]
    ]
    file = [*lines[:5], *second, *lines[5:]]

    good, held = read_statements("\n".join(file).encode())

    assert [entry.amount_minor for entry in good.entries] == [1000]
    assert "row_not_read" in reasons(held)
    assert "row_not_read" not in reasons(good)


def test_a_record_that_makes_no_sense_still_refuses_the_file():
    with pytest.raises(Bai2Refused):
        only(bai2(CREDIT).replace("02,US,BANK,1", "02,US,BANK,7"))
