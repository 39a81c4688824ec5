"""CSV by profiles: known banks, an unknown bank, and rows that only look like payments."""

from datetime import date

import pytest

from billing.statements.canonical import Status
from billing.statements.delimited.profiles import PROFILES
from billing.statements.errors import (
    AmountTooPrecise,
    BadAmount,
    BadDirection,
    LineTooLong,
    MalformedCsv,
    UnknownFormat,
)
from billing.statements.read import read_statements
from tests.billing.statements.writing import only, reasons

N26 = '"Booking Date","Value Date","Partner Name","Partner Iban",Type,"Payment Reference","Account Name","Amount (EUR)"\n'
SCHWAB = (
    '"Date","Status","Type","CheckNumber","Description","Withdrawal","Deposit","RunningBalance"\n'
)
ING = '"Datum";"Naam / Omschrijving";"Rekening";"Tegenrekening";"Code";"Af Bij";"Bedrag (EUR)";"Mutatiesoort";"Mededelingen"\n'
GENERIC = "Date;Description;Amount;Currency\n"


def test_a_known_bank_is_read_with_all_that_matching_needs():
    row = '2026-01-31,2026-02-01,"Payer Ltd",DE89370400440532013000,"Credit Transfer","Invoice 1",Main,10.00\n'

    statement = only(N26 + row)

    assert (statement.format, statement.version, statement.currency) == ("CSV", "N26", "EUR")
    assert not statement.is_held
    [read_entry] = statement.entries
    assert (read_entry.amount_minor, read_entry.booking_date, read_entry.value_date) == (
        1000,
        date(2026, 1, 31),
        date(2026, 2, 1),
    )
    detail = read_entry.only_detail
    assert (detail.counterparty, detail.counterparty_iban) == (
        "Payer Ltd",
        "DE89370400440532013000",
    )
    assert detail.remittance == ("Invoice 1",)


def test_the_running_balance_gives_opening_and_closing_from_new_to_old():
    rows = '"01/31/2026","Posted","X","","B","","$20.00","$1,030.00"\n"01/30/2026","Posted","X","","A","$90.00","","$1,010.00"\n'

    statement = only(SCHWAB + rows)

    assert (statement.opening.amount_minor, statement.closing.amount_minor) == (110_000, 103_000)
    assert [read_entry.amount_minor for read_entry in statement.entries] == [2000, -9000]
    assert not statement.is_held


def test_the_running_balance_gives_opening_and_closing_from_old_to_new():
    rows = '"01/30/2026","Posted","X","","A","$90.00","","$1,010.00"\n"01/31/2026","Posted","X","","B","","$20.00","$1,030.00"\n'

    statement = only(SCHWAB + rows)

    assert (statement.opening.amount_minor, statement.closing.amount_minor) == (110_000, 103_000)


def test_a_running_balance_that_does_not_follow_holds_with_the_difference():
    rows = '"01/30/2026","Posted","X","","A","$90.00","","$1,010.00"\n"01/31/2026","Posted","X","","B","","$20.00","$1,030.01"\n"01/31/2026","Posted","X","","C","","$1.00","$1,031.01"\n'

    [hold] = only(SCHWAB + rows).holds

    assert (hold.reason.value, hold.difference_minor) == ("balance_mismatch", -1)


@pytest.mark.parametrize(("word", "amount"), [("Af", -1000), ("Bij", 1000)])
def test_a_word_may_say_the_sign(word, amount):
    read = only(
        ING + f'"20260131";"Payer";"NL91ABNA0417164300";"";"GT";"{word}";"10,00";"x";"Invoice 1"\n'
    )

    assert read.entries[0].amount_minor == amount
    assert read.account.iban == "NL91ABNA0417164300"


@pytest.mark.parametrize(
    ("word", "amount"), [("Sideways", "10,00"), ("", "10,00"), ("Af", "-10,00")]
)
def test_a_sign_that_is_not_clear_refuses_the_file(word, amount):
    with pytest.raises(BadDirection, match="line 2"):
        only(ING + f'"20260131";"Payer";"NL91ABNA0417164300";"";"GT";"{word}";"{amount}";"x";"y"\n')


def test_a_card_that_shows_purchases_as_positive_is_turned_round():
    header = "Date,Description,Card Member,Account #,Amount\n"

    assert only(header + "01/31/2026,Shop,Me,-1001,10.00\n").entries[0].amount_minor == -1000


def test_money_in_both_columns_holds_where_a_running_balance_shows_what_is_missing():
    rows = (
        '"01/31/2026","Posted","X","","A","","$5.00","$9.00"\n'
        '"01/30/2026","Posted","X","","A","$1.00","$2.00","$4.00"\n'
        '"01/29/2026","Posted","X","","A","","$3.00","$3.00"\n'
        '"01/28/2026","Posted","X","","A","","$2.00","$0.00"\n'
    )

    read = only(SCHWAB + rows)

    assert [entry.amount_minor for entry in read.entries] == [500, 300, 200]
    assert [(hold.reason.value, hold.difference_minor) for hold in read.holds] == [
        ("balance_mismatch", -100),
        ("row_not_read", None),
    ]
    assert "line 3" in read.holds[1].says
    with pytest.raises(BadDirection):
        only(SCHWAB + '"01/31/2026","Posted","X","","A","$1.00","$2.00",""\n')


def test_a_pending_row_is_not_booked():
    read = only(SCHWAB + '"01/31/2026","Pending","X","","A","","$2.00",""\n')

    assert read.entries[0].status is Status.PENDING


def test_an_unknown_bank_is_read_by_common_names_and_held():
    read = only(GENERIC + "2026-01-31;Invoice 1;10.00;EUR\n")

    assert reasons(read) == ["family_doubt"]
    assert [read_entry.amount_minor for read_entry in read.entries] == [1000]


def test_preamble_footer_and_balance_rows_are_no_entries():
    text = (
        "My Bank;;;\nAccount: 123;;;\n\n"
        + GENERIC
        + "2026-01-01;Saldo Anterior;500.00;EUR\n2026-01-31;Invoice 1;10.00;EUR\n;Balance at end;510.00;EUR\nPrinted by My Bank;;;\n"
    )

    read = only(text)
    assert [read_entry.amount_minor for read_entry in read.entries] == [1000]
    assert reasons(read) == ["family_doubt"]


def test_a_row_with_an_amount_that_is_no_entry_holds():
    assert "row_not_read" in reasons(only(GENERIC + "2026-01-31;a;10.00;EUR\n;strange;10.00;EUR\n"))


def test_a_row_with_a_day_but_no_amount_holds():
    assert "row_not_read" in reasons(only(GENERIC + "2026-01-31;a;10.00;EUR\n2026-01-31;b;;EUR\n"))


@pytest.mark.parametrize("delimiter", [";", ",", "\t", "|"])
def test_any_usual_delimiter_is_found(delimiter):
    text = GENERIC.replace(";", delimiter) + delimiter.join(
        ["2026-01-31", "Invoice 1", "10.00", "EUR"]
    )

    assert [read_entry.amount_minor for read_entry in only(text).entries] == [1000]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "cp1252"])
def test_any_usual_encoding_is_found(encoding):
    read = only((GENERIC + "2026-01-31;Müller;10.00;EUR\n").encode(encoding))

    assert read.entries[0].only_detail.remittance == ("Müller",)


def test_a_quoted_cell_may_hold_line_breaks_and_delimiters():
    read = only(GENERIC + '2026-01-31;"Invoice 1\nof; January";10.00;EUR\n2026-01-31;b;1.00;EUR\n')

    assert read.entries[0].only_detail.remittance == ("Invoice 1\nof; January",)
    assert read.entries[1].position == "line 4"


def test_the_whole_file_shows_which_number_is_the_day():
    read = only(GENERIC + "05/03/2026;a;1.00;EUR\n31/03/2026;b;1.00;EUR\n")

    assert [read_entry.booking_date for read_entry in read.entries] == [
        date(2026, 3, 5),
        date(2026, 3, 31),
    ]
    assert "date_ambiguous" not in reasons(read)


def test_day_and_month_that_can_not_be_told_apart_hold():
    assert "date_ambiguous" in reasons(only(GENERIC + "05/03/2026;a;1.00;EUR\n"))


@pytest.mark.parametrize(
    ("shown", "minor"),
    [
        ("1.234,56", 123_456),
        ("-98,76", -9876),
        ("98,76-", -9876),
        ("(98,76)", -9876),
        ("\u221298,76", -9876),
        ("1 234,56", 123_456),
        ("1\u00a0234,56", 123_456),
        ("1\u202f234,56", 123_456),
        ("1'234,56", 123_456),
        ("\u20ac 5,00", 500),
        ("5,00 EUR", 500),
        ("5,00 CR", 500),
        ("5,00 DR", -500),
    ],
)
def test_numbers_are_read_as_banks_print_them(shown, minor):
    assert only(GENERIC + f'2026-01-31;a;"{shown}";EUR\n').entries[0].amount_minor == minor


@pytest.mark.parametrize(
    ("shown", "error"),
    [
        ("1.234.5,00", BadAmount),
        ("12.34,56", BadAmount),
        ("-98,76-", BadAmount),
        ("NaN", BadAmount),
        ("1E3", BadAmount),
        ("=1+1", BadAmount),
        ("\uff11,00", BadAmount),
        ("1" * 400, BadAmount),
        ("1,005", BadAmount),
    ],
)
def test_a_number_that_is_not_beyond_doubt_refuses_the_file(shown, error):
    with pytest.raises(error):
        only(GENERIC + f'2026-01-30;a;"7,00";EUR\n2026-01-31;a;"{shown}";EUR\n')


def test_whole_thousands_alone_do_not_show_their_mark():
    with pytest.raises(BadAmount, match="decimal mark"):
        only(GENERIC + "2026-01-31;a;1.000;EUR\n")


def test_decimals_of_two_kinds_in_one_file_are_refused():
    with pytest.raises(BadAmount, match="decimal mark"):
        only(GENERIC + "2026-01-31;a;1.50;EUR\n2026-01-31;a;1,50;EUR\n")


def test_more_decimals_than_the_currency_has_are_refused():
    with pytest.raises(AmountTooPrecise):
        only(N26 + '2026-01-31,,"P",,,"x",,10.005\n')


def test_a_file_without_currency_is_held():
    assert "currency_unknown" in reasons(only("Date;Description;Amount\n2026-01-31;a;10.00\n"))


def test_two_own_accounts_in_one_file_are_two_statements():
    text = ING + "".join(
        f'"20260131";"P";"{iban}";"";"GT";"Bij";"10,00";"x";"y"\n'
        for iban in ("NL91ABNA0417164300", "NL20INGB0001234567")
    )

    assert len(read_statements(text.encode())) == 2


def test_equal_rows_of_one_day_are_all_kept():
    assert len(only(GENERIC + "2026-01-31;a;10.00;EUR\n" * 3).entries) == 3


def test_a_formula_is_text_like_any_other():
    read = only(GENERIC + '2026-01-31;"=HYPERLINK(""http://evil"")";10.00;EUR\n')

    assert read.entries[0].only_detail.remittance == ('=HYPERLINK("http://evil")',)


def test_an_empty_export_is_a_statement_without_entries():
    assert len(only(N26).entries) == 0


@pytest.mark.parametrize("text", ["hello", "a,b,c\n1,2,3\n", "Date;Text\n2026-01-31;x\n", "{}"])
def test_text_without_a_known_header_is_refused(text):
    with pytest.raises(UnknownFormat):
        only(text)


def test_a_quote_without_end_is_refused():
    with pytest.raises(MalformedCsv, match="line 2"):
        only(GENERIC + '2026-01-31;"a;10.00;EUR\n')


def test_a_line_without_end_is_refused():
    with pytest.raises(LineTooLong):
        only(GENERIC + "x" * 1_000_000)


@pytest.mark.parametrize("profile", PROFILES, ids=lambda profile: profile.name)
def test_every_profile_can_say_when_how_much_and_which_way(profile):
    assert profile.booked
    assert profile.amount or (profile.credit and profile.debit)
    assert not profile.direction or profile.words
    assert profile.currency or profile.currency_column
    assert set(profile.orders) <= {"ymd", "dmy", "mdy"}
