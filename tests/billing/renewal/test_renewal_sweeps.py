"""A sweep that finds one account broken, by SQL or by a bug, does the others."""

import datetime as dt

import pytest
import sqlalchemy as sa

from billing.renewal import expiry, renewals, repairs
from billing.usage import holds
from billing_client import PlaceHold
from flows import sweeps
from worker import clock
from worker.database import engine, transaction


@pytest.fixture
def acme(ledger):
    """Two accounts with a period's lot, of which one will be broken."""
    for slug in ("broken", "acme"):
        ledger.open_account(slug)
        ledger.seed(slug)
    return ledger


def break_by_sql(statement):
    with engine().begin() as connection:
        connection.execute(sa.text(statement))


def one_set(ledger, sweep):
    with transaction() as ctx:
        return {
            (slug, each.what, each.error)
            for each in sweep(ctx.at(ledger.now))
            for slug, account_id in ledger.ids.items()
            if account_id == each.account_id
        }


def test_an_expiry_that_breaks_harms_no_other_account(acme):
    for slug in ("broken", "acme"):
        acme.grant(slug, 50, key=f"gift:{slug}", expires_at=acme.now + dt.timedelta(days=1))
    break_by_sql("UPDATE billing.books SET credits = 7 WHERE account_id = 1")
    acme.pass_time(days=2)

    done = one_set(acme, expiry.sweep)

    assert done == {("broken", "broke", "IntegrityError"), ("acme", "expired", None)}
    assert acme.see("acme").credits == 1000
    assert acme.see("broken").credits == 7, "nothing is repaired"


def test_a_renewal_that_breaks_harms_no_other_account(acme):
    break_by_sql("UPDATE billing.books SET credits = 7 WHERE account_id = 1")
    acme.plan("small", included_credits=10)
    acme.change_plan("broken", "small")
    acme.pass_time(days=31)

    done = one_set(acme, renewals.sweep_due)

    assert done == {("broken", "broke", "IntegrityError"), ("acme", "renewed", None)}


def test_a_hold_that_can_not_expire_harms_no_other(acme):
    for slug in ("broken", "acme"):
        with transaction() as ctx:
            message = PlaceHold(acme.ids[slug], "clustering", f"hold:{slug}")
            holds.place(ctx.at(acme.now), message)
    break_by_sql("DELETE FROM billing.lots WHERE account_id = 1")
    acme.pass_time(hours=1)

    done = one_set(acme, holds.sweep)

    assert done == {("broken", "broke", "KeyError"), ("acme", "hold expired", None)}
    assert acme.see("acme").held == 0


def test_a_repair_that_breaks_harms_no_other_account(acme):
    for slug in ("broken", "acme"):
        acme.change_status(slug, "suspended", reason="manual")
        acme.set_host(slug, status="active")
    break_by_sql("DELETE FROM billing.lots WHERE account_id = 1")
    break_by_sql("UPDATE billing.credit_calendars SET plan_id = 404 WHERE account_id = 1")

    def repair(ctx):
        return repairs.sweep(ctx).results

    assert ("acme", "resumed", None) in one_set(acme, repair)


def test_a_run_ends_where_only_broken_accounts_are_left(acme, monkeypatch):
    acme.grant("broken", 50, key="gift", expires_at=acme.now + dt.timedelta(days=1))
    break_by_sql("UPDATE billing.books SET credits = 7 WHERE account_id = 1")
    acme.pass_time(days=2)
    monkeypatch.setattr(clock, "now", lambda: acme.now)

    results = sweeps.until_done(expiry.sweep)

    assert sweeps.counts(results) == {"broke": 1}
