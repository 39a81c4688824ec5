"""The repair gives the credits and cycles that signup or the main app left out, and no others."""

import datetime as dt

import pytest
from sqlalchemy import insert

from models.host import Subscription
from tests.story import NOON
from worker.database import transaction


def what(results):
    return [(result.what, result.granted) for result in results]


def subscribe(ledger, slug, began_at):
    with transaction() as ctx:
        ctx.session.execute(
            insert(Subscription).values(
                account_id=ledger.ids[slug],
                status="active",
                current_period_start=began_at,
                current_period_end=began_at + dt.timedelta(days=365),
            )
        )


@pytest.mark.parametrize("status", ["active", "trial"])
def test_an_account_without_a_signup_grant_gets_one(ledger, status):
    ledger.open_account("auto-remote", status=status)

    results = ledger.repair()

    assert [result.granted for result in results] == [1000]
    assert ledger.seed("auto-remote").entry is None
    assert ledger.repair() == []


def test_one_that_was_forgotten_for_months_gets_the_running_period_alone(ledger):
    ledger.open_account("acme", created_at=NOON - dt.timedelta(days=200))

    ledger.repair()

    assert ledger.lots("acme") == {"plan": 1000}
    calendar = ledger.cycle("acme")
    assert (calendar.anchor_at, calendar.period_number) == (NOON - dt.timedelta(days=200), 7)


def test_an_adopted_account_gets_a_cycle_from_its_creation_and_no_credits_before_its_boundary(
    ledger,
):
    ledger.open_account("home-g8", credits=8000, created_at=NOON - dt.timedelta(days=10))

    results = ledger.repair()
    assert what(results) == [("begun", 0)]
    assert (ledger.repair(), ledger.audit().agrees) == ([], True)
    ledger.go_to(2026, 3, 19)
    ledger.sweep()

    assert (
        ledger.history("home-g8")
        == """
        opening balance   +8000   8000
        plan              +1000   9000
    """
    )


def test_an_adopted_account_with_a_subscription_is_anchored_there(ledger):
    """An annual plan drips monthly, from the day on which its year began."""
    ledger.open_account("acme", credits=8000, created_at=NOON - dt.timedelta(days=500))
    subscribe(ledger, "acme", dt.datetime(2025, 12, 31, 8, tzinfo=dt.UTC))

    ledger.repair()

    calendar = ledger.cycle("acme")
    assert calendar.next_due_at == dt.datetime(2026, 3, 31, 8, tzinfo=dt.UTC)


def test_what_the_app_gave_and_the_customer_spent_is_not_given_again(ledger):
    ledger.open_account("acme", credits=0)
    ledger.app_writes_entry("acme", -1000)

    assert what(ledger.repair()) == [("begun", 0)]


def test_an_account_that_the_app_activated_itself_begins_its_first_period_and_its_trial_ends(
    ledger,
):
    ledger.open_account("acme", status="trial")
    ledger.seed("acme")
    ledger.pass_time(days=7)
    ledger.set_host("acme", status="active")

    (begun,) = ledger.repair()

    assert (begun.granted, begun.expired) == (1000, 1000)
    assert ledger.lots("acme") == {"plan": 1000}
    assert ledger.cycle("acme").anchor_at == ledger.now


def test_an_account_that_the_app_reactivated_goes_on(ledger):
    ledger.open_account("acme")
    ledger.seed("acme")
    ledger.set_host("acme", status="suspended")
    ledger.go_to(2026, 5, 10)
    ledger.sweep()
    ledger.set_host("acme", status="active")

    assert what(ledger.repair()) == [("resumed", 1000)]
    assert ledger.cycle("acme").next_due_at.day == 1


def test_a_plan_that_gets_credits_within_a_period_gives_them(ledger):
    from sqlalchemy import update

    from models.host import Plan

    ledger.plan("bare", included_credits=0)
    ledger.open_account("acme", plan="bare")
    ledger.seed("acme")
    with transaction() as ctx:
        ctx.session.execute(update(Plan).where(Plan.slug == "bare").values(included_credits=50))

    assert what(ledger.repair()) == [("filled", 50)]
    assert ledger.repair() == []


@pytest.mark.parametrize(
    ("slug", "fields"),
    [
        pytest.param("aws-admin", {}, id="the system's"),
        pytest.param("gone", {"is_deleted": True}, id="deleted"),
        pytest.param("acme", {"status": "suspended"}, id="suspended"),
        pytest.param("acme", {"status": "cancelled"}, id="cancelled"),
        pytest.param("acme", {"status": "pending_payment"}, id="not yet paid"),
        pytest.param("acme", {"plan": None}, id="without a plan"),
        pytest.param("acme", {"status": "trial", "credits": 100}, id="a trial with credits"),
    ],
)
def test_some_accounts_are_not_repaired(ledger, slug, fields):
    ledger.open_account(slug, **fields)

    assert ledger.repair() == []
    assert ledger.see(slug).entries == []


def test_a_trial_that_spent_what_the_app_gave_is_not_repaired(ledger):
    ledger.open_account("acme", status="trial")
    ledger.app_writes_entry("acme", -100)

    assert ledger.repair() == []


def test_two_repairs_at_once_give_one_signup_grant(ledger):
    from billing.renewal import repairs
    from tests.billing.usage.test_debits_at_once import run_together

    for number in range(10):
        ledger.open_account(f"a{number}")

    def repair(_):
        with transaction() as ctx:
            repairs.sweep(ctx.at(ledger.now))

    run_together(repair, 3)

    assert {ledger.see(f"a{number}").credits for number in range(10)} == {1000}


def test_a_renewal_that_is_a_day_late_is_a_finding(ledger):
    ledger.open_account("acme")
    ledger.seed("acme")
    ledger.go_to(2026, 4, 2, 13)

    assert ledger.audit().findings["late_renewals"]
