"""`billing credits repair-times`: a hold or an entry of the year 20000 is readable again."""

import pytest
import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError

from billing.renewal import expiry
from billing.usage import holds
from worker.database import engine, transaction


@pytest.fixture
def broken(ledger):
    """As one call of the app's role with a clock of its own left a database before."""
    account = ledger.open_account("acme", credits=100)
    with engine().begin() as connection:
        connection.execute(sa.text("SET LOCAL session_replication_role = replica"))
        connection.execute(sa.text(f"SELECT billing.open_book({account}, '20000-01-01')"))
        place = "SELECT billing.place_hold_at(:account, 'clustering', 1, 'h', 60, now())"
        connection.execute(sa.text(place), {"account": account})
        connection.execute(
            sa.text("UPDATE billing.holds SET placed_at = '20000-01-01', expires_at = 'infinity'")
        )
    return ledger


def test_a_dry_run_lists_the_times_and_changes_nothing(broken, billing_json):
    shown = billing_json("credits", "repair-times", "--dry-run")
    again = billing_json("credits", "repair-times", "--dry-run")

    assert shown["times"] != []
    assert [t["before"] for t in again["times"]] == [t["before"] for t in shown["times"]]


def test_a_repair_makes_the_account_readable_and_is_recorded(broken, billing_json, billing):
    times = billing_json("credits", "repair-times")["times"]

    columns = {(time["table"], time["column"]) for time in times}
    assert {
        ("billing.books", "opened_at"),
        ("billing.holds", "expires_at"),
        ("billing.lots", "recorded_at"),
        ("public.igny8_credit_transactions", "created_at"),
        ("public.igny8_credit_transactions", "happened_at"),
    } <= columns
    with engine().connect() as connection:
        rows = connection.execute(sa.text("SELECT act, facts ->> 'before' FROM billing.repairs"))
        assert sorted(rows.all()) == sorted(("unreadable_time", time["before"]) for time in times)
    with transaction() as ctx:
        assert len(holds.sweep(ctx)) == 1
        expiry.sweep(ctx)
    assert billing("accounts", "explain", "acme")
    assert broken.audit().agrees
    assert billing_json("credits", "repair-times")["times"] == []


@pytest.mark.parametrize(
    "change",
    [
        "amount = 1",
        "created_at = now(), amount = 1",
        "created_at = 'infinity'",
        "created_at = now(), happened_at = '20001-01-01'",
        "created_at = now(), description = 'x'",
    ],
)
def test_no_other_change_of_such_an_entry_passes_the_ledgers_trigger(broken, change):
    with engine().connect() as connection, pytest.raises(IntegrityError, match="append-only"):
        connection.execute(sa.text(f"UPDATE igny8_credit_transactions SET {change}"))


def test_the_time_of_an_entry_that_can_be_read_is_never_changed(ledger):
    ledger.open_account("acme", credits=100)
    ledger.debit("acme", "clustering", key="k")

    for change in ("created_at = now()", "happened_at = now()", "happened_at = NULL"):
        with engine().connect() as connection, pytest.raises(IntegrityError, match="append-only"):
            connection.execute(sa.text(f"UPDATE igny8_credit_transactions SET {change}"))
