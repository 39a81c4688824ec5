"""The contents of MT940 and MT942 files, in the dialects of several banks."""

from datetime import date

import pytest

from billing.statements.canonical import Family, Status
from billing.statements.errors import BadLine, RepeatedField
from billing.statements.read import read_statements
from tests.billing.statements.writing import PAYER_IBAN, mt940, only, reasons

LINE = ":61:2601310131C10,00NTRFNONREF//BANK1"
GERMAN = (
    ":86:166?00GUTSCHRIFT?109310?20EREF+INV-1?21MREF+M1?22SVWZ+Invoice 12?2334 of Janu"
    "\r\nary?30COBADEFFXXX?31DE89370400440532013000?32Payer?33 Ltd?34000"
)
SLASHED = f":86:/TRTP/SEPA OVERBOEKING/IBAN/{PAYER_IBAN}/BIC/COBADEFF/NAME/Payer L\r\ntd/REMI/Invoice 12/EREF/INV-1"


def test_a_balanced_statement_is_read_with_all_that_matching_needs():
    statement = only(mt940(LINE, GERMAN))

    assert (statement.format, statement.family) == ("MT940", Family.STATEMENT)
    assert (statement.account.bank, statement.account.other) == ("12030000", "12030000/202051")
    assert (statement.sequence, statement.page, statement.currency) == ("1", "1", "EUR")
    assert (statement.opening.amount_minor, statement.closing.amount_minor) == (0, 1000)
    assert not statement.is_held
    [read_entry] = statement.entries
    assert (read_entry.amount_minor, read_entry.status, read_entry.is_reversal) == (
        1000,
        Status.BOOKED,
        False,
    )
    assert (read_entry.booking_date, read_entry.value_date) == (
        date(2026, 1, 31),
        date(2026, 1, 31),
    )
    assert (read_entry.bank_reference, read_entry.customer_reference, read_entry.type_code) == (
        "BANK1",
        None,
        "NTRF",
    )
    assert read_entry.note == "GUTSCHRIFT"
    detail = read_entry.only_detail
    assert (detail.end_to_end_id, detail.mandate_id) == ("INV-1", "M1")
    assert detail.remittance == ("Invoice 12", "34 of January")
    assert (detail.counterparty, detail.counterparty_iban) == ("Payer Ltd", PAYER_IBAN)
    assert detail.return_reason is None


def test_a_dutch_purpose_is_read_by_its_tags():
    detail = only(mt940(LINE, SLASHED)).entries[0].only_detail

    assert (detail.end_to_end_id, detail.remittance) == ("INV-1", ("Invoice 12",))
    assert (detail.counterparty, detail.counterparty_iban) == ("Payer Ltd", PAYER_IBAN)


def test_a_structured_reference_of_a_dutch_purpose_is_one():
    detail = (
        only(mt940(LINE, ":86:/EREF/NOTPROVIDED//REMI/STRD/CUR/RF18539007547034/"))
        .entries[0]
        .only_detail
    )

    assert detail.references == (("CUR", "RF18539007547034"),)
    assert detail.end_to_end_id is None


def test_a_purpose_in_no_known_form_is_text_line_by_line():
    detail = (
        only(mt940(LINE, ":86:Invoice 12", "34 of January  ", ":86:second field"))
        .entries[0]
        .only_detail
    )

    assert detail.remittance == ("Invoice 12", "34 of January", "second field")


def test_a_payer_can_not_end_the_text_with_a_tag_of_his_own():
    detail = (
        only(mt940(LINE, ":86:166?20EREF+INV-1?21SVWZ+EREF+INV-2 MREF+X")).entries[0].only_detail
    )

    assert detail.end_to_end_id == "INV-1"
    assert detail.remittance == ("EREF+INV-2 MREF+X",)


def test_the_ns_field_carries_purpose_and_name():
    detail = (
        only(mt940(LINE, ":NS:01Invoice 12", "02of January", "15Payer", "3347110815"))
        .entries[0]
        .only_detail
    )

    assert (detail.remittance, detail.counterparty) == (("Invoice 12", "of January"), "Payer")


@pytest.mark.parametrize(
    ("mark", "amount", "is_reversal", "status"),
    [
        ("C", 1000, False, Status.BOOKED),
        ("D", -1000, False, Status.BOOKED),
        ("RC", -1000, True, Status.BOOKED),
        ("RD", 1000, True, Status.BOOKED),
        ("EC", 1000, False, Status.EXPECTED),
        ("ED", -1000, False, Status.EXPECTED),
        ("CR", 1000, False, Status.BOOKED),
        ("DR", -1000, False, Status.BOOKED),
        ("RCR", -1000, True, Status.BOOKED),
    ],
)
def test_the_mark_says_where_the_money_went(mark, amount, is_reversal, status):
    [read_entry] = only(mt940(f":61:2601310131{mark}10,00NTRFNONREF")).entries

    assert (read_entry.amount_minor, read_entry.is_reversal, read_entry.status) == (
        amount,
        is_reversal,
        status,
    )


def test_expected_entries_do_not_count_in_the_balance():
    assert not only(mt940(LINE, ":61:2601310131EC99,00NTRFNONREF")).is_held


@pytest.mark.parametrize(
    ("days", "booked"),
    [
        ("2512310102", date(2026, 1, 2)),
        ("2601021231", date(2025, 12, 31)),
        ("2601310131", date(2026, 1, 31)),
        ("240229", None),
    ],
)
def test_the_entry_date_is_in_the_year_nearest_to_the_value_date(days, booked):
    [read_entry] = only(mt940(f":61:{days}C10,00NTRFNONREF")).entries

    assert read_entry.booking_date == booked


@pytest.mark.parametrize("days", ["2602300201", "2602290301", "2603010229", "261301"])
def test_an_impossible_day_is_no_day_and_holds(days):
    read = only(mt940(f":61:{days}C10,00NTRFNONREF"))

    assert reasons(read) == ["date_impossible"]
    assert len(read.entries) == 1
    assert not any(
        day == date(2026, 2, 28)
        for day in (read.entries[0].value_date, read.entries[0].booking_date)
    )


@pytest.mark.parametrize("end", ["\r\n", "\n", "\r"])
def test_any_kind_of_line_end_reads_the_same(end):
    assert (
        only(mt940(LINE, GERMAN.replace("\r\n", end), end=end)).entries
        == only(mt940(LINE, GERMAN)).entries
    )


@pytest.mark.parametrize("encoding", ["utf-8", "cp1252", "latin-1"])
def test_umlauts_survive_in_each_encoding(encoding):
    read = only(mt940(LINE, ":86:Müller & Söhne").encode(encoding))

    assert not read.is_held
    assert read.entries[0].only_detail.remittance == ("Müller & Söhne",)


def test_an_old_dos_code_page_is_read_and_held():
    read = only(mt940(LINE, ":86:Müller & Söhne").encode("cp437"))

    assert reasons(read) == ["encoding_doubt"]
    assert read.entries[0].only_detail.remittance == ("Müller & Söhne",)


def test_control_characters_around_and_inside_messages_vanish():
    text = "\x01" + mt940(LINE, ":86:In\x00voice\x03 1").replace("-\r\n", "-\x03\r\n")

    read = only(text)
    assert not read.is_held
    assert read.entries[0].only_detail.remittance == ("Invoice 1",)


def test_swift_frames_are_passed_over():
    framed = "{1:F01BANKDEFFXXXX0000000000}{2:O940BANKDEFFXXXXN}{3:}{4:\r\n" + mt940(LINE).replace(
        "\r\n-\r\n", "\r\n-}{5:}\r\n"
    )

    both = read_statements((framed * 2).encode())

    assert [len(statement.entries) for statement in both] == [1, 1]
    assert not any(statement.is_held for statement in both)


def test_lines_before_the_first_message_are_passed_over():
    assert not only("ABNANL2A\n940\nABNANL2A\n" + mt940(LINE)).is_held


def test_a_line_that_begins_with_a_dash_is_text_before_the_closing_balance():
    detail = only(mt940(LINE, ":86:Invoice", "-", "-TX 12")).entries[0].only_detail

    assert detail.remittance == ("Invoice", "-", "-TX 12")


def test_a_time_that_looks_like_a_tag_is_text():
    detail = only(mt940(LINE, ":86:paid at 12", ":12:11 o'clock")).entries[0].only_detail

    assert detail.remittance == ("paid at 12", ":12:11 o'clock")


def test_text_after_the_closing_balance_belongs_to_no_entry():
    read = only(mt940(LINE, ":86:Invoice", closing=":62F:C260131EUR10,00\r\n:86:of the bank"))

    assert read.entries[0].only_detail.remittance == ("Invoice",)


def test_equal_lines_of_one_day_are_all_kept():
    assert len(only(mt940(LINE, GERMAN, LINE, GERMAN, closing=":62F:C260131EUR20,00")).entries) == 2


def test_several_accounts_and_currencies_in_one_file_are_statements_apart():
    dollars = mt940(LINE).replace("EUR", "USD").replace("202051", "202052")

    both = read_statements((mt940(LINE) + dollars).encode())

    assert [(statement.account.other, statement.currency) for statement in both] == [
        ("12030000/202051", "EUR"),
        ("12030000/202052", "USD"),
    ]


def test_a_statement_without_20_begins_after_the_closing_balance():
    assert (
        len(read_statements((mt940(LINE) + mt940(LINE).removeprefix(":20:STMT\r\n")).encode())) == 2
    )


def test_a_statement_of_nothing_but_a_head_is_held_for_its_balance():
    read = only(":20:STMT\n:25:1/2\n:28C:1/1\n:60F:C260130EUR0,00\n")

    assert (len(read.entries), reasons(read)) == (0, ["balance_missing"])


def test_an_iban_in_place_of_a_reference_is_the_counterparty():
    [read_entry] = only(
        mt940(":61:2601310131C10,00NOVBNL91ABNA0417164300\nj payer", ":86:text")
    ).entries

    assert (
        read_entry.only_detail.counterparty_iban,
        read_entry.customer_reference,
        read_entry.note,
    ) == (
        "NL91ABNA0417164300",
        None,
        "j payer",
    )


def test_the_supplementary_line_is_kept():
    [read_entry] = only(
        mt940(":61:2601310131C10,00FMSC01916//NONREF\n20260131007602198765432000000012")
    ).entries

    assert (read_entry.note, read_entry.bank_reference) == (
        "20260131007602198765432000000012",
        None,
    )


MT942 = f"""
:20:R
:25:1/2
:28C:1/1
:34F:EURD0,00
:13D:2601311200+0100
{LINE}
:86:x
:90D:0EUR0,00
:90C:1EUR10,00
-
"""


def test_an_mt942_is_a_report_without_status_and_balance():
    read = only(MT942)

    assert (read.format, read.family, read.created) == ("MT942", Family.REPORT, "2601311200+0100")
    assert read.entries[0].status is None
    assert not read.is_held


@pytest.mark.parametrize(("total", "difference"), [("2EUR10,00", -1), ("1EUR12,00", -200)])
def test_wrong_totals_of_an_mt942_hold(total, difference):
    read = only(MT942.replace("1EUR10,00", total))

    assert [(hold.reason.value, hold.difference_minor) for hold in read.holds] == [
        ("control_total", difference)
    ]


PAGE_1 = mt940(LINE, closing=":62M:C260131EUR10,00")
PAGE_2 = mt940(LINE, opening=":60M:C260131EUR10,00", closing=":62F:C260131EUR20,00").replace(
    ":28C:1/1", ":28C:1/2"
)


def test_pages_in_order_continue_each_other():
    assert not any(statement.is_held for statement in read_statements((PAGE_1 + PAGE_2).encode()))


def test_pages_out_of_order_hold():
    _, second = read_statements((PAGE_2 + PAGE_1).encode())

    assert reasons(second) == ["pages_out_of_order"]


def test_a_page_that_does_not_continue_the_one_before_holds():
    later = PAGE_2.replace("C260131EUR10,00", "C260131EUR11,00").replace("EUR20", "EUR21")

    _, second = read_statements((PAGE_1 + later).encode())

    assert [(hold.reason.value, hold.difference_minor) for hold in second.holds] == [
        ("pages_out_of_order", 100)
    ]


def test_the_account_stated_twice_refuses_the_file():
    with pytest.raises(RepeatedField, match="line 6"):
        only(mt940(LINE, ":25:evil"))


def test_an_entry_outside_any_statement_refuses_the_file():
    with pytest.raises(BadLine, match="line 1"):
        only(LINE + "\n:20:X\n:25:1/2\n:60F:C260130EUR0,00\n")
