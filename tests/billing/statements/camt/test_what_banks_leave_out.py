"""Camt files in which a bank leaves out a digit, a sign, a currency, or breaks one entry."""

import pytest

from billing.statements.errors import BadAmount
from billing.statements.read import read_statements
from tests.billing.statements.writing import (
    OWN_IBAN,
    balance,
    batch,
    camt,
    entry,
    only,
    reasons,
    transaction,
)

CREDIT = "<CdtDbtInd>CRDT</CdtDbtInd>"
DEBIT = "<CdtDbtInd>DBIT</CdtDbtInd>"


def unsigned(kind, amount):
    return balance(kind, amount).replace(CREDIT, "")


def ends(statement):
    return [end and end.amount_minor for end in (statement.opening, statement.closing)]


# Amounts ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("amount", [".5", ".50", "+0.5", "+.5", "00.50", "0.5000000", "+000.5"])
def test_every_amount_of_a_file_may_be_any_xs_decimal(amount):
    share = f'<AmtDtls><TxAmt><Amt Ccy="EUR">{amount}</Amt></TxAmt></AmtDtls>'
    summary = f"<TxsSummry><TtlNtries><NbOfNtries>1</NbOfNtries><Sum>{amount}</Sum></TtlNtries></TxsSummry>"
    head = summary + balance("OPBD", "+.0") + balance("CLBD", amount)

    read = only(camt(entry(amount, details=batch(transaction(share))), head=head))

    assert not read.is_held
    assert all(check.agrees for check in read.checks)
    [read_entry] = read.entries
    assert (read_entry.amount_minor, read_entry.only_detail.amount_minor) == (50, 50)
    assert ends(read) == [0, 50]


@pytest.mark.parametrize("amount", [".5", "+0.50"])
def test_the_shares_of_a_batch_may_be_any_xs_decimal(amount):
    details = batch(transaction(amount=amount), transaction(amount=amount))

    read = only(camt(entry("1.00", details=details), closing="1.00"))

    assert not read.is_held
    assert read.entries[0].split_agrees
    assert [detail.amount_minor for detail in read.entries[0].details] == [50, 50]


# Signs of balances --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("opening", "closing", "moves", "proven"),
    [
        pytest.param("10.00", "15.00", [("5.00", "CRDT")], [1000, 1500], id="both credits"),
        pytest.param("15.00", "10.00", [("5.00", "CRDT")], [-1500, -1000], id="both debits"),
        pytest.param("10.00", "5.00", [("15.00", "CRDT")], [-1000, 500], id="a debit, a credit"),
        pytest.param("10.00", "5.00", [("15.00", "DBIT")], [1000, -500], id="a credit, a debit"),
        pytest.param("0.00", "5.00", [("5.00", "CRDT")], [0, 500], id="from zero"),
        pytest.param("5.00", "0.00", [("5.00", "DBIT")], [500, 0], id="to zero"),
    ],
)
def test_the_only_sign_that_fits_the_entries_is_the_sign_of_a_balance(
    opening, closing, moves, proven
):
    head = unsigned("OPBD", opening) + unsigned("CLBD", closing)

    read = only(camt(*[entry(amount, mark=mark) for amount, mark in moves], head=head))

    assert ends(read) == proven
    assert not read.is_held
    assert any("CdtDbtInd" in note for note in read.notes)


@pytest.mark.parametrize(
    ("head", "moves"),
    [
        pytest.param(unsigned("OPBD", "5.00") + unsigned("CLBD", "5.00"), [], id="both signs fit"),
        pytest.param(
            unsigned("OPBD", "5.00") + unsigned("CLBD", "5.00"),
            [("1.00", "CRDT"), ("1.00", "DBIT")],
            id="the entries cancel out",
        ),
        pytest.param(
            unsigned("OPBD", "10.00") + unsigned("CLBD", "16.00"),
            [("5.00", "CRDT")],
            id="none fits",
        ),
        pytest.param(unsigned("CLBD", "5.00"), [("5.00", "CRDT")], id="no opening balance"),
    ],
)
def test_a_sign_that_the_entries_do_not_prove_holds_the_statement(head, moves):
    read = only(camt(*[entry(amount, mark=mark) for amount, mark in moves], head=head))

    assert "balance_unreadable" in reasons(read)
    assert None in ends(read)


def test_one_stated_sign_is_kept_and_proves_the_other():
    head = balance("OPBD", "10.00", mark="DBIT") + unsigned("CLBD", "5.00")

    read = only(camt(entry("5.00"), head=head))

    assert ends(read) == [-1000, -500]
    assert not read.is_held


def test_a_sign_is_not_proven_by_a_sum_that_an_unread_entry_is_missing_in():
    head = unsigned("OPBD", "10.00") + unsigned("CLBD", "15.00")

    read = only(camt(entry("5.00"), entry("zero"), head=head + summary_of(2)))

    assert {"row_not_read", "balance_unreadable"} <= set(reasons(read))


def summary_of(count):
    return f"<TxsSummry><TtlNtries><NbOfNtries>{count}</NbOfNtries></TtlNtries></TxsSummry>"


# Currencies ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("attribute", ['Ccy=""', ""])
def test_an_amount_without_currency_has_that_of_the_account(attribute):
    file = camt(entry(), closing="10.00").replace('<Amt Ccy="EUR">', f"<Amt {attribute}>")

    read = only(file)

    assert not read.is_held
    assert {read.entries[0].currency, read.opening.currency, read.currency} == {"EUR"}


def test_an_amount_without_currency_has_that_of_the_balances_if_the_account_has_none():
    file = camt(entry(currency=""), closing="10.00").replace("<Ccy>EUR</Ccy>", "")

    read = only(file)

    assert not read.is_held
    assert read.entries[0].currency == "EUR"


def test_a_file_without_any_currency_is_held():
    file = camt(entry(currency=""), closing="10.00").replace("<Ccy>EUR</Ccy>", "")

    assert reasons(only(file.replace('Ccy="EUR"', 'Ccy=""'))) == ["currency_unknown"]


# Entries that can't be read -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("broken", "reason"),
    [
        (entry("ten"), "not an amount"),
        (entry("-10.00"), "not an amount"),
        (entry("1.00001"), "more decimals"),
        (entry("10.00", currency="euro"), "not a supported currency"),
        (entry(mark="CREDIT"), "a credit or a debit"),
        (entry(more="<RvslInd>maybe</RvslInd>"), "a credit or a debit"),
        (entry().replace(CREDIT, ""), "CdtDbtInd is missing"),
        (entry(more='<Amt Ccy="EUR">9.00</Amt>'), "stated twice"),
        (entry(""), "Amt is missing"),
    ],
)
def test_an_entry_that_can_not_be_read_holds_the_statement_with_place_and_reason(broken, reason):
    read = only(camt(entry("1.00"), broken, entry("2.00"), closing="13.00"))

    assert [read_entry.amount_minor for read_entry in read.entries] == [100, 200]
    not_read, mismatch = read.holds
    assert (not_read.reason, mismatch.difference_minor) == ("row_not_read", -1000)
    assert reason in not_read.says
    assert "Ntry[2]" in not_read.says
    assert "Ntry[2]" in not_read.position
    assert "Ntry[3]" in read.entries[1].position


@pytest.mark.parametrize("message", [("BkToCstmrAcctRpt", "Rpt"), ("BkToCstmrStmt", "Stmt")])
def test_without_any_sum_an_entry_that_can_not_be_read_refuses_the_file(message):
    with pytest.raises(BadAmount, match=r"Ntry\[2\]"):
        read_statements(
            camt(entry(), entry("ten"), message=message[0], statement=message[1]).encode()
        )


def test_the_banks_own_summary_is_a_sum():
    read = only(camt(entry(), entry("ten"), head=summary_of(2)))

    assert {"row_not_read", "control_total"} <= set(reasons(read))


def test_the_other_statements_of_the_file_are_read():
    files = [camt(entry("ten"), closing="10.00"), camt(entry(), closing="10.00")]
    inner = [file[file.index("<Stmt>") : file.index("</BkToCstmrStmt>")] for file in files]

    held, good = read_statements(files[0].replace(inner[0], "".join(inner)).encode())

    assert held.is_held
    assert not good.is_held
    assert good.account.iban == OWN_IBAN
