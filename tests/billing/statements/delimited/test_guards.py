"""Guards of the CSV reader, each alone: balances, directions, numbers, dates and headers."""

from datetime import date

import pytest

from billing.statements.delimited.balance import RunningBalance
from billing.statements.delimited.numbers import guess_marks, looks_like_number, read_number
from billing.statements.delimited.profiles import is_balance_row
from billing.statements.delimited.survey import day_of
from billing.statements.errors import BadAmount, BadDirection, MalformedCsv, UnknownFormat
from billing.statements.limits import MAX_CSV_CELLS, MAX_CSV_PREAMBLE
from billing.statements.read import read_statements
from tests.billing.statements.writing import PAYER_IBAN, only, reasons

HEAD = "Date;Description;Amount;Currency;Balance\n"


def file(*rows, head=HEAD):
    return head + "".join(f"{row}\n" for row in rows)


def amounts(read):
    return [entry.amount_minor for entry in read.entries]


def running(*rows):
    balance = RunningBalance()
    for amount, after in rows:
        balance.take(amount, after)
    return balance


@pytest.mark.parametrize(
    ("rows", "ends", "gap"),
    [
        pytest.param([(5, 15), (-3, 12), (8, 20)], (10, 20), 0, id="from old to new"),
        pytest.param([(8, 20), (-3, 12), (5, 15)], (10, 20), 0, id="from new to old"),
        pytest.param([(5, 15)], (10, 15), 0, id="one row"),
        pytest.param([(5, 15), (-3, 13), (8, 21)], None, -1, id="broken from old to new"),
        pytest.param([(8, 21), (-3, 13), (5, 15)], None, -1, id="broken from new to old"),
        pytest.param([(1, 1), (1, 5), (1, 9)], None, -3, id="broken twice: the first counts"),
    ],
)
def test_the_running_balance_gives_both_ends_or_the_first_difference(rows, ends, gap):
    balance = running(*rows)

    assert balance.ends() == ends
    if ends is None:
        assert balance.gap() == gap


def test_a_running_balance_in_only_some_rows_proves_nothing():
    read = only(file("2026-01-30;a;1.00;EUR;1.00", "2026-01-31;b;2.00;EUR;"))

    assert (read.opening, read.closing) == (None, None)


def test_the_days_of_the_rows_are_those_of_the_statement():
    read = only(file("2026-01-31;a;2.00;EUR;3.00", "2026-01-30;b;1.00;EUR;1.00"))

    assert (read.from_date, read.to_date) == (date(2026, 1, 30), date(2026, 1, 31))
    assert (read.opening.amount_minor, read.opening.day) == (0, date(2026, 1, 30))
    assert (read.closing.amount_minor, read.closing.day) == (300, date(2026, 1, 31))
    assert read.closing.currency == "EUR"


@pytest.mark.parametrize(
    ("row", "held"),
    [
        ("2026-01-31;a;1.00;EUR;", []),
        (";;;;", []),
        (";Closing balance;9.00;EUR;", []),
        (";Closing balance as of 01/31/2026;9.00;EUR;", []),
        (";Closing balance of somebody;9.00;EUR;", ["row_not_read"]),
        ("2026-01-31;a;;EUR;", ["row_not_read"]),
        (";note;;EUR;", []),
        ("2026-01-31;a;x;EUR;3.00", ["row_not_read"]),
    ],
)
def test_a_row_is_an_entry_or_a_balance_or_holds(row, held):
    read = only(file("2026-01-13;first;2.00;EUR;2.00", row))

    assert [reason for reason in reasons(read) if reason == "row_not_read"] == held


@pytest.mark.parametrize(
    ("text", "is_balance"),
    [
        ("Closing balance", True),
        ("closing balance as of 31.01.2026", True),
        ("closing balance as of", False),
        ("closing balance as of the shop", False),
        ("saldo", True),
        ("saldo payment", False),
    ],
)
def test_only_a_whole_text_states_a_balance(text, is_balance):
    assert is_balance_row(text) is is_balance


ING = (
    '"Datum";"Naam / Omschrijving";"Rekening";"Tegenrekening";"Code";"Af Bij";"Bedrag (EUR)"'
    ';"Mutatiesoort";"Mededelingen"\n'
)


@pytest.mark.parametrize(("word", "minor"), [("Bij", 1050), ("Af", -1050), ("AF", -1050)])
def test_the_word_of_a_known_bank_gives_the_sign(word, minor):
    row = f'"20260131";"Anna";"NL1";"{PAYER_IBAN}";"OV";"{word}";"10,50";"x";"y"'

    assert amounts(only(file(row, head=ING))) == [minor]


@pytest.mark.parametrize(("word", "amount"), [("", "10,50"), ("x", "10,50"), ("Af", "-10,50")])
def test_a_direction_that_is_not_clear_is_refused(word, amount):
    with pytest.raises(BadDirection):
        only(file(f'"20260131";"A";"NL1";"";"OV";"{word}";"{amount}";"x";"y"', head=ING))


TWO = "Date;Description;Credit;Debit;Currency\n"


@pytest.mark.parametrize(
    ("credit", "debit", "minor"),
    [("5.00", "", 500), ("", "5.00", -500), ("", "-5.00", -500), ("0.00", "5.00", -500)],
)
def test_two_columns_give_the_sign_by_their_place(credit, debit, minor):
    assert amounts(only(file(f"2026-01-13;x;{credit};{debit};EUR", head=TWO))) == [minor]


@pytest.mark.parametrize(("credit", "debit"), [("-5.00", ""), ("5.00", "5.00")])
def test_two_columns_that_contradict_each_other_are_refused(credit, debit):
    with pytest.raises(BadDirection):
        only(file(f"2026-01-13;x;{credit};{debit};EUR", head=TWO))


WORDS = "Date;Text;Amount;Kind;Other;Currency\n"


def kinds(*rows, head=WORDS):
    return only(
        file(
            *[f"2026-01-13;x;{amount};{kind};{more};EUR" for amount, kind, more in rows], head=head
        )
    )


@pytest.mark.parametrize(
    ("rows", "is_held"),
    [
        pytest.param([("1.00", "credit", ""), ("2.00", "debit", "")], False, id="words alone"),
        pytest.param([("1.00", "credit", ""), ("-2.00", "debit", "")], False, id="signs agree"),
        pytest.param([("1.00", "debit", ""), ("-2.00", "credit", "")], True, id="signs contradict"),
        pytest.param(
            [("1.00", "debit", ""), ("-2.00", "debit", "")], False, id="one of two contradicts"
        ),
        pytest.param(
            [("1.00", "debit", ""), ("2.00", "fee", ""), ("3.00", "fee", "")],
            False,
            id="one word in three rows",
        ),
        pytest.param([("1.00", "debit", ""), ("2.00", "fee", "")], True, id="one word in two rows"),
        pytest.param(
            [("1.00", "debit", "debit"), ("2.00", "credit", "credit")], True, id="two columns"
        ),
        pytest.param(
            [("1.00", "debit " + "x" * 32, ""), ("2.00", "debit", "")], True, id="a long text"
        ),
        pytest.param([("1.00", "debit card", "")], False, id="a debit card"),
        pytest.param([("1.00", "card debit fee", "")], False, id="a fee of a debit card"),
        pytest.param([("1.00", "ACH debit", "")], True, id="a word among others"),
        pytest.param([("1.00", "credit debit", "")], False, id="both words"),
    ],
)
def test_words_that_contradict_the_amounts_hold_for_ever(rows, is_held):
    assert ("sign_not_read" in reasons(kinds(*rows))) is is_held


def test_a_row_without_its_word_is_refused_where_words_give_the_sign():
    with pytest.raises(BadDirection):
        kinds(("1.00", "credit", ""), ("2.00", "debit", ""), ("3.00", "", ""))


@pytest.mark.parametrize(
    ("text", "minor"),
    [
        ("1,234.50", 123450),
        ("-1.00", -100),
        ("1.00-", -100),
        ("(1.00)", -100),
        ("\u22121.00", -100),
        ("\u20131.00", -100),
        ("$ -1.00", -100),
        ("-$1.00", -100),
        ("1.00 EUR", 100),
        ("1.00 DR", -100),
        ("1.00 Dr", -100),
        ("1.00 CR", 100),
        ("+1.00", 100),
        (".50", 50),
        ("1 234.50", 123450),
    ],
)
def test_a_number_is_read_with_one_sign_in_any_place(text, minor):
    read = read_number(text, exponent=2, decimal=".", group=", ", position="x")

    assert read == minor
    assert looks_like_number(text)


@pytest.mark.parametrize(
    "text",
    ["-1.00-", "(-1.00)", "-1.00 DR", "(1.00) DR", "1.00.00", "(1.00", "1.00)", "", "x", "9" * 49],
)
def test_a_number_with_two_signs_or_none_that_is_clear_is_refused(text):
    with pytest.raises(BadAmount):
        read_number(text, exponent=2, decimal=".", group=",", position="x")


@pytest.mark.parametrize(("size", "fits"), [(48, True), (49, False)])
def test_a_number_is_bounded(size, fits):
    assert looks_like_number("9" * size) is fits


@pytest.mark.parametrize(
    ("cells", "decimal"),
    [
        (["1.00", "2.50"], "."),
        (["1,00", "2,5"], ","),
        (["1,000.00"], "."),
        (["1.000,00", "3,10"], ","),
        (["1", "2"], "."),
        (["(1,00)", "-2,00"], ","),
        (["1,000", "2.00"], "."),
        (["words", "2,00"], ","),
    ],
)
def test_the_numbers_of_a_file_show_their_decimal_mark(cells, decimal):
    found, groups = guess_marks(cells, "x")

    assert found == decimal
    assert decimal not in groups
    assert ("," if decimal == "." else ".") in groups


@pytest.mark.parametrize("cells", [["1.00", "1,00"], ["1.000"], ["1,000", "2,00"]])
def test_numbers_that_may_be_read_in_two_ways_are_refused(cells):
    with pytest.raises(BadAmount):
        guess_marks(cells, "x")


@pytest.mark.parametrize(
    ("days", "is_held", "first"),
    [
        (["13/01/2026"], False, date(2026, 1, 13)),
        (["01/02/2026", "13/02/2026"], False, date(2026, 2, 1)),
        (["01/02/2026"], True, date(2026, 2, 1)),
        (["02/02/2026"], False, date(2026, 2, 2)),
        (["20260131"], False, date(2026, 1, 31)),
        (["2026-01-31", "2026-02-01"], False, date(2026, 1, 31)),
    ],
)
def test_all_days_of_a_file_show_the_order_of_their_numbers(days, is_held, first):
    read = only(file(*[f"{day};x;1.00;EUR;" for day in days]))

    assert ("date_ambiguous" in reasons(read)) is is_held
    assert read.entries[0].booking_date == first


def test_the_columns_of_a_row_have_their_fields():
    row = f'"20260131";"Anna";"NL1";"{PAYER_IBAN}";"OV";"Bij";"10,50";"x";"Invoice 7"'

    [entry] = only(file(row, head=ING)).entries
    detail = entry.only_detail

    assert (detail.counterparty_iban, detail.counterparty_account) == (PAYER_IBAN, None)
    assert "Invoice 7" in detail.remittance
    assert (entry.is_credit, entry.is_reversal, entry.status.value) == (True, False, "BOOK")
    assert (entry.currency, detail.amount_minor, detail.currency) == ("EUR", 1050, "EUR")


def test_rows_of_two_currencies_are_two_statements():
    rows = ["2026-01-13;a;1.00;EUR;", "2026-01-13;b;2.00;usd;"]

    euro, dollar = read_statements(file(*rows).encode())

    assert (euro.currency, dollar.currency) == ("EUR", "USD")
    assert (amounts(euro), amounts(dollar)) == ([100], [200])


@pytest.mark.parametrize(
    ("lines", "is_found"), [(MAX_CSV_PREAMBLE - 1, True), (MAX_CSV_PREAMBLE, False)]
)
def test_the_header_stands_in_the_first_rows(lines, is_found):
    text = "preamble\n" * lines + file("2026-01-13;a;1.00;EUR;")

    if is_found:
        assert amounts(only(text)) == [100]
    else:
        with pytest.raises(UnknownFormat):
            only(text)


@pytest.mark.parametrize(("cells", "is_fine"), [(MAX_CSV_CELLS, True), (MAX_CSV_CELLS + 1, False)])
def test_a_row_is_bounded(cells, is_fine):
    row = "2026-01-13;a;1.00;EUR;" + ";" * (cells - 5)

    if is_fine:
        assert amounts(only(file(row))) == [100]
    else:
        with pytest.raises(MalformedCsv, match="line 2"):
            only(file(row))


def test_the_header_with_most_columns_counts_whatever_its_delimiter():
    assert amounts(only("Date,Amount\n" + file("2026-01-13;a;1.00;EUR;"))) == [100]
    assert amounts(only("Date;Amount\n" + file("2026-01-13;a;1.00;EUR;").replace(";", ","))) == [
        100
    ]


def test_a_file_without_a_header_is_known_by_its_first_row_alone():
    row = '"01/31/2026","-10.00","*","","RENT"\n'

    assert amounts(only(row)) == [-1000]
    with pytest.raises(UnknownFormat):
        only(f"preamble\n{row}")


def test_one_column_of_credits_without_one_of_debits_is_no_header():
    with pytest.raises(UnknownFormat):
        only("Date;Description;Credit;Currency\n2026-01-13;a;1.00;EUR\n")


@pytest.mark.parametrize(("code", "expected"), [("OV", "OV"), ("", None)])
def test_the_kind_of_a_row_is_kept_if_it_has_one(code, expected):
    row = f'"20260131";"Anna";"NL1";"";"{code}";"Bij";"10,50";"";"x"'

    assert only(file(row, head=ING)).entries[0].type_code == expected


@pytest.mark.parametrize("row", ["", "x", "x;y"])
def test_a_row_that_is_shorter_than_the_header_is_no_entry(row):
    head = "Text;Other;Amount;Date;Currency\n"

    assert amounts(only(file("a;b;1.00;2026-01-13;EUR", row, head=head))) == [100]


def test_a_row_that_ends_before_its_word_is_refused():
    head = "Date;Text;Amount;Currency;Kind\n"
    rows = ["2026-01-13;x;1.00;EUR;credit", "2026-01-13;x;2.00;EUR;debit", "2026-01-13;x;3.00;EUR"]

    with pytest.raises(BadDirection):
        only(file(*rows, head=head))


def test_a_day_in_one_number_is_of_the_order_year_month_day_alone():
    assert day_of("20260131", "ymd") == date(2026, 1, 31)
    assert day_of("20260131", "dmy") is None
    assert day_of("2026-01-31", "ymd") == date(2026, 1, 31)


def test_a_column_named_twice_is_none():
    head = HEAD.replace("Balance", "Amount")

    with pytest.raises(UnknownFormat):
        only(file("2026-01-13;a;1.00;EUR;2.00", head=head))


@pytest.mark.parametrize("missing", ["Date", "Amount"])
def test_a_header_without_a_day_or_an_amount_is_none(missing):
    with pytest.raises(UnknownFormat):
        only(file("2026-01-13;a;1.00;EUR;2.00", head=HEAD.replace(missing, "X")))
