"""OFX and QFX, as SGML and as XML, regular and hostile."""

from datetime import date

import pytest

from billing.statements.errors import (
    AmountTooPrecise,
    BadAmount,
    DoctypeRefused,
    FileTooLarge,
    LineTooLong,
    MissingField,
    NoStatements,
    RepeatedField,
    TooManyTags,
    Truncated,
)
from billing.statements.ofx import reader, sgml
from billing.statements.read import read_statements
from tests.billing.statements.writing import ofx, only, reasons, stmttrn

XML = (
    '<?xml version="1.0" encoding="UTF-8"?><?OFX OFXHEADER="200" VERSION="202"?><OFX><BANKMSGSRSV1><STMTTRNRS><STMTRS>'
    "<CURDEF>EUR</CURDEF><BANKACCTFROM><BANKID>1</BANKID><ACCTID>DE02120300000000202051</ACCTID></BANKACCTFROM>"
    "<BANKTRANLIST><STMTTRN><TRNTYPE>CREDIT</TRNTYPE><DTPOSTED>20260131120000.000[-5:EST]</DTPOSTED>"
    "<TRNAMT>10.00</TRNAMT><FITID>F1</FITID><NAME>Payer &amp; Sons</NAME><MEMO>Invoice 1</MEMO></STMTTRN>"
    "</BANKTRANLIST></STMTRS></STMTTRNRS></BANKMSGSRSV1></OFX>"
)


def test_sgml_without_closing_tags_is_read():
    statement = only(ofx(stmttrn(more="<NAME>Payer<MEMO>Invoice 1")))

    assert (statement.format, statement.currency, statement.account.other) == (
        "OFX",
        "EUR",
        "202051",
    )
    assert (statement.opening, statement.closing.amount_minor) == (None, 1000)
    assert not statement.is_held
    [read_entry] = statement.entries
    assert (read_entry.amount_minor, read_entry.booking_date, read_entry.bank_reference) == (
        1000,
        date(2026, 1, 31),
        "F1",
    )
    assert (read_entry.only_detail.counterparty, read_entry.only_detail.remittance) == (
        "Payer",
        ("Payer", "Invoice 1"),
    )


def test_xml_is_read_like_sgml():
    statement = only(XML)

    assert statement.account.iban == "DE02120300000000202051"
    [read_entry] = statement.entries
    assert (read_entry.amount_minor, read_entry.booking_date) == (1000, date(2026, 1, 31))
    assert read_entry.only_detail.counterparty == "Payer & Sons"


def test_one_line_and_many_lines_read_the_same():
    many = ofx(stmttrn()).replace("<", "\n<")

    assert only(many).entries[0]._replace(position="") == only(ofx(stmttrn())).entries[0]._replace(
        position=""
    )


@pytest.mark.parametrize("encoding", ["cp1252", "utf-8"])
def test_a_wrong_charset_does_not_garble_the_text(encoding):
    read = only(ofx(stmttrn(more="<MEMO>Müller")).encode(encoding))

    assert read.entries[0].only_detail.remittance == ("Müller",)


def test_two_statements_in_one_file_are_two():
    text = ofx(stmttrn())
    start, end = text.index("<STMTRS>"), text.index("</STMTRS>") + len("</STMTRS>")

    both = read_statements((text[:end] + text[start:end] + text[end:]).encode())

    assert [len(statement.entries) for statement in both] == [1, 1]


def test_the_cash_of_an_investment_account_is_read():
    text = ofx(f"<INVBANKTRAN>{stmttrn()}<SUBACCTFUND>CASH</INVBANKTRAN>").replace(
        "STMTRS>", "INVSTMTRS>"
    )

    assert [read_entry.amount_minor for read_entry in only(text).entries] == [1000]


def test_repeated_and_missing_identifiers_keep_both_entries():
    read = only(ofx(stmttrn(fitid="SAME"), stmttrn(fitid="SAME"), stmttrn(fitid="")))

    assert [read_entry.bank_reference for read_entry in read.entries] == ["SAME", "SAME", None]


@pytest.mark.parametrize(
    ("amount", "minor"),
    [("-12.50", -1250), ("+1", 100), ("12,5", 1250), (".5", 50), ("-,5", -50), ("8.8500", 885)],
)
def test_amounts_take_a_sign_and_either_decimal_mark(amount, minor):
    assert only(ofx(stmttrn(amount))).entries[0].amount_minor == minor


@pytest.mark.parametrize(
    ("amount", "error"),
    [
        ("$120", BadAmount),
        (".", BadAmount),
        ("", BadAmount),
        ("1,234.56", BadAmount),
        ("1,000", BadAmount),
        ("1E3", BadAmount),
        ("1_0", BadAmount),
        ("--1", BadAmount),
        ("\uff11", BadAmount),
        ("1.005", AmountTooPrecise),
    ],
)
def test_an_amount_that_is_not_beyond_doubt_refuses_the_file(amount, error):
    with pytest.raises(error, match=r"STMTTRN\[1\]"):
        only(ofx(stmttrn(amount)))


def test_a_missing_or_repeated_amount_refuses_the_file():
    with pytest.raises(MissingField, match="TRNAMT"):
        only(ofx("<STMTTRN><FITID>F1</STMTTRN>"))
    with pytest.raises(RepeatedField, match="TRNAMT"):
        only(ofx(stmttrn(more="<MEMO>x<TRNAMT>999.00")))


@pytest.mark.parametrize("day", ["00000000", "20260230", "soon"])
def test_an_impossible_day_is_no_day_and_holds(day):
    read = only(ofx(stmttrn(day=day)))

    assert (reasons(read), read.entries[0].booking_date) == (["date_impossible"], None)


def test_a_currency_in_lower_case_is_the_same_currency():
    assert only(ofx(stmttrn()).replace("EUR", "eur")).currency == "EUR"


def test_a_transaction_in_another_currency_holds():
    more = "<CURRENCY><CURRATE>1.1<CURSYM>USD</CURRENCY>"

    assert reasons(only(ofx(stmttrn(more=more)))) == ["currency_mismatch"]


def test_a_correction_names_the_entry_that_it_corrects():
    [read_entry] = only(
        ofx(stmttrn("-10.00", more="<CORRECTFITID>F0<CORRECTACTION>DELETE"))
    ).entries

    assert (read_entry.is_reversal, read_entry.corrects) == (True, "F0")


@pytest.mark.parametrize(
    "memo", ["<script>alert(1)</script>", "a <b>bold</b> claim", "1 < 2", "<FORGED>x"]
)
def test_markup_in_a_memo_is_kept_as_text_and_holds(memo):
    read = only(ofx(stmttrn(more=f"<MEMO>{memo}")))

    assert reasons(read) == ["text_doubt"]


def test_an_escaped_bracket_is_text():
    read = only(ofx(stmttrn(more="<MEMO>1 &lt; 2 &amp; 3 &unknown; <![CDATA[<TRNAMT>9 &lt;]]>")))

    assert not read.is_held
    assert read.entries[0].only_detail.remittance == ("1 < 2 & 3 &unknown; <TRNAMT>9 &lt;",)


def test_a_comment_inside_an_amount_does_not_cut_it():
    assert only(ofx(stmttrn("1<!-- <TRNAMT>9 -->0.00"))).entries[0].amount_minor == 1000


def test_a_document_type_is_refused():
    with pytest.raises(DoctypeRefused):
        only(XML.replace("<OFX>", '<!DOCTYPE OFX [<!ENTITY x "1">]><OFX>'))


def test_a_statement_without_closing_tag_is_read_and_held():
    assert reasons(only(ofx(stmttrn()).replace("</STMTRS>", ""))) == ["truncated"]


def test_a_text_stated_twice_is_two_lines():
    [read_entry] = only(ofx(stmttrn(more="<MEMO>a<MEMO>b"))).entries

    assert read_entry.only_detail.remittance == ("a", "b")


@pytest.mark.parametrize("cut", ["<FITID>", "</BANKTRANLIST>", "</STMTRS>"])
def test_a_file_cut_inside_a_statement_is_refused(cut):
    text = ofx(stmttrn())

    with pytest.raises(Truncated):
        only(text[: text.index(cut)])


def test_a_file_cut_after_its_statement_is_held():
    text = ofx(stmttrn())

    assert reasons(only(text[: text.index("</STMTRS>") + 9])) == ["truncated"]


def test_a_transaction_without_closing_tag_ends_where_the_next_begins():
    assert len(only(ofx(stmttrn().replace("</STMTTRN>", ""), stmttrn())).entries) == 2


def test_an_unreadable_ledger_balance_holds_and_an_empty_one_does_not():
    assert reasons(only(ofx(stmttrn(), ledger="ten"))) == ["balance_unreadable"]
    assert only(ofx(stmttrn(), ledger="")).closing is None


def test_a_file_without_statement_is_refused_by_name():
    with pytest.raises(NoStatements, match="OFX"):
        only("OFXHEADER:100\n\n<OFX><SIGNONMSGSRSV1></SIGNONMSGSRSV1></OFX>")


def test_size_length_and_number_of_tags_are_bounded(monkeypatch):
    with pytest.raises(LineTooLong):
        only(ofx(stmttrn(more="<MEMO>" + "x" * 70_000)))
    monkeypatch.setattr(sgml, "MAX_OFX_TAGS", 20)
    with pytest.raises(TooManyTags):
        only(ofx(stmttrn(), stmttrn()))
    monkeypatch.setattr(reader, "MAX_OFX_BYTES", 100)
    with pytest.raises(FileTooLarge):
        only(ofx(stmttrn()))
