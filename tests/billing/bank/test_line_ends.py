"""Stored is seen: every imported line ends as a transfer, a named hold, or with a stored reason."""

import datetime as dt
import json

import pytest
import sqlalchemy as sa
from click.testing import CliRunner

from billing.bank import line_ends
from cli.main import main
from flows import audit
from models.bank import BankLine
from tests.billing.bank.story import Bank, line, statement
from tests.billing.statements.writing import OWN_IBAN, camt, entry, mt940
from worker.database import transaction

UNDATED = (
    '<Ntry><Amt Ccy="EUR">10.00</Amt><CdtDbtInd>CRDT</CdtDbtInd><Sts>BOOK</Sts>'
    "<AcctSvcrRef>REF-9</AcctSvcrRef></Ntry>"
)


def ends(bank):
    """The end, reason and number of all lines, after matching has looked at them."""
    with transaction() as ctx:
        while line_ends.split_lines(ctx.at(bank.now)):
            pass
    with transaction() as ctx:
        rows = line_ends.ends(ctx.session)
    return [(row.end, row.why.partition(":")[0], row.lines) for row in rows]


def findings(bank, *, later=dt.timedelta(hours=2)):
    return audit.run(now=bank.now + later).findings["bank_lines"]


def csv(currency=True):
    columns, cell = (",Currency", ",EUR") if currency else ("", "")
    rows = f"2026-02-01,10.00{cell},one\n2026-02-13,20.00{cell},two\n"
    return f"Date,Amount{columns},Description\n{rows}".encode()


def test_a_line_without_dates_is_of_the_day_of_the_closing_balance_and_becomes_a_transfer(bank):
    bank.receive(camt(UNDATED, closing="10.00").encode())

    assert ends(bank) == [("transfer", "", 1)]
    with transaction() as ctx:
        assert ctx.session.scalars(sa.select(BankLine.booking_date)).all() == [dt.date(2026, 1, 31)]


def test_without_a_closing_day_a_line_without_dates_holds_its_statement(bank):
    bank.receive(camt(UNDATED).encode())

    assert bank.holds() == [["balance_missing", "date_missing"]]
    assert ends(bank) == [("held", "balance_missing, date_missing", 1)]
    bank.release_all()
    assert ends(bank) == [("pays_nothing", "no_date", 1)]


def test_equal_lines_without_dates_of_two_days_are_two(bank):
    undated = UNDATED.replace("<AcctSvcrRef>REF-9</AcctSvcrRef>", "")
    first = camt(undated, closing="10.00")
    second = camt(undated, opening="10.00", closing="20.00").replace("2026-01-31", "2026-02-01")

    bank.receive(first.encode(), second.replace("<Id>S1", "<Id>S2").encode())

    assert bank.amounts() == [1000, 1000]


SILENT = [
    pytest.param(
        {"source_format": "MT940"},
        statement(line("10.00")),
        None,
        [("pays_nothing", "other_format", 1)],
        id="money is recognised in another format",
    ),
    pytest.param(
        {"currency": "CHF"},
        statement(line("10.00")),
        None,
        [("held", "account_currency", 1)],
        id="registered in another currency",
    ),
    pytest.param(
        {"number": "DE00"},
        statement(line("10.00")),
        None,
        [("held", "account_unknown", 1)],
        id="not registered",
    ),
    pytest.param(
        {"source_format": "CSV"},
        csv(),
        None,
        [("held", "account_unknown, family_doubt", 2)],
        id="a CSV without account",
    ),
    pytest.param(
        {},
        camt(entry(status="<Sts>PDNG</Sts>"), closing="0.00").encode(),
        None,
        [("pays_nothing", "not_booked", 1)],
        id="pending",
    ),
    pytest.param(
        {},
        statement(line("50.00", mark="DBIT", text="rent")),
        None,
        [("pays_nothing", "own_payment", 1)],
        id="our own payment",
    ),
    pytest.param(
        {},
        statement(line("0.00", text="information")),
        None,
        [("pays_nothing", "no_amount", 1)],
        id="no amount",
    ),
    pytest.param(
        {"currency": "USD"},
        statement(line("10.00", currency="USD")),
        None,
        [("held", "account_currency, balance_mismatch, currency_mismatch", 1)],
        id="an entry in another currency than its account",
    ),
]


@pytest.mark.parametrize(("registered", "content", "account", "expected"), SILENT)
def test_what_becomes_no_transfer_has_a_named_end(database, registered, content, account, expected):
    bank = Bank()
    bank.register(**registered)

    bank.receive(content, account=account)

    found = ends(bank)
    assert [(end, lines) for end, _, lines in found] == [(e, n) for e, _, n in expected]
    assert findings(bank) == []
    bank.release_all()
    assert all(end in {"pays_nothing", "transfer"} for end, _, _ in ends(bank))
    assert findings(bank) == []


def test_a_csv_without_currency_is_held_by_name_and_a_release_leaves_a_reason(database):
    bank = Bank()
    for currency in ("EUR", "USD"):
        bank.register(source_format="CSV", currency=currency)
    bank.receive(csv(currency=False), account=OWN_IBAN)

    [(end, why, lines)] = ends(bank)
    assert (end, lines) == ("held", 2)
    assert "currency" in why
    bank.release_all()

    assert ends(bank) == [("pays_nothing", "account_currency", 2)]


def test_registering_the_account_later_gives_its_lines_a_new_end(database):
    bank = Bank()
    bank.receive(statement(line("10.00")))
    assert ends(bank) == [("held", "account_unknown", 1)]

    bank.register()

    assert ends(bank) == [("transfer", "", 1)]


def test_a_released_statement_of_no_account_says_why_it_pays_nothing(database):
    bank = Bank()
    bank.receive(statement(line("10.00")))

    bank.release_all()

    assert ends(bank) == [("pays_nothing", "account_unknown", 1)]


def test_the_audit_finds_a_line_without_an_end_an_hour_after_its_import(bank):
    bank.receive(statement(line("10.00")))
    assert findings(bank, later=dt.timedelta(minutes=5)) == []

    [(subject, facts)] = findings(bank)

    assert subject.startswith("line ")
    assert facts["amount"] == 1000
    ends(bank)
    assert findings(bank) == []


def test_the_audit_finds_a_line_whose_transfer_is_gone(bank):
    bank.receive(statement(line("10.00")))
    ends(bank)
    with transaction() as ctx:
        ctx.session.execute(sa.text("DELETE FROM billing.transfers"))

    assert len(findings(bank)) == 1


@pytest.mark.parametrize("more", [["--dry-run"], []])
def test_an_import_sums_up_the_ends_of_its_lines(bank, tmp_path, more):
    file = tmp_path / "bank.xml"
    file.write_bytes(
        statement(line("10.00", text="a"), line("3.00", mark="DBIT"), line("4.00", mark="DBIT"))
    )

    result = CliRunner().invoke(main, ["statements", "import", str(file), "--json", *more])

    [imported] = json.loads(result.output)["files"]
    found = [(one["end"], one["lines"], one["amount_minor"]) for one in imported["result"]["ends"]]
    assert found == [("transfer", 1, 1000), ("pays_nothing", 2, -700)]


def test_an_import_shows_why_lines_pay_nothing(database, tmp_path):
    Bank().register(source_format="MT940")
    file = tmp_path / "bank.xml"
    file.write_bytes(statement(line("10.00")))

    shown = CliRunner().invoke(main, ["statements", "import", str(file)]).output

    assert "other_format: money of the account is recognised in another format" in " ".join(
        shown.split()
    )


def test_the_status_names_what_waits_with_the_command_to_see_it(bank, redis_client, tmp_path):
    refused = tmp_path / "bad.pdf"
    refused.write_bytes(b"%PDF-1.7")
    CliRunner().invoke(main, ["statements", "import", str(refused)])
    bank.receive(statement(line("10.00"), closing=900))
    bank.receive(mt940(":61:2601310131C10,00NTRFNONREF").encode())
    bank.receive(statement(line("89.00", text="?"), number=2, opening=900))
    CliRunner().invoke(main, ["transfers", "run"])

    seen = json.loads(CliRunner().invoke(main, ["status", "--json"]).output)

    assert [words for words in seen["problems"] if "billing statements" in words] == [
        "2 statements are held: billing statements list --held",
        "1 files were refused: billing statements files --refused",
    ]
    assert "1 transfers wait for review: billing transfers review" in seen["problems"]
    counts = (seen["statements_held"], seen["files_refused"], seen["transfers_waiting"])
    assert counts == (2, 1, 1)
    lines = [(one["end"], one["lines"]) for one in seen["bank_lines"]]
    assert lines == [("transfer", 1), ("held", 1), ("held", 1)]


def test_a_refused_file_is_listed_until_somebody_has_seen_it(database, tmp_path):
    refused = tmp_path / "bad.pdf"
    refused.write_bytes(b"%PDF-1.7")
    CliRunner().invoke(main, ["statements", "import", str(refused)])

    [file] = listed_files("--refused")
    CliRunner().invoke(main, ["statements", "file-seen", str(file["id"]), "--because", "no bank's"])

    assert (file["name"], file["error"]) == ("bad.pdf", "UnknownFormat")
    assert listed_files("--refused") == []
    [kept] = listed_files()
    assert kept["seen_by"]


def listed_files(*more):
    result = CliRunner().invoke(main, ["statements", "files", "--json", *more])
    return json.loads(result.output)["files"]


def test_the_report_lists_the_lines_by_their_end(bank, tmp_path):
    bank.receive(statement(line("10.00"), line("3.00", mark="DBIT")))
    ends(bank)

    CliRunner().invoke(main, ["transfers", "report", str(tmp_path / "page.html")])

    page = (tmp_path / "page.html").read_text()
    assert "own_payment: money that we paid" in page
    assert "<td>transfers</td>" in page
