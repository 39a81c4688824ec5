"""The exports of single banks, each with the headers that it publishes."""

from datetime import date

import pytest

from billing.statements.canonical import Status
from billing.statements.delimited.profiles import PROFILES, is_balance_row
from tests.billing.statements.writing import only

CHASE = "Details,Posting Date,Description,Amount,Type,Balance,Check or Slip #\n"
REVOLUT = (
    "Date started (UTC),Date completed (UTC),ID,Type,State,Description,Reference,Payer,Card number,"
    "Card label,Card state,Orig currency,Orig amount,Payment currency,Amount,Total amount,"
    "Exchange rate,Fee,Fee currency,Balance,Account,Beneficiary account number\n"
)
REVOLUT_OLD = (
    "Date started (UTC),Date completed (UTC),ID,Type,State,Description,Reference,Payer,"
    "Orig currency,Orig amount,Payment currency,Amount,Fee,Balance,Account\n"
)
KNAB = (
    "KNAB EXPORT;;;;;;;;;;;;;;;;\n"
    "Rekeningnummer;Transactiedatum;Valutacode;CreditDebet;Bedrag;Tegenrekeningnummer;"
    "Tegenrekeninghouder;Valutadatum;Betaalwijze;Omschrijving;Type betaling;Machtigingsnummer;"
    "Incassant ID;Adres;Referentie;Boekdatum;\n"
)
MERCURY = (
    "Date (UTC),Description,Amount,Status,Source Account,Bank Description,Reference,Note,"
    "Last Four Digits,Name On Card,Category,GL Code,Timestamp,Original Currency,Check Number,Tags\n"
)
MERCURY_NEW = (
    "Date (UTC),Description,Amount,Status,Source Account,Bank Description,Reference,Note,"
    "Last Four Digits,Name On Card,Mercury Category,Category,GL Code,Timestamp,Original Currency,"
    "Check Number,Tags,Cardholder Email,Tracking ID\n"
)
MINT = (
    '"Date","Description","Original Description","Amount","Transaction Type","Category",'
    '"Account Name","Labels","Notes"\n'
)
BANK_OF_AMERICA = (
    'Description,,Summary Amt.\nBeginning balance as of 03/01/2026,,"100.00"\n'
    'Total credits,,"89.00"\nTotal debits,,"-1,050.00"\n'
    'Ending balance as of 03/31/2026,,"-861.00"\n\n'
    "Date,Description,Amount,Running Bal.\n"
    '03/01/2026,Beginning balance as of 03/01/2026,,"100.00"\n'
)

FILES = [
    pytest.param(
        CHASE
        + 'DEBIT,03/03/2026,"FEE",-50.00,ACH_DEBIT,139.00,,\n'
        + 'CREDIT,03/02/2026,"WIRE RF74",89.00,ACH_CREDIT,189.00,,\n',
        ("Chase (US)", "USD", [-5000, 8900], (10_000, 13_900)),
        id="Chase",
    ),
    pytest.param(
        CHASE + 'DEBIT,03/02/2026,"REFUND",25.00,W_DRA,,,\n',
        ("Chase (US)", "USD", [2500], None),
        id="Chase, a refund that it calls a debit",
    ),
    pytest.param(
        "Transaction Date,Post Date,Description,Category,Type,Amount,Memo\n"
        "03/01/2026,03/02/2026,SHOP,Shopping,Sale,-82.34,\n"
        "03/03/2026,03/03/2026,Payment Thank You,,Payment,82.34,\n",
        ("Chase card (US)", "USD", [-8234, 8234], None),
        id="Chase card",
    ),
    pytest.param(
        BANK_OF_AMERICA
        + '03/02/2026,"WIRE RF74","89.00","189.00"\n03/03/2026,"CHECK","-1,050.00","-861.00"\n',
        ("Bank of America (US)", "USD", [8900, -105_000], (10_000, -86_100)),
        id="Bank of America",
    ),
    pytest.param(
        "Posted Date,Reference Number,Payee,Address,Amount\n"
        '03/02/2026,2400000000001,"SHOP","NY",-12.50\n',
        ("Bank of America card (US)", "USD", [-1250], None),
        id="Bank of America card",
    ),
    pytest.param(
        '"03/02/2026","89.00","*","","WIRE RF740000000001"\n'
        '"03/03/2026","-1,050.00","*","1001","CHECK"\n',
        ("Wells Fargo (US)", "USD", [8900, -105_000], None),
        id="Wells Fargo, without a header",
    ),
    pytest.param(
        MERCURY
        + "03-02-2026,Muster GmbH,89.00,Sent,Checking,RF74,,,,,,,03-02-2026 10:00:00,USD,,\n"
        + "03-03-2026,Shop,-55.99,Sent,Checking,SHOP,,,6776,Jane,,,03-03-2026 10:00:00,EUR,,\n",
        ("Mercury (US)", "USD", [8900, -5599], None),
        id="Mercury",
    ),
    pytest.param(
        MERCURY_NEW
        + "03-03-2026,Vendor,-1050.00,Sent,Checking,VENDOR,,,1,P,S,,,03-03-2026 13:00:53,USD,,,p@x,\n",
        ("Mercury (US)", "USD", [-105_000], None),
        id="Mercury of 2026",
    ),
    pytest.param(
        "Date,Description,Amount,Status,Bank Description,Reference,Note,Last Four Digits\n"
        "03-02-2026,Muster GmbH,89.00,Sent,WIRE,RF74,,\n",
        ("Mercury (US, until 2023)", "USD", [8900], None),
        id="Mercury, first form",
    ),
    pytest.param(
        REVOLUT
        + "2026-03-03,2026-03-03,65e2,TRANSFER,COMPLETED,To X,,,,,,EUR,10.00,EUR,-10.00,-10.20,,0.20,"
        + "EUR,178.80,EUR Main,\n"
        + "2026-03-02,2026-03-02,65e1,TOPUP,COMPLETED,Payment from Muster GmbH,RF740000000001,,,,,EUR,"
        + "89.00,EUR,89.00,89.00,,0.00,EUR,189.00,EUR Main,\n",
        ("Revolut Business", "EUR", [-1020, 8900], (10_000, 17_880)),
        id="Revolut Business",
    ),
    pytest.param(
        REVOLUT_OLD
        + "2026-07-30 11:00:00,2026-07-30 11:00:04,r2,CARD_PAYMENT,COMPLETED,Shop,,,GBP,42.15,GBP,"
        + "-42.15,0.20,1478.09,Main\n"
        + "2026-07-29 09:11:03,2026-07-29 09:12:00,r1,TOPUP,COMPLETED,Incoming,INV-1,,GBP,285.00,GBP,"
        + "285.00,0.00,1520.44,Main\n",
        ("Revolut Business (until 2023)", "GBP", [-4235, 28_500], (123_544, 147_809)),
        id="Revolut Business, the fee beside the amount",
    ),
    pytest.param(
        KNAB
        + '"NL99KNAB9999999999";"21-06-2026";"EUR";"D";"827,75";"FR7630006000011234567890189";"Jan";'
        + '"21-06-2026";"Overboeking";"Tekst";"";"";"";"";"X1";"21-06-2026";\n'
        + '"NL99KNAB9999999999";"22-06-2026";"EUR";"C";"6,5";"";"Piet";"22-06-2026";"";"INV-1";"";"";'
        + '"";"";"X2";"22-06-2026";\n',
        ("Knab (NL)", "EUR", [-82_775, 650], None),
        id="Knab",
    ),
    pytest.param(
        KNAB
        + '"NL99KNAB9999999999";"21-06-2026";"EUR";"Afschrijvingen";"6,5";"";"Jan";"21-06-2026";"";'
        + '"Tekst";"";"";"";"";"X1";"21-06-2026";\n'
        + '"NL99KNAB9999999999";"22-06-2026";"EUR";"Bijschrijvingen";"89,00";"";"Piet";"22-06-2026";'
        + '"";"INV-1";"";"";"";"";"X2";"22-06-2026";\n',
        ("Knab (NL)", "EUR", [-650, 8900], None),
        id="Knab of 2026",
    ),
    pytest.param(
        MINT
        + '"3/02/2026","A","A","89.00","credit","Income","Checking","",""\n'
        + '"3/13/2026","B","B","50.00","debit","Food","Checking","",""\n',
        ("Mint", "USD", [8900, -5000], None),
        id="Mint",
    ),
]


@pytest.mark.parametrize(("text", "expected"), FILES)
def test_the_export_of_a_known_bank_is_read_with_its_signs_and_balances(text, expected):
    name, currency, amounts, balances = expected

    read = only(text)

    assert (read.version, read.currency) == (name, currency)
    assert [entry.amount_minor for entry in read.entries] == amounts
    ends = read.opening and (read.opening.amount_minor, read.closing.amount_minor)
    assert ends == balances
    assert not read.is_held
    assert all(entry.status is Status.BOOKED and entry.booking_date for entry in read.entries)


@pytest.mark.parametrize("text", [file.values[0] for file in FILES], ids=[f.id for f in FILES])
def test_american_days_are_not_european_ones(text):
    march = {date(2026, 3, day) for day in (1, 2, 3, 13)}
    summer = {date(2026, 6, day) for day in (21, 22)} | {date(2026, 7, day) for day in (29, 30)}

    assert {entry.booking_date for entry in only(text).entries} <= march | summer


@pytest.mark.parametrize(
    ("state", "status"),
    [("Pending", Status.PENDING), ("Failed", Status.OTHER), ("Cancelled", Status.OTHER)],
)
def test_money_that_never_moved_is_not_booked(state, status):
    row = f"03-02-2026,M,89.00,{state},Checking,RF74,,,,,,,03-02-2026 10:00:00,USD,,\n"

    assert only(MERCURY + row).entries[0].status is status


def test_a_row_of_another_form_is_no_header_of_a_file_without_one():
    names = {profile.name for profile in PROFILES}

    assert "Wells Fargo (US)" not in names


@pytest.mark.parametrize(
    ("text", "is_balance"),
    [
        ("Beginning balance as of 03/01/2026", True),
        ("Ending balance as of 2026-03-31", True),
        ("Closing balance", True),
        ("Beginning balance as of my invoice 12", False),
        ("Beginning of the lease", False),
    ],
)
def test_a_row_that_states_a_balance_is_no_payment(text, is_balance):
    assert is_balance_row(text) is is_balance
