"""Guards of the OFX reader, each alone: fields, accounts, currencies, dates and limits."""

from datetime import date

import pytest

from billing.statements.errors import LineTooLong, RepeatedField
from billing.statements.limits import MAX_LINE_CHARS
from billing.statements.read import read_statements
from tests.billing.statements.writing import PAYER_IBAN, ofx, only, reasons, stmttrn


def test_every_field_of_a_transaction_has_its_place():
    more = (
        "<DTAVAIL>20260202<REFNUM>R1<CHECKNUM>C1<NAME>Anna<EXTDNAME>Anna Schmidt<MEMO>Invoice"
        f"<MEMO2>seven<BANKACCTTO><BANKID>COBADEFF<ACCTID>{PAYER_IBAN}</BANKACCTTO>"
    )

    [entry] = only(ofx(stmttrn("-10.00", more=more), ledger="-10.00")).entries
    detail = entry.only_detail

    assert (entry.amount_minor, entry.is_credit, entry.is_reversal) == (-1000, False, False)
    assert (entry.booking_date, entry.value_date) == (date(2026, 1, 31), date(2026, 2, 2))
    assert (entry.bank_reference, entry.customer_reference) == ("F1", "R1")
    assert (entry.type_code, entry.corrects, entry.note) == ("CREDIT", None, None)
    assert (detail.counterparty, detail.counterparty_bank) == ("Anna", "COBADEFF")
    assert detail.counterparty_iban == PAYER_IBAN
    assert detail.remittance == ("Anna", "Anna Schmidt", "Invoice", "seven")


@pytest.mark.parametrize(
    ("more", "field", "value"),
    [
        ("<CHECKNUM>C1", "customer_reference", "C1"),
        ("<REFNUM>NONREF", "customer_reference", None),
        ("<CORRECTFITID>F0<CORRECTACTION>DELETE", "corrects", "F0"),
        ("<CORRECTFITID>F0<CORRECTACTION>DELETE", "is_reversal", True),
        ("<CORRECTFITID>F0<CORRECTACTION>DELETE", "note", "DELETE"),
    ],
)
def test_other_fields_of_an_entry_are_read(more, field, value):
    assert getattr(only(ofx(stmttrn(more=more))).entries[0], field) == value


@pytest.mark.parametrize(
    ("more", "field", "value"),
    [
        ("<PAYEE><NAME>Anna<CITY>Berlin</PAYEE>", "counterparty", "Anna"),
        ("<NAME>Ben<PAYEE><NAME>Anna</PAYEE>", "counterparty", "Ben"),
        ("<CCACCTTO><ACCTID>4711</CCACCTTO>", "counterparty_account", "4711"),
        ("<MEMO>same<NAME>same", "remittance", ("same",)),
        ("<PAYEE><NAME>Anna<MEMO>Invoice", "remittance", ("Invoice",)),
    ],
)
def test_other_fields_of_a_payment_are_read(more, field, value):
    assert getattr(only(ofx(stmttrn(more=more))).entries[0].only_detail, field) == value


def test_the_first_of_two_identifiers_counts_and_an_amount_stated_twice_is_none():
    assert only(ofx(stmttrn(more="<FITID>F2"))).entries[0].bank_reference == "F1"
    with pytest.raises(RepeatedField):
        only(ofx(stmttrn(more="<TRNAMT>9.00")))


def test_a_currency_of_the_transaction_stated_twice_refuses_it():
    both = "<CURRENCY><CURSYM>USD<CURSYM>EUR</CURRENCY>"

    with pytest.raises(RepeatedField):
        only(ofx(stmttrn(more=both)))


def test_the_currency_before_a_conversion_is_not_that_of_the_amount():
    more = "<ORIGCURRENCY><CURRATE>1.1<CURSYM>USD</ORIGCURRENCY>"

    [entry] = only(ofx(stmttrn(more=more))).entries

    assert entry.currency == "EUR"
    assert only(ofx(stmttrn(more=more.replace("ORIG", "")))).entries[0].currency == "USD"


def test_the_head_of_a_statement_is_read():
    read = only(ofx(stmttrn()))

    assert (read.account.other, read.account.bank, read.account.iban) == (
        "202051",
        "12030000",
        None,
    )
    assert (read.from_date, read.to_date) == (date(2026, 1, 1), date(2026, 1, 31))
    assert (read.closing.amount_minor, read.closing.currency) == (1000, "EUR")
    assert (read.closing.kind, read.closing.day) == ("LEDGERBAL", date(2026, 1, 31))
    assert (read.opening, read.is_held) == (None, False)


def test_an_account_number_that_is_an_iban_is_one():
    account = only(ofx(stmttrn()).replace("202051", PAYER_IBAN)).account

    assert (account.iban, account.other) == (PAYER_IBAN, None)


def test_the_first_ledger_balance_counts_and_an_available_one_does_not():
    more = "<LEDGERBAL><BALAMT>5.00<DTASOF>20260131</LEDGERBAL><AVAILBAL><BALAMT>7.00</AVAILBAL>"

    read = only(ofx(stmttrn()).replace("</STMTRS>", f"{more}</STMTRS>"))

    assert read.closing.amount_minor == 1000


@pytest.mark.parametrize(
    ("old", "new", "held"),
    [
        ("<DTPOSTED>20260131", "", ["date_missing"]),
        ("<DTPOSTED>20260131", "<DTPOSTED>20260230", ["date_impossible"]),
        ("<MEMO>", "<DTAVAIL>20260230<MEMO>", ["date_impossible"]),
        ("<MEMO>", "<DTAVAIL>20260202<MEMO>", []),
        ("<MEMO>", "<UNKNOWN>x<MEMO>", ["text_doubt"]),
        ("<MEMO>", "<INTU.BID>x<MEMO>", []),
    ],
)
def test_what_is_wrong_with_one_transaction_holds_its_statement(old, new, held):
    assert reasons(only(ofx(stmttrn()).replace(old, new))) == held


def test_two_statements_have_their_own_accounts_and_balances():
    one = ofx(stmttrn())
    start, end = one.index("<STMTTRNRS>"), one.index("</BANKMSGSRSV1>")
    second = one[start:end].replace("202051", "999").replace(">10.00", ">20.00")

    first, other = read_statements((one[:end] + second + one[end:]).encode())

    assert (first.account.other, other.account.other) == ("202051", "999")
    assert (first.closing.amount_minor, other.closing.amount_minor) == (1000, 2000)
    assert [entry.amount_minor for entry in other.entries] == [2000]


@pytest.mark.parametrize(("size", "is_fine"), [(-40, True), (1, False)])
def test_a_text_is_bounded(size, is_fine):
    file = ofx(stmttrn(more=f"<MEMO>{'x' * (MAX_LINE_CHARS + size)}"))

    if is_fine:
        assert len(only(file).entries) == 1
    else:
        with pytest.raises(LineTooLong):
            only(file)


@pytest.mark.parametrize(
    ("memo", "text"),
    [
        ("A &amp; B &lt;c&gt; &#65;&#x42;", "A & B <c> AB"),
        ("a &nbsp; b &copy; c", "a \u00a0 b &copy; c"),
        ("<![CDATA[A & <B> &amp;]]>", "A & <B> &amp;"),
        ("one <!-- hidden <MEMO> --> two", "one  two"),
        ("one <?hidden <MEMO> ?> two", "one  two"),
    ],
)
def test_references_sections_and_comments_are_read_as_in_xml(memo, text):
    assert only(ofx(stmttrn(more=f"<MEMO>{memo}"))).entries[0].only_detail.remittance == (text,)


def test_an_empty_element_has_no_text_even_if_some_follows():
    [entry] = only(ofx(stmttrn(more="<NAME/>stray<MEMO>x"))).entries

    assert entry.only_detail.remittance == ("x",)


@pytest.mark.parametrize(
    ("text", "minor"),
    [("1,5", 150), ("1.50", 150), (".50", 50), ("-,50", -50), ("+1", 100), ("5.", 500)],
)
def test_an_amount_has_either_decimal_mark(text, minor):
    assert only(ofx(stmttrn(text), ledger="0.00")).entries[0].amount_minor == minor
