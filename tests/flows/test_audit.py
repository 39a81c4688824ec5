"""The audit reads the ledger in short snapshots, goes on after a crash, and never stumbles."""

import json
from concurrent.futures import ThreadPoolExecutor

import pytest
import sqlalchemy as sa
from click.testing import CliRunner

from billing.support import ledger_pages
from billing_client import Debit
from cli.main import main
from flows import audit
from tests.billing.ledger.test_hash_chain import tamper
from tests.story import NOON
from worker.database import engine

ENTRIES = "igny8_credit_transactions"
#: Accounts of the ledger, and debits of each.
ACCOUNTS, DEBITS = 7, 5


@pytest.fixture
def many(ledger):
    for number in range(ACCOUNTS):
        ledger.open_account(f"a{number}", credits=100)
    ledger.debit_all(
        [
            Debit(number + 1, "image_prompt_extraction", f"{number}-{debit}")
            for number in range(ACCOUNTS)
            for debit in range(DEBITS)
        ]
    )
    return ledger


def read(statement):
    with engine().connect() as connection:
        return connection.execute(sa.text(statement)).all()


def findings_of(report):
    return {name: sorted(rows, key=str) for name, rows in report.findings.items() if rows}


@pytest.mark.parametrize(("accounts", "entries"), [(1, 1), (2, 7), (100, 12)])
@pytest.mark.parametrize("is_full", [True, False])
def test_small_pages_find_what_one_large_page_finds(many, monkeypatch, accounts, entries, is_full):
    tamper(f"UPDATE {ENTRIES} SET amount = -1 WHERE idempotency_key IN ('0-0', '3-4', '6-2')")
    tamper(f"DELETE FROM {ENTRIES} WHERE idempotency_key IN ('1-4', '4-0')")
    tamper("UPDATE billing.lots SET remaining = remaining - 1 WHERE account_id = 2")
    tamper("UPDATE igny8_tenants SET credits = 5 WHERE id = 7")
    whole = audit.run(now=NOON, is_full=is_full)
    tamper("DELETE FROM billing.chain_anchors")
    tamper("DELETE FROM billing.chain_total")
    monkeypatch.setattr(ledger_pages, "ACCOUNTS_AT_ONCE", accounts)
    monkeypatch.setattr(ledger_pages, "ENTRIES_AT_ONCE", entries)

    report = audit.run(now=NOON, is_full=is_full)

    assert findings_of(report) == findings_of(whole)
    assert report.coverage.accounts == whole.coverage.accounts == ACCOUNTS
    assert report.coverage.entries == whole.coverage.entries


@pytest.mark.parametrize("is_full", [True, False])
def test_no_snapshot_is_open_from_one_page_to_the_next(many, monkeypatch, is_full):
    """A page's size bounds how long a snapshot is open, whatever the size of the ledger."""
    monkeypatch.setattr(ledger_pages, "ACCOUNTS_AT_ONCE", 2)
    monkeypatch.setattr(ledger_pages, "ENTRIES_AT_ONCE", 4)
    check, pages, snapshots = ledger_pages.check, [], set()

    def watched(ctx, *given, **named):
        left_open = read("SELECT pid FROM pg_stat_activity WHERE backend_xmin IS NOT NULL"
                         " AND pid <> pg_backend_pid() AND datname = current_database()"
                         " AND backend_type = 'client backend'")  # fmt: skip
        page = check(ctx, *given, **named)
        (began,) = ctx.session.execute(sa.text("SELECT now()")).one()
        snapshots.add(began)
        pages.append((left_open, page.accounts, page.entries))
        return page

    monkeypatch.setattr(ledger_pages, "check", watched)

    assert audit.run(now=NOON, is_full=is_full).agrees
    assert len(snapshots) == len(pages) > ACCOUNTS
    assert all(not left_open for left_open, _, _ in pages)
    assert max(accounts for _, accounts, _ in pages) <= 2
    assert max(entries for _, _, entries in pages) <= 4


@pytest.fixture
def killed_after(monkeypatch):
    """Kills an audit after so many pages."""

    def kill(pages):
        check, done = ledger_pages.check, []

        def dies(*given, **named):
            if len(done) == pages:
                raise KeyboardInterrupt
            done.append(check(*given, **named))
            return done[-1]

        with monkeypatch.context() as patched:
            patched.setattr(ledger_pages, "check", dies)
            with pytest.raises(KeyboardInterrupt):
                audit.run(now=NOON, is_full=True)

    return kill


def test_a_full_audit_that_was_killed_goes_on_where_it_was(many, monkeypatch, killed_after):
    monkeypatch.setattr(ledger_pages, "ACCOUNTS_AT_ONCE", 1)
    tamper(f"UPDATE {ENTRIES} SET amount = -1 WHERE idempotency_key = '0-1'")
    killed_after(4)

    report = audit.run(now=NOON, is_full=True)

    covered = report.coverage
    assert (covered.resumed_after, covered.accounts) == (4, ACCOUNTS - 4)
    assert covered.is_complete
    assert report.findings["running_balance"][0][1]["account_id"] == 1
    assert audit.run(now=NOON, is_full=True).coverage.accounts == ACCOUNTS


def test_an_audit_of_what_is_new_that_was_killed_verifies_nothing_twice(many, monkeypatch):
    monkeypatch.setattr(ledger_pages, "ACCOUNTS_AT_ONCE", 2)
    assert not audit.run(now=NOON, budget_s=0).coverage.is_complete

    covered = audit.run(now=NOON).coverage

    assert covered.is_complete
    assert covered.entries == (ACCOUNTS - 2) * (DEBITS + 1)


def test_an_audit_that_stops_at_its_budget_closes_no_finding_of_accounts_it_did_not_reach(
    many, monkeypatch
):
    monkeypatch.setattr(ledger_pages, "ACCOUNTS_AT_ONCE", 2)
    many.set_host("a6", credits=5)
    audit.run(now=NOON)

    audit.run(now=NOON.replace(minute=1), budget_s=0)

    assert read("SELECT subject FROM billing.findings WHERE closed_at IS NULL") == [("account 7",)]


def test_progress_is_told_on_the_way(many, monkeypatch):
    monkeypatch.setattr(ledger_pages, "ACCOUNTS_AT_ONCE", 3)
    monkeypatch.setattr(audit, "PROGRESS_EVERY_S", 0.0)
    told = []

    audit.run(now=NOON, on_progress=told.append)

    assert [covered.accounts for covered in told] == [3, 6, 7]


@pytest.mark.parametrize("is_full", [True, False])
def test_an_audit_beside_debits_raises_no_false_alarm(many, monkeypatch, is_full):
    monkeypatch.setattr(ledger_pages, "ACCOUNTS_AT_ONCE", 2)
    monkeypatch.setattr(ledger_pages, "ENTRIES_AT_ONCE", 5)

    def debit(name):
        for batch in range(12):
            many.debit_all(
                [
                    Debit(1 + n % ACCOUNTS, "image_prompt_extraction", f"{name}:{batch}:{n}")
                    for n in range(10)
                ]
            )

    reports = []
    with ThreadPoolExecutor(2) as pool:
        senders = [pool.submit(debit, name) for name in "ab"]
        while not all(sender.done() for sender in senders):
            reports.append(audit.run(now=NOON, is_full=is_full))
        for sender in senders:
            sender.result()

    assert [findings_of(report) for report in reports] == [{}] * len(reports)
    assert audit.run(now=NOON, is_full=True).agrees


# --- rows that can't be read ---------------------------------------------------------------------
ODD_ENTRIES = {
    "a year after 9999": ("happened_at = '20000-01-01 00:00:00Z'", "happened_at is 20000-01-01"),
    "infinity": ("happened_at = 'infinity'", "happened_at is infinity"),
    "before Christ": ("created_at = '0044-03-15 00:00:00Z BC'", "created_at is 0044-03-15"),
    "metadata that is a list": ("metadata = '[1]'", "metadata is no JSON object"),
    "metadata that is a text": ("""metadata = '"x"'""", "metadata is no JSON object"),
    "metadata that is JSON null": ("metadata = 'null'", "metadata is no JSON object"),
    "metadata with a number of 5,000 digits": (
        "metadata = jsonb_build_object('n', repeat('9', 5000)::numeric)",
        None,
    ),
    "metadata too deep for Python": (
        "metadata = (repeat('{\"a\":', 3000) || '1' || repeat('}', 3000))::jsonb",
        "metadata is no JSON object",
    ),
    "lots that are a number": ("lots_used = '5'", "lots_used is no list"),
    "lots that are texts": ("""lots_used = '[["a", "b"]]'""", "lots_used is no list"),
    "lots of another shape": ("lots_used = '[[1, 2, 3], {}]'", "lots_used is no list"),
    "no actor": ("actor = NULL", "actor may not be NULL"),
    "no time": ("happened_at = NULL", "happened_at may not be NULL"),
    "an unknown type": ("type = 'gift'", "the type 'gift' is unknown"),
}


@pytest.mark.parametrize(("change", "problem"), ODD_ENTRIES.values(), ids=ODD_ENTRIES)
def test_an_entry_that_cannot_be_read_is_a_finding_and_the_rest_goes_on(many, change, problem):
    tamper(f"UPDATE {ENTRIES} SET {change} WHERE idempotency_key = '2-2'")
    tamper(f"UPDATE {ENTRIES} SET amount = -1 WHERE idempotency_key = '5-3'")

    report = audit.run(now=NOON, is_full=True)

    by_account = {facts["account_id"] for rows in report.findings.values() for _, facts in rows
                  if "account_id" in facts}  # fmt: skip
    assert by_account == {3, 6}
    if problem:
        ((_, facts),) = report.findings["unreadable"]
        assert (facts["account_id"], facts["table"]) == (3, ENTRIES)
        assert [(facts["row"],)] == read(f"SELECT id FROM {ENTRIES} WHERE idempotency_key = '2-2'")
        assert facts["problem"].startswith(problem)


@pytest.mark.parametrize(("change", "problem"), ODD_ENTRIES.values(), ids=ODD_ENTRIES)
def test_no_command_of_support_stumbles_over_an_odd_entry(many, redis_client, change, problem):
    tamper(f"UPDATE {ENTRIES} SET {change} WHERE idempotency_key = '2-2'")

    for words, exit_code in (
        (("audit",), 1),
        (("audit", "--full", "--json"), 1),
        (("accounts", "explain", "3"), 0),
        (("accounts", "explain", "3", "--json"), 0),
        (("accounts", "show", "3"), 0),
        (("accounts", "show", "3", "--json"), 0),
    ):
        answer = CliRunner().invoke(main, [*words])
        assert answer.exit_code == exit_code, (words, answer.output, answer.exception)
        assert "Traceback" not in answer.output


ODD_ROWS = {
    "a lot that ends in the year 20000": (
        "UPDATE billing.lots SET expires_at = '20000-01-01Z' WHERE account_id = 3",
        ("billing.lots", "expires_at is 20000-01-01 00:00:00+00"),
    ),
    "a lot that starts at -infinity": (
        "UPDATE billing.lots SET starts_at = '-infinity' WHERE account_id = 3",
        ("billing.lots", "starts_at is -infinity"),
    ),
    "a refusal at infinity": (
        """INSERT INTO billing.refusals (account_id, key, operation, units, reason, facts,
        happened_at, recorded_at) VALUES (3, 'k', 'o', 1, 'InsufficientCredits', '{}',
        'infinity', 'infinity')""",
        ("billing.refusals", "happened_at is infinity, recorded_at is infinity"),
    ),
    "a hold until the year 20000": (
        """INSERT INTO billing.holds (account_id, operation, units, credits, lots, key, key_text,
        state, placed_at, expires_at) VALUES (3, 'clustering', 1, 0, '[]', gen_random_uuid(), 'h',
        'held', now(), '20000-01-01Z')""",
        ("billing.holds", "expires_at is 20000-01-01 00:00:00+00"),
    ),
    "an account deleted at infinity": (
        "UPDATE igny8_tenants SET deleted_at = 'infinity' WHERE id = 3",
        ("igny8_tenants", "deleted_at is infinity"),
    ),
}


@pytest.mark.parametrize(("change", "expected"), ODD_ROWS.values(), ids=ODD_ROWS)
def test_a_row_beside_the_entries_that_cannot_be_read_is_a_finding(
    many, redis_client, change, expected
):
    tamper(change)

    report = audit.run(now=NOON, is_full=True)
    shown = [CliRunner().invoke(main, ["accounts", word, "3"]) for word in ("explain", "show")]

    ((_, facts),) = report.findings["unreadable"]
    assert (facts["table"], facts["problem"]) == expected
    assert facts["account_id"] == 3
    assert [answer.exit_code for answer in shown] == [0, 0], [a.exception for a in shown]


@pytest.mark.parametrize(
    ("kind", "facts"),
    [
        pytest.param("refund", {"amount": "ten", "status": "succeeded"}, id="a text as an amount"),
        pytest.param("invoice", {"status": "paid", "paid": "ten"}, id="a text as a paid amount"),
        pytest.param("invoice", {"status": "paid", "paid": 5}, id="an invoice without lines"),
        pytest.param("invoice", {"status": "paid", "paid": 5, "lines": 7}, id="lines that are 7"),
    ],
)
def test_an_object_of_stripe_that_cannot_be_read_is_a_finding_that_names_it(many, kind, facts):
    tamper(
        "INSERT INTO billing.stripe_objects (id, kind, account_id, facts, version_at, rank, digest,"
        f" recorded_at) VALUES ('odd_1', '{kind}', 3, '{json.dumps(facts)}', now(), '{{}}', '',"
        " now())"
    )
    tamper(f"UPDATE {ENTRIES} SET amount = -1 WHERE idempotency_key = '5-3'")

    report = audit.run(now=NOON, is_full=True)

    rows = report.findings["unreadable"] + report.findings["stripe_without_credits"]
    assert any((row.get("table"), row.get("row"), row.get("account_id"))
               == ("billing.stripe_objects", "odd_1", 3) for _, row in rows), rows  # fmt: skip
    assert report.findings["running_balance"]
