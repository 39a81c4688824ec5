"""OFX headers as banks break them, and rows of investment accounts."""

import pytest

from billing.statements.errors import AmountTooPrecise, DoctypeRefused
from billing.statements.read import read_statements
from tests.billing.statements.writing import ofx, only, reasons, stmttrn

XML = '<?xml version="1.0" encoding="UTF-8" standalone="no"?>'
VERSION_2 = '<?OFX OFXHEADER="200" VERSION="203" SECURITY="NONE" OLDFILEUID="NONE" NEWFILEUID="x"'


@pytest.mark.parametrize(
    "header",
    [
        pytest.param(f"{XML}{VERSION_2}?", id="a declaration without its bracket"),
        pytest.param(f"{XML}{VERSION_2}>", id="a declaration without its mark"),
        pytest.param(f"{XML}{VERSION_2}\n", id="a declaration without its end"),
        pytest.param(f"{XML[:-2]}{VERSION_2}?>", id="an XML declaration without its end"),
        pytest.param(f"{XML}\n{VERSION_2}?>\n", id="as it should be"),
        pytest.param(f"{VERSION_2}?>{XML}", id="in the other order"),
        pytest.param(f"<!-- made by a bank -->{VERSION_2}?", id="a comment first"),
        pytest.param("OFXHEADER:100DATA:OFXSGMLVERSION:102CHARSET:1252", id="in one line"),
        pytest.param("\n\nOFXHEADER: 100\n\n\nDATA : OFXSGML\n", id="with blanks"),
        pytest.param("Content-Type: application/x-ofx\n\n", id="a header of HTTP"),
        pytest.param("", id="none"),
    ],
)
@pytest.mark.parametrize("root", ["<OFX>", '<OFX xmlns="http://ofx.net/types/2003/04">'])
def test_a_broken_header_does_not_hide_the_statement(header, root):
    file = ofx(stmttrn("89.00"), header=header, ledger="89.00").replace("<OFX>", root)

    read = only(file)

    assert [entry.amount_minor for entry in read.entries] == [8900]
    assert read.closing.amount_minor == 8900
    assert not read.is_held


def test_a_declaration_inside_the_file_still_hides_what_is_in_it():
    hidden = "<?x <TRNAMT>9999.00 ?>"

    assert only(ofx(stmttrn(more=f"{hidden}<MEMO>x"))).entries[0].amount_minor == 1000


def test_a_document_type_in_the_header_is_still_refused():
    with pytest.raises(DoctypeRefused):
        only(ofx(stmttrn(), header=f"{VERSION_2}?<!DOCTYPE x>"))


def investment(amount):
    return (
        "<INVSTMTMSGSRSV1><INVSTMTTRNRS><INVSTMTRS><CURDEF>EUR<INVACCTFROM><BROKERID>b<ACCTID>9"
        f"</INVACCTFROM><INVTRANLIST><INVBANKTRAN>{stmttrn(amount)}</INVBANKTRAN>{stmttrn('5.00')}"
        "</INVTRANLIST></INVSTMTRS></INVSTMTTRNRS></INVSTMTMSGSRSV1></OFX>"
    )


@pytest.mark.parametrize("amount", ["12.3456", "-0.1234", "12.34567", "n/a"])
def test_an_investment_row_with_four_decimals_holds_its_own_statement_alone(amount):
    bank, shares = read_statements(ofx(stmttrn()).replace("</OFX>", investment(amount)).encode())

    assert not bank.is_held
    assert [entry.amount_minor for entry in bank.entries] == [1000]
    assert reasons(shares) == ["row_not_read"]
    assert [entry.amount_minor for entry in shares.entries] == [500]


@pytest.mark.parametrize("amount", ["12.3400", "12.34000"])
def test_four_decimals_that_are_zeros_are_an_amount(amount):
    _, shares = read_statements(ofx(stmttrn()).replace("</OFX>", investment(amount)).encode())

    assert not shares.is_held
    assert [entry.amount_minor for entry in shares.entries] == [1234, 500]


def test_a_bank_row_with_four_decimals_refuses_the_file_for_no_sum_shows_what_is_missing():
    with pytest.raises(AmountTooPrecise):
        only(ofx(stmttrn("12.3456"), stmttrn()))


@pytest.mark.parametrize("currency", ["<CURDEF>", "<CURDEF></CURDEF>", ""])
def test_an_empty_currency_is_no_currency(currency):
    read = only(ofx(stmttrn()).replace("<CURDEF>EUR", currency))

    assert reasons(read) == ["currency_unknown"]
    assert [entry.amount_minor for entry in read.entries] == [1000]


def test_an_empty_currency_of_a_row_is_that_of_the_account():
    assert only(ofx(stmttrn(more="<CURRENCY><CURSYM></CURRENCY>"))).entries[0].currency == "EUR"
