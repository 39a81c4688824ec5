"""A statement without a currency has the one in which its account is registered."""

import pytest

from models.bank import BankLine
from tests.billing.bank.story import OWN_IBAN, Bank
from tests.billing.statements.writing import batch, camt, entry, mt940, ofx, stmttrn, transaction
from worker.database import transaction as database_transaction

CAMT = (
    camt(entry(currency=""), closing="10.00").replace("<Ccy>EUR</Ccy>", "").replace('"EUR"', '""')
)
OFX = ofx(stmttrn()).replace("<CURDEF>EUR", "<CURDEF>").replace("<BANKID>12030000", "")
CSV = "Date;Description;Amount\n2026-01-31;x;10.00\n"


@pytest.fixture
def bank(database):
    return Bank()


def lines():
    with database_transaction() as ctx:
        return [(row.amount_minor, row.currency) for row in ctx.session.query(BankLine)]


@pytest.mark.parametrize(
    ("file", "account", "source_format", "held"),
    [
        pytest.param(CAMT, OWN_IBAN, "camt.053", [], id="camt"),
        pytest.param(OFX, "202051", "OFX", [], id="OFX"),
        pytest.param(CSV, "own-1", "CSV", ["family_doubt"], id="CSV"),
    ],
)
@pytest.mark.parametrize("currency", ["EUR", "USD"])
def test_the_currency_of_the_registered_account_counts(
    bank, file, account, source_format, held, currency
):
    bank.register(account, currency=currency, source_format=source_format)

    [stored] = bank.receive(file.encode(), account=account)

    assert lines() == [(1000, currency)]
    assert bank.holds() == [held]
    assert any(currency in note for note in stored.notes)
    assert bank.statements()[0].currency == currency


@pytest.mark.parametrize(
    ("currency", "minor"),
    [pytest.param("JPY", 10, id="none"), pytest.param("KWD", 10_000, id="three")],
)
def test_amounts_have_the_decimals_of_that_currency(bank, currency, minor):
    bank.register(currency=currency)

    bank.receive(CAMT.encode())

    assert lines() == [(minor, currency)]
    assert bank.statements()[0].closing_minor == minor


def test_an_amount_with_decimals_that_the_currency_does_not_have_stays_held(bank):
    bank.register(currency="JPY")

    bank.receive(CAMT.replace("10.00", "10.50").encode())

    assert lines() == [(1050, "XXX")]
    assert "currency_unknown" in bank.holds()[0]


def test_an_account_in_two_currencies_gives_none(bank):
    bank.register(currency="EUR")
    bank.register(currency="USD")

    bank.receive(CAMT.encode())

    assert lines() == [(1000, "XXX")]
    assert bank.holds() == [["currency_unknown", "account_currency"]]


def test_an_unregistered_account_gives_none(bank):
    bank.receive(CAMT.encode())

    assert lines() == [(1000, "XXX")]
    assert "currency_unknown" in bank.holds()[0]


def test_a_stated_currency_stays(bank):
    bank.register(currency="USD")

    bank.receive(camt(entry(), closing="10.00").encode())

    assert lines() == [(1000, "EUR")]


def test_the_shares_of_a_batch_have_the_currency_too(bank):
    bank.register()
    details = batch(*[transaction(amount="0.10")] * 100).replace('"EUR"', '""')
    file = camt(entry(details=details), closing="10.00").replace("<Ccy>EUR</Ccy>", "")

    bank.receive(file.replace('"EUR"', '""').encode())

    assert lines() == [(1000, "EUR")]


def test_the_same_file_again_adds_nothing(bank):
    bank.register()
    bank.receive(CAMT.encode())
    before = bank.dump()

    [again] = bank.receive(CAMT.replace("<GrpHdr>", "<!-- again --><GrpHdr>").encode())

    assert again.is_known
    assert bank.dump() == before


def test_an_mt940_without_an_opening_balance_has_the_currency_of_its_account(bank):
    bank.register(source_format="MT940")
    file = mt940(":61:2601310131C10,00NTRFNONREF", opening="", closing="")

    bank.receive(file.replace("12030000/202051", OWN_IBAN).encode())

    assert lines() == [(1000, "EUR")]
    assert bank.holds() == [["balance_missing"]]


def test_a_statement_with_one_stated_currency_among_its_amounts_is_left_as_it_is(bank):
    bank.register(currency="USD")
    file = CAMT.replace('<Ntry><Amt Ccy="">', '<Ntry><Amt Ccy="EUR">')

    bank.receive(file.encode())

    assert lines() == [(1000, "EUR")]
    assert "account_currency" in bank.holds()[0]
