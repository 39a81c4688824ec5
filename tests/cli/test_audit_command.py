"""`billing audit` and `billing accounts explain` from an operator's side, and the tick that audits."""

import datetime as dt
import json

import pytest
import sqlalchemy as sa

from tasks import upkeep
from tests.billing.ledger.test_hash_chain import tamper
from worker import clock
from worker.database import engine
from worker.settings import settings

SATURDAY = dt.datetime(2026, 12, 5, 2, 5, tzinfo=dt.UTC)


@pytest.fixture
def acme(ledger):
    ledger.open_account("acme", credits=100)
    for number in range(3):
        ledger.debit("acme", key=str(number))
    return ledger


def test_an_audit_says_what_it_has_read(billing, billing_json, acme):
    assert "read 4 entries of 1 accounts (from the start)" in billing("audit")
    assert "read 0 entries of 1 accounts (since the anchors, up to 20" in billing("audit")
    assert "read 4 entries of 1 accounts (all of them)" in billing("audit", "--full")
    covered = billing_json("audit", "--full")["coverage"]
    assert (covered["kind"], covered["entries"], covered["is_complete"]) == ("full", 4, True)


def at(monkeypatch, moment):
    monkeypatch.setattr(clock, "now", lambda: moment)


def set_anchors(monkeypatch, where):
    config = settings().model_copy(update={"chain_anchors": str(where)})
    monkeypatch.setattr(upkeep, "settings", lambda: config)


def test_the_tick_reads_all_entries_once_a_week_and_new_ones_each_hour(acme, monkeypatch):
    at(monkeypatch, SATURDAY)
    first = upkeep.audit_books()
    at(monkeypatch, SATURDAY + dt.timedelta(hours=1))
    acme.debit("acme", key="new")
    hourly = upkeep.audit_books()
    at(monkeypatch, SATURDAY + dt.timedelta(days=7))
    weekly = upkeep.audit_books()

    assert [(answer["kind"], answer["entries"]) for answer in (first, hourly, weekly)] == [
        ("full", 4),
        ("new", 1),
        ("full", 5),
    ]


def test_an_audit_that_is_not_finished_leaves_the_hour_to_the_next_tick(acme, monkeypatch):
    # Before the hour of full audits: a full one goes on where the last one stopped.
    at(monkeypatch, SATURDAY.replace(hour=0))
    acme.open_account("other", credits=100)
    acme.debit("other", key="o")
    monkeypatch.setattr("billing.support.ledger_pages.ACCOUNTS_AT_ONCE", 1)
    monkeypatch.setattr(upkeep, "BUDGET_S", 0.0)
    answers = [upkeep.audit_books() for _ in range(4)]

    assert not answers[0]["is_complete"]
    monkeypatch.setattr(upkeep, "BUDGET_S", 60.0)
    assert upkeep.audit_books()["is_complete"]
    assert upkeep.audit_books() == {"why_not": "this hour's audit is done"}


def test_each_night_keeps_the_anchors_in_the_file_once(acme, monkeypatch, tmp_path, billing):
    file = tmp_path / "anchors"
    set_anchors(monkeypatch, file)
    at(monkeypatch, SATURDAY)
    assert upkeep.audit_books()["anchors"] == 1
    at(monkeypatch, SATURDAY + dt.timedelta(hours=1))
    assert "anchors" not in upkeep.audit_books()

    lines = [json.loads(line) for line in file.read_text().splitlines()]
    assert [line["event"] for line in lines] == ["chain_anchor", "chain_total"]
    assert "the ledger agrees" in billing("audit", "--anchors", str(file))


def test_the_anchors_can_be_kept_in_the_log(acme, monkeypatch, capsys):
    from worker import logs

    monkeypatch.setattr("sys.stderr", __import__("sys").stderr)
    logs.configure("INFO")
    set_anchors(monkeypatch, "log")
    at(monkeypatch, SATURDAY)

    assert upkeep.audit_books()["anchors"] == 1
    assert "chain_anchor" in capsys.readouterr().err


def test_a_file_that_cannot_be_written_is_a_finding_and_the_audit_goes_on(
    acme, monkeypatch, tmp_path
):
    set_anchors(monkeypatch, tmp_path / "missing" / "anchors")
    at(monkeypatch, SATURDAY)

    assert upkeep.audit_books()["is_complete"]
    with engine().connect() as connection:
        statement = sa.text("""SELECT "check", facts ->> 'problem' FROM billing.findings""")
        assert connection.execute(statement).all() == [
            ("anchors_file", "No such file or directory")
        ]


def test_an_audit_against_a_file_finds_a_tail_that_is_gone(acme, monkeypatch, tmp_path, billing):
    set_anchors(monkeypatch, tmp_path / "anchors")
    at(monkeypatch, SATURDAY)
    upkeep.audit_books()
    monkeypatch.undo()
    for table in ("billing.chain_anchors", "billing.chain_total"):
        tamper(f"DELETE FROM {table}")
    tamper("DELETE FROM igny8_credit_transactions WHERE idempotency_key = '2'")

    shown = billing("audit", "--anchors", str(tmp_path / "anchors"), exit_code=1)

    assert "anchors_kept: account 1: " in shown
    assert "the entry that was its last one, of 4, is gone" in shown


@pytest.mark.parametrize(
    ("text", "words"),
    [
        pytest.param("hello\n", "has no line of an anchor", id="another file"),
        pytest.param('{"event": "chain_anchor"}\n', "line 1 is no anchor", id="a broken line"),
        pytest.param("\x00\xff", "has no line of an anchor", id="bytes"),
    ],
)
def test_a_file_without_anchors_is_refused_in_a_sentence(billing, acme, tmp_path, text, words):
    (tmp_path / "anchors").write_text(text, encoding="latin-1")

    assert words in billing("audit", "--anchors", str(tmp_path / "anchors"), exit_code=1)


def test_new_anchors_are_recorded_on_an_operators_word(billing, acme):
    billing("audit")
    tamper("DELETE FROM billing.chain_anchors")
    assert "anchors were removed or added: 1 were recorded, 0 are here" in billing(
        "audit", exit_code=1
    )

    assert "the ledger agrees" in billing("audit", "--new-anchors")
    assert "the ledger agrees" in billing("audit")


def test_explain_leads_from_page_to_page(billing, billing_json, acme):
    page = billing_json("accounts", "explain", "acme", "--limit", "2")
    before = billing_json("accounts", "explain", "acme", "--before", page["next"])

    assert [line["balance"] for line in page["lines"]] == [98, 96, 94] or len(page["lines"]) == 2
    assert before["next"] is None
    assert f"--before {page['next']}" in billing("accounts", "explain", "acme", "--limit", "2")
    assert "is no cursor" in billing("accounts", "explain", "acme", "--before", "x", exit_code=2)
    assert "is no cursor" in billing("accounts", "explain", "acme", "--before", "1-x", exit_code=2)
