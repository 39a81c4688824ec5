"""The repair gives what signup or the main app left out, and to nobody else."""

import datetime as dt

import pytest
from sqlalchemy import insert

from models.host import Subscription
from tests.story import NOON
from worker.database import transaction


def what(swept):
    return [(one.what, one.granted) for one in swept]


def subscribe(books, slug, began_at):
    with transaction() as session:
        session.execute(
            insert(Subscription).values(
                account_id=books.ids[slug],
                status="active",
                current_period_start=began_at,
                current_period_end=began_at + dt.timedelta(days=365),
            )
        )


@pytest.mark.parametrize("status", ["active", "trial"])
def test_an_account_that_was_never_seeded_is(books, status):
    books.open_account("auto-remote", status=status)

    swept = books.repair()

    assert [one.granted for one in swept] == [1000]
    assert books.seed("auto-remote").entry is None
    assert books.repair() == []


def test_one_that_was_forgotten_for_months_gets_the_running_period_alone(books):
    books.open_account("acme", created_at=NOON - dt.timedelta(days=200))

    books.repair()

    assert books.lots("acme") == {"plan": 1000}
    calendar = books.calendar("acme")
    assert (calendar.anchor_at, calendar.period_number) == (NOON - dt.timedelta(days=200), 7)


def test_an_adopted_account_gets_a_calendar_from_its_creation_and_no_credits_before_its_boundary(
    books,
):
    books.open_account("home-g8", credits=8000, created_at=NOON - dt.timedelta(days=10))

    swept = books.repair()
    assert what(swept) == [("begun", 0)]
    assert (books.repair(), books.audit().agrees) == ([], True)
    books.go_to(2026, 3, 19)
    books.sweep()

    assert (
        books.history("home-g8")
        == """
        opening balance   +8000   8000
        plan              +1000   9000
    """
    )


def test_an_adopted_account_with_a_subscription_is_anchored_there(books):
    """An annual plan drips monthly, from the day on which its year began."""
    books.open_account("acme", credits=8000, created_at=NOON - dt.timedelta(days=500))
    subscribe(books, "acme", dt.datetime(2025, 12, 31, 8, tzinfo=dt.UTC))

    books.repair()

    calendar = books.calendar("acme")
    assert calendar.next_due_at == dt.datetime(2026, 3, 31, 8, tzinfo=dt.UTC)


def test_what_the_app_gave_and_the_customer_spent_is_not_given_again(books):
    books.open_account("acme", credits=0)
    books.app_writes_entry("acme", -1000)

    assert what(books.repair()) == [("begun", 0)]


def test_an_account_that_the_app_activated_itself_begins_its_first_period_and_its_trial_ends(books):
    books.open_account("acme", status="trial")
    books.seed("acme")
    books.pass_time(days=7)
    books.set_host("acme", status="active")

    (begun,) = books.repair()

    assert (begun.granted, begun.expired) == (1000, 1000)
    assert books.lots("acme") == {"plan": 1000}
    assert books.calendar("acme").anchor_at == books.now


def test_an_account_that_the_app_let_in_again_goes_on(books):
    books.open_account("acme")
    books.seed("acme")
    books.set_host("acme", status="suspended")
    books.go_to(2026, 5, 10)
    books.sweep()
    books.set_host("acme", status="active")

    assert what(books.repair()) == [("resumed", 1000)]
    assert books.calendar("acme").next_due_at.day == 1


def test_a_plan_that_gets_credits_within_a_period_gives_them(books):
    from sqlalchemy import update

    from models.host import Plan

    books.plan("bare", included_credits=0)
    books.open_account("acme", plan="bare")
    books.seed("acme")
    with transaction() as session:
        session.execute(update(Plan).where(Plan.slug == "bare").values(included_credits=50))

    assert what(books.repair()) == [("filled", 50)]
    assert books.repair() == []


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
def test_some_accounts_are_not_repaired(books, slug, fields):
    books.open_account(slug, **fields)

    assert books.repair() == []
    assert books.see(slug).entries == []


def test_a_trial_that_spent_what_the_app_gave_is_not_repaired(books):
    books.open_account("acme", status="trial")
    books.app_writes_entry("acme", -100)

    assert books.repair() == []


def test_two_repairs_at_once_seed_once(books):
    from billing.renewal import repairs
    from tests.billing.usage.test_debits_at_once import run_together

    for number in range(10):
        books.open_account(f"a{number}")

    def repair(_):
        with transaction() as session:
            repairs.sweep(session, now=books.now)

    run_together(repair, 3)

    assert {books.see(f"a{number}").credits for number in range(10)} == {1000}


def test_a_renewal_that_is_a_day_late_is_a_finding(books):
    books.open_account("acme")
    books.seed("acme")
    books.go_to(2026, 4, 2, 13)

    assert books.audit().findings["late_renewals"]
