"""Guards of the BAI2 reader, each alone: sums, counts, dates, signs and funds types."""

from datetime import date

import pytest

from billing.statements.bai2.records import aligned, detail_row
from billing.statements.errors import BadLine, Truncated
from billing.statements.money import MAX_MINOR
from tests.billing.statements.writing import PAYER_IBAN, bai2, only, reasons

CREDIT = "16,195,1000,Z,BANK1,INV-1,Wire from Payer/"


def test_a_wrong_number_of_records_is_a_check_that_disagrees_and_a_note():
    read = only(bai2(CREDIT, closing="11000", records_in_account=9))

    assert not read.is_held
    assert [check.name for check in read.checks if not check.agrees] == [
        "49 records",
        "98 records",
        "99 records",
    ]
    assert len(read.notes) == 3


def test_a_wrong_number_of_records_holds_where_the_balances_differ():
    read = only(bai2(CREDIT, closing="11001", records_in_account=9))

    assert "control_total" in reasons(read)
    assert "balance_mismatch" in reasons(read)


@pytest.mark.parametrize("missing", ["010", "015"])
def test_a_wrong_number_of_records_holds_where_a_balance_is_missing(missing):
    file = bai2(CREDIT, closing="11000", records_in_account=9)

    assert "control_total" in reasons(only(file.replace(f",{missing},", ",045,")))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("98,11000,1,", "98,11001,1,"),
        ("98,11000,1,", "98,11000,2,"),
        ("99,11000,1,", "99,11001,1,"),
        ("99,11000,1,", "99,11000,2,"),
    ],
)
def test_each_total_of_a_group_and_of_the_file_is_checked(old, new):
    assert reasons(only(bai2(CREDIT))) == []
    assert set(reasons(only(bai2(CREDIT).replace(old, new)))) == {"control_total"}


def test_a_status_without_an_amount_needs_no_direction_and_one_with_an_amount_is_refused():
    quiet, loud = (bai2(CREDIT, f"16,040,{amount},Z,B,,x/") for amount in ("0", "5"))

    assert [entry.amount_minor for entry in only(quiet).entries] == [1000, 0]
    assert [entry.amount_minor for entry in only(loud).entries] == [1000]


def test_an_amount_of_zero_is_an_entry_and_one_too_large_for_the_ledger_is_none():
    assert [entry.amount_minor for entry in only(bai2(CREDIT.replace("1000", "0"))).entries] == [0]

    large = only(bai2(f"16,195,{MAX_MINOR},Z,B,,x/", CREDIT))
    assert [entry.amount_minor for entry in large.entries] == [MAX_MINOR, 1000]
    too_large = only(bai2(f"16,195,{MAX_MINOR + 1},Z,B,,x/", CREDIT))
    assert [entry.amount_minor for entry in too_large.entries] == [1000]


@pytest.mark.parametrize(("funds", "value"), [("V,260203,0900", date(2026, 2, 3)), ("Z", None)])
def test_only_value_dated_funds_have_a_value_day(funds, value):
    [entry] = only(bai2(f"16,195,1000,{funds},B,,x/")).entries

    assert (entry.value_date, entry.booking_date) == (value, date(2026, 1, 31))
    assert (entry.is_credit, entry.is_reversal, entry.currency) == (True, False, "USD")


@pytest.mark.parametrize(
    ("rows", "text"),
    [
        (["16,195,1000,Z,B,,one/"], ("one",)),
        (["16,195,1000,Z,B,,one", "88,two", "88,three/"], ("one", "two", "three")),
        (["16,195,1000,Z,B,,", "88,two/"], ("two",)),
        (["16,195,1000,Z,B,,/"], ()),
        (["16,195,1000,Z,B,,a", "88,b/"], ("a", "b")),
    ],
)
def test_the_text_keeps_its_lines_apart(rows, text):
    [entry] = only(bai2(*rows, records_in_account=2 + len(rows))).entries

    assert entry.only_detail.remittance == text


def test_placeholders_are_no_references():
    [entry] = only(bai2("16,195,1000,Z,NONREF,NOTPROVIDED,x/")).entries

    assert (entry.bank_reference, entry.customer_reference) == (None, None)


@pytest.mark.parametrize("record", ["03,12345,USD,010,1_0,,/", "49,\uff11,3/", "98,1_0,1,5/"])
@pytest.mark.parametrize("continued", [False, True])
def test_a_number_that_python_reads_generously_refuses_the_file(record, continued):
    kind = record[:2]
    rows = [row if not row.startswith(kind) else record for row in bai2(CREDIT).splitlines()]
    if continued:
        place = next(place for place, row in enumerate(rows) if row.startswith(kind))
        rows[place : place + 1] = [f"{kind},/", f"88,{record[3:]}"]

    with pytest.raises(BadLine, match="line"):
        only("\n".join(rows))


def test_the_last_record_may_be_continued_and_blank_lines_are_none():
    text = bai2(CREDIT)

    assert only(text.replace("\n49", "\n\n49")).checks == only(text).checks
    with pytest.raises(Truncated):
        only(text[: text.index("99,")])


def test_the_last_record_is_checked_for_generous_numbers_too():
    text = bai2(CREDIT)
    place = text.index("99,")

    with pytest.raises(BadLine):
        only(text[:place] + text[place:].replace("11000", "1_1000"))


def test_an_account_number_that_is_an_iban_is_one():
    read = only(bai2(CREDIT).replace("12345", PAYER_IBAN))

    assert (read.account.iban, read.account.other) == (PAYER_IBAN, None)
    assert (read.from_date, read.to_date) == (date(2026, 1, 31), date(2026, 1, 31))
    assert (read.opening.kind, read.opening.day) == ("010", date(2026, 1, 31))


@pytest.mark.parametrize(
    ("code", "known"),
    [
        ("100", "108"),
        ("399", "108"),
        ("920", "108"),
        ("959", "108"),
        ("400", "409"),
        ("699", "409"),
        ("960", "409"),
        ("999", "409"),
    ],
)
def test_a_code_that_the_library_does_not_know_is_written_as_one_of_its_direction(code, known):
    record, row = detail_row(f"16,{code},1000,Z,B,,x/", "line 1")

    if row.own_code is None:  # the library knows it
        assert record.startswith(f"16,{code},")
    else:
        assert (record[3:6], row.own_code, row.is_status, row.refusal) == (known, code, False, None)


@pytest.mark.parametrize(("code", "is_status"), [("900", True), ("919", True), ("920", False)])
def test_own_codes_below_920_are_a_status(code, is_status):
    assert detail_row(f"16,{code},1,Z,B,,x/", "line 1")[1].is_status is is_status


@pytest.mark.parametrize(
    ("code", "is_refused"), [("099", True), ("100", False), ("700", True), ("899", True)]
)
def test_a_code_without_a_direction_is_refused(code, is_refused):
    assert (detail_row(f"16,{code},1,Z,B,,x/", "line 1")[1].refusal is not None) is is_refused


@pytest.mark.parametrize(
    ("record", "is_readable"),
    [
        ("16,195,1000,V,260203,0900,B,,x/", True),
        ("16,195,1000,V,260203,,B,,x/", True),
        ("16,195,1000,V,,,B,,x/", True),
        ("16,195,1000,V,2602,,B,,x/", False),
        ("16,195,,Z,B,,x/", True),
        ("16,195,+1000,Z,B,,x/", True),
        ("16,195,1000,/", True),
        ("16,195,1000,X,B,,x/", False),
        ("16,195,1 000,Z,B,,x/", False),
    ],
)
def test_a_record_is_read_only_if_its_numbers_are_plain(record, is_readable):
    assert (detail_row(record, "line 1")[1].refusal is None) is is_readable


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        (["03,1,USD,010,5,,/", "49,5,2/"], ["03,1,USD,010,5,,", "49,5,2/"]),
        (["03,1,USD,010,5/", "88,,,015,6,,/"], ["03,1,USD,010,5,,,015,6,,", "88,"]),
        (["03,1/"], ["03,1,"]),
        (["03,1,USD,010,5,,Z,,015,6,,/"], ["03,1,USD,010,5,,Z,015,6,,"]),
        (["03,1,USD,010,5,2,S,1,,3,015,6,,/"], ["03,1,USD,010,5,2,S,1,0,3,015,6,,"]),
        (["03,1,USD,010,5,2,V,260101,,015,6,,/"], ["03,1,USD,010,5,2,V,260101,0,015,6,,"]),
        (["03,1,USD,010,5,2,D,2,0,1,1,2,015,6,,/"], ["03,1,USD,010,5,2,D,2,0,1,1,2,015,6,,"]),
        (["03,1,USD,010,5,2,D,,015,6,,/"], ["03,1,USD,010,5,2,D,015,6,,"]),
        (["03,1,USD,950,5,,/"], ["03,1,USD,108,5,,"]),
        (["03,1,USD,970,5,,/"], ["03,1,USD,409,5,,"]),
        (["03,1,USD,901,5,,/"], ["03,1,USD,057,5,,"]),
        (["16,195,9,S,1,,3,B,,x/", "88,y/"], ["16,195,9,S,1,0,3,B,,x/", "88,y/"]),
        (["16,195,9,Z,1,,3,B,,x/"], ["16,195,9,Z,1,,3,B,,x/"]),
        (["03,1,USD/", "03,2,EUR/"], ["03,1,USD", "03,2,EUR"]),
    ],
)
def test_records_03_are_written_whole_with_four_fields_a_summary(lines, expected):
    assert list(aligned(lines)) == expected
