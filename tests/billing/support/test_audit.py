"""The audit finds each breach of an invariant, stores it, and repairs nothing."""

import pytest
import sqlalchemy as sa
from sqlalchemy import select

from billing.usage import holds
from billing_client import PlaceHold
from flows import audit
from models.operations import Finding
from tests.story import NOON
from worker.database import engine, transaction


@pytest.fixture
def acme(ledger):
    ledger.open_account("acme", credits=100)
    ledger.debit("acme", "clustering", key="1")
    with transaction() as ctx:
        holds.place(ctx.at(ledger.now), PlaceHold(ledger.ids["acme"], "clustering", "h"))
    return ledger


def run_sql(statement):
    with engine().begin() as connection:
        connection.execute(sa.text("SET LOCAL session_replication_role = replica"))
        connection.execute(sa.text(statement))


def test_a_ledger_that_agrees_has_no_findings(acme):
    report = acme.audit()

    assert (report.agrees, report.accounts) == (True, 1)


@pytest.mark.parametrize(
    ("statement", "broken"),
    [
        pytest.param(
            "UPDATE igny8_tenants SET credits = credits + 5",
            {"drift"},
            id="the app writes a balance itself",
        ),
        pytest.param(
            "DELETE FROM igny8_credit_transactions WHERE amount < 0",
            {"entries", "keys", "seals", "lot_entries"},
            id="an entry is gone",
        ),
        pytest.param(
            "UPDATE igny8_credit_transactions SET amount = -1 WHERE amount < 0",
            {"entries", "running_balance", "seals"},
            id="an entry was changed",
        ),
        pytest.param(
            "UPDATE billing.lots SET remaining = 80",
            {"lots", "lot_entries"},
            id="a lot was changed",
        ),
        pytest.param(
            "WITH gone AS (UPDATE billing.lots SET remaining = remaining - 10)"
            " INSERT INTO billing.lots (account_id, source, priority, is_promotional, granted,"
            " remaining, key, recorded_at)"
            " SELECT account_id, 'top_up', 1, false, 10, 10, 'x', now() FROM billing.lots",
            {"lot_entries"},
            id="credits were moved from one lot to another",
        ),
        pytest.param(
            "UPDATE billing.books SET held = 3",
            {"held", "holds"},
            id="held credits that no lot holds",
        ),
        pytest.param(
            "UPDATE billing.holds SET state = 'released'",
            {"holds"},
            id="held credits that no hold needs",
        ),
        pytest.param("DELETE FROM igny8_tenants", {"account_exists"}, id="the account is gone"),
        pytest.param(
            "INSERT INTO billing.suspensions (account_id, reason, actor, status_before, since)"
            " SELECT id, 'manual', 'x', 'active', now() FROM igny8_tenants",
            {"suspension_reason"},
            id="a reason of suspension on an account that is let in",
        ),
    ],
)
def test_each_broken_invariant_is_found(acme, statement, broken):
    run_sql(statement)

    found = {name for name, subjects in acme.audit().findings.items() if subjects}

    assert found == broken


def test_the_apps_own_entries_are_no_part_of_our_sums(acme):
    acme.app_writes_entry("acme", 500, balance_after=590)

    assert acme.audit().agrees


def test_a_finding_is_kept_once_and_closed_when_it_is_no_longer_seen(acme):
    def keep_at(minute):
        audit.run(now=NOON.replace(minute=minute))

    run_sql("UPDATE igny8_tenants SET credits = credits + 5")
    keep_at(1)
    keep_at(2)
    run_sql("UPDATE igny8_tenants SET credits = credits - 5")
    keep_at(3)

    with transaction() as ctx:
        (finding,) = ctx.session.scalars(select(Finding)).all()
    assert (finding.check, finding.found_at.minute, finding.seen_at.minute) == ("drift", 1, 2)
    assert finding.closed_at.minute == 3
