"""A trial has an end and reminders; after a grace period, accounts that did not pay are suspended."""

import datetime as dt

import pytest
from sqlalchemy import func, select

from billing.context import Policy
from billing.errors import AccountDeleted, SystemAccount, TrialEndRefused, UnknownAccount
from billing.lifecycle.dunning import cases as dunning_cases
from billing.lifecycle.trials import overrides as trial_overrides
from billing.lifecycle.trials import reminders as trial_reminders
from billing.lifecycle.trials import sweeps as trial_sweeps
from models.credits import PlanPolicy
from models.life import Trial, TrialReminder
from worker.database import transaction

DAY = dt.timedelta(days=1)


def days(life, since, *, until):
    return (until - since) / DAY


# --- the end ----------------------------------------------------------------------------------------


def test_a_trial_lasts_as_long_as_the_setting_says_and_then_a_grace(life):
    life.try_out("acme")

    trial = life.trial("acme")
    assert (trial.ends_at - life.now, trial.suspends_at - life.now) == (14 * DAY, 17 * DAY)


def test_a_plan_may_say_how_long_its_trial_is(life):
    life.plan("growth", trial_days=30)
    life.try_out("acme", plan="growth")

    assert life.trial("acme").ends_at - life.now == 30 * DAY


def test_an_account_without_a_plan_has_a_trial_too(life):
    life.try_out("acme", plan=None)

    assert life.trial("acme").ends_at - life.now == 14 * DAY


def test_an_end_counts_from_the_account_s_creation_and_the_grace_from_now(life):
    life.try_out("acme", created_at=life.now - 800 * DAY)

    trial = life.trial("acme")
    assert trial.ends_at == life.now - 786 * DAY
    assert trial.suspends_at == life.now + 3 * DAY


@pytest.mark.parametrize(
    "created_at",
    [
        pytest.param(dt.datetime(2028, 2, 29, 23, 59, tzinfo=dt.UTC), id="leap day"),
        pytest.param(dt.datetime(2027, 3, 27, 1, 30, tzinfo=dt.UTC), id="before Europe's spring"),
        pytest.param(dt.datetime(2026, 10, 24, 0, 30, tzinfo=dt.UTC), id="before Europe's autumn"),
        pytest.param(dt.datetime(2027, 12, 30, tzinfo=dt.UTC), id="over the year's end"),
    ],
)
def test_a_day_is_24_hours(life, created_at):
    life.now = created_at
    life.try_out("acme")

    assert life.trial("acme").ends_at == created_at + dt.timedelta(hours=14 * 24)


@pytest.mark.parametrize("slug", ["aws-admin", "default-account", "default"])
def test_a_system_account_has_no_trial(life, slug):
    life.try_out(slug)
    life.pass_time(days=100)

    assert life.age() == []
    assert life.status(slug) == "trial"


def test_a_deleted_account_is_left_alone(life):
    life.try_out("acme")
    life.delete_account("acme")
    life.pass_time(days=100)

    life.age()

    assert (life.status("acme"), life.trial("acme").outcome) == ("trial", "deleted")
    assert life.events("account.suspended", "trial.ending") == []


def test_one_that_is_restored_gets_a_grace(life):
    life.try_out("acme")
    life.delete_account("acme")
    life.pass_time(days=100)
    life.age()

    life.set_host("acme", is_deleted=False)
    life.age()

    assert life.status("acme") == "trial"
    assert life.trial("acme").suspends_at == life.now + 3 * DAY


def test_an_account_that_nobody_paid_for_is_suspended_after_the_grace_and_not_before(life):
    life.try_out("acme")
    life.pass_time(days=17, seconds=-1)
    life.age()
    assert life.status("acme") == "trial"

    life.pass_time(seconds=1)
    life.age()

    assert (life.status("acme"), life.reasons("acme")) == ("suspended", ["trial_over"])
    assert life.trial("acme").outcome == "expired"
    assert life.events("account.suspended") == [
        (
            "account.suspended",
            {
                "status_from": "trial",
                "status_to": "suspended",
                "reason": "trial_over",
                "actor": "billing",
            },
        )
    ]


def test_trial_credits_expire_with_the_trial(life):
    life.try_out("acme")
    life.seed("acme")
    life.pass_time(days=17)

    life.age()

    assert (
        life.history("acme")
        == """
        trial           +1000   1000
        trial expired   -1000      0
    """
    )
    assert life.audit().agrees


def test_trial_credits_may_outlive_the_trial_if_the_operator_wants(life):
    life.policy = Policy(trial_credits_lapse=False)
    life.try_out("acme")
    life.seed("acme")
    life.pass_time(days=17)

    life.age()

    assert life.see("acme").credits == 1000


# --- what speaks for an account, at the last moment -------------------------------------------------


def test_an_account_that_pays_early_is_in_no_trial_any_more(life):
    life.try_out("acme")
    life.pass_time(days=5)

    life.pay("acme")
    life.pass_time(days=100)
    life.age()

    assert (life.status("acme"), life.trial("acme").outcome) == ("active", "paid")
    assert life.reminders() == []


def test_a_payment_that_nobody_acted_on_lets_the_account_in(life):
    life.try_out("acme")
    life.pass_time(days=16)
    life.record_payment("acme")
    life.pass_time(days=1)

    life.age()

    assert life.status("acme") == "active"


@pytest.mark.parametrize("status", ["failed", "pending", "refunded"])
def test_a_payment_that_failed_does_not(life, status):
    life.try_out("acme")
    life.record_payment("acme", paid=status)
    life.pass_time(days=17)

    life.age()

    assert life.status("acme") == "suspended"


def test_a_payment_from_before_the_trial_does_not(life):
    life.open_account("acme", status="trial")
    life.now -= 400 * DAY
    life.record_payment("acme")
    life.now += 400 * DAY
    life.age()
    life.pass_time(days=17)

    life.age()

    assert life.status("acme") == "suspended"


def test_a_payment_from_before_a_failed_one_does_not(life):
    life.try_out("acme")
    life.pay("acme")
    life.act(dunning_cases.open_case, "acme", cause="card_failed")
    life.set_host("acme", status="trial")
    life.age(trial_sweeps.begin_missing)
    life.pass_time(days=17)

    life.age(trial_sweeps.expire_due)

    assert (life.status("acme"), life.reasons("acme")) == ("suspended", ["trial_over"])


def test_a_subscription_at_stripe_lets_the_account_in(life):
    life.try_out("acme")
    life.subscribe("acme", until=life.now + 40 * DAY)
    life.pass_time(days=17)

    life.age()

    assert life.status("acme") == "active"


def test_a_subscription_that_has_run_out_does_not(life):
    life.try_out("acme")
    life.subscribe("acme", until=life.now + 10 * DAY)
    life.pass_time(days=17)

    life.age()

    assert life.status("acme") == "suspended"


def test_a_trial_at_stripe_that_lasts_longer_moves_ours(life):
    life.try_out("acme")
    until = life.now + 30 * DAY
    life.subscribe("acme", until=until, status="trialing")
    life.pass_time(days=17)

    life.age()

    assert (life.status("acme"), life.trial("acme").ends_at) == ("trial", until)


def test_an_announced_transfer_keeps_the_account_in(life):
    life.try_out("acme")
    life.pass_time(days=10)
    life.announce("acme")
    life.pass_time(days=7)

    life.age()

    assert life.status("acme") == "pending_payment"
    assert life.trial("acme").outcome == "awaits_payment"


def test_an_account_that_the_main_app_activated_is_left_alone(life):
    life.try_out("acme")
    life.set_host("acme", status="active")
    life.pass_time(days=17)

    life.age()

    assert life.status("acme") == "active"


def test_a_status_that_nobody_knows_is_left_alone(life):
    life.try_out("acme")
    life.set_host("acme", status="on_hold")
    life.pass_time(days=17)

    life.age()

    assert (life.status("acme"), life.trial("acme").outcome) == ("on_hold", "left")


def test_a_trial_goes_on_ageing_while_the_account_is_suspended_for_another_reason(life):
    life.try_out("acme")
    life.change_status("acme", "suspended", reason="dispute")
    life.pass_time(days=17)
    life.age()

    life.change_status("acme", None, reason="dispute")

    assert life.reasons("acme") == ["trial_over"]


def test_an_account_that_the_main_app_puts_back_into_trial_gets_a_grace_and_no_more(life):
    life.try_out("acme")
    life.pass_time(days=17)
    life.age()

    life.change_status("acme", "trial", reason="trial_over")
    life.age()
    assert life.status("acme") == "trial"
    life.pass_time(days=3)
    life.age()

    assert life.status("acme") == "suspended"


# --- reminders --------------------------------------------------------------------------------------


def test_an_account_is_reminded_7_3_1_and_0_days_before_the_end_once_each(life):
    life.try_out("acme")

    for _ in range(17 * 4):
        life.pass_time(hours=6)
        life.age()
        life.age()

    assert life.reminders() == [7, 3, 1, 0]


def test_a_sweep_that_comes_late_sends_the_last_reminder_alone(life):
    life.try_out("acme")
    life.pass_time(days=13, hours=1)

    life.age()

    assert life.reminders() == [1]
    with transaction() as ctx:
        kept = select(TrialReminder.days_before, TrialReminder.is_sent)
        assert set(ctx.session.execute(kept).all()) == {(7, False), (3, False), (1, True)}


def test_a_short_trial_is_not_reminded_on_its_first_day(life):
    life.plan("short", trial_days=3)
    life.try_out("acme", plan="short")

    for _ in range(6):
        life.age()
        life.pass_time(days=1)

    assert life.reminders() == [1, 0]


def test_an_extended_trial_is_reminded_of_its_new_end(life):
    life.try_out("acme")
    life.pass_time(days=11)
    life.age()
    life.extend("acme", days=10)

    for _ in range(15):
        life.age()
        life.pass_time(days=1)

    assert life.reminders() == [3, 7, 3, 1, 0]


def test_nobody_is_reminded_while_suspended(life):
    life.try_out("acme")
    life.change_status("acme", "suspended", reason="dispute")
    life.pass_time(days=13)

    life.age(trial_reminders.remind_due)

    assert life.reminders() == []


def test_a_clock_that_goes_backwards_reminds_nobody_again(life):
    life.try_out("acme")
    life.pass_time(days=13)
    life.age()

    life.pass_time(days=-6)
    life.age()
    life.pass_time(days=6)
    life.age()

    assert life.reminders() == [1]


def test_a_clock_that_goes_backwards_suspends_and_restores_nobody(life):
    life.try_out("acme")
    life.pass_time(days=17)
    life.age()

    life.pass_time(days=-10)

    assert life.age() == []
    assert life.status("acme") == "suspended"


# --- by hand ----------------------------------------------------------------------------------------


def test_extending_moves_the_end_and_tells(life):
    life.try_out("acme")

    assert life.extend("acme", days=30) is True

    assert life.trial("acme").suspends_at == life.now + 33 * DAY
    assert [kind for kind, _ in life.events("trial.moved")] == ["trial.moved"]


def test_a_trial_that_no_sweep_has_seen_yet_is_extended_all_the_same(life):
    for slug in ("first", "acme", "last"):
        life.open_account(slug, status="trial", billing_email=f"{slug}@{slug}.test")

    assert life.extend("acme", days=30)

    assert life.trial("acme").ends_at == life.now + 30 * DAY
    assert (life.trial("first"), life.trial("last")) == (None, None)


def test_extending_a_trial_begins_no_other(life):
    life.try_out("acme")
    life.open_account("last", status="trial")

    life.extend("acme", days=30)

    assert life.trial("last") is None


def test_extending_twice_to_one_day_is_extending_once(life):
    life.try_out("acme")
    life.extend("acme", days=30)

    assert life.extend("acme", days=30) is False
    assert len(life.events("trial.moved")) == 1


@pytest.mark.parametrize("number", [-1, 5, 14.0 - 1e-6, 731])
def test_an_end_that_is_not_later_or_too_far_away_is_refused(life, number):
    life.try_out("acme")

    with pytest.raises(TrialEndRefused):
        life.extend("acme", days=number)


def test_a_trial_that_is_over_is_restored_not_extended(life):
    life.try_out("acme")
    life.pass_time(days=17)
    life.age()

    with pytest.raises(TrialEndRefused):
        life.extend("acme", days=30)
    life.restore("acme", days=5)

    assert (life.status("acme"), life.reasons("acme")) == ("trial", [])
    life.pass_time(days=8)
    life.age()
    assert life.status("acme") == "suspended"


def test_restoring_keeps_another_reason(life):
    life.try_out("acme")
    life.change_status("acme", "suspended", reason="manual")
    life.pass_time(days=17)
    life.age()

    life.restore("acme", days=5)

    assert (life.status("acme"), life.reasons("acme")) == ("suspended", ["manual"])


def test_a_paid_account_is_not_put_back_into_a_trial(life):
    life.try_out("acme")
    life.pay("acme")

    with pytest.raises(TrialEndRefused):
        life.restore("acme", days=5)


@pytest.mark.parametrize(
    ("slug", "fields", "error"),
    [
        pytest.param("aws-admin", {}, SystemAccount, id="a system account"),
        pytest.param("acme", {"is_deleted": True}, AccountDeleted, id="a deleted account"),
        pytest.param("acme", {"status": "active"}, TrialEndRefused, id="one in no trial"),
    ],
)
def test_what_is_in_no_trial_is_not_extended(life, slug, fields, error):
    life.open_account(slug, **fields)

    with pytest.raises(error):
        life.extend(slug, days=5)


def test_an_account_that_is_none_is_not_extended(life):
    life.ids["nobody"] = 404

    with pytest.raises(UnknownAccount):
        life.extend("nobody", days=5)


# --- many at once -----------------------------------------------------------------------------------


@pytest.fixture
def many(life):
    """Five trials that are due, of which one run may suspend four."""
    life.policy = Policy(suspended_at_once=4)
    for number in range(5):
        life.try_out(f"acme{number}")
    life.pass_time(days=17)
    return life


def test_more_than_a_run_may_suspend_wait_for_a_person(many):
    assert many.act(trial_sweeps.to_confirm) == 5

    many.age()

    assert many.suspensions() == []


def test_a_person_s_word_lets_them_be_suspended_and_not_those_of_tomorrow(many):
    many.act(trial_overrides.confirm, until=many.now, actor="operator:jane")
    many.age()
    assert len(many.suspensions()) == 5

    for number in range(5, 10):
        many.try_out(f"acme{number}")
    many.pass_time(days=17)
    many.age()

    assert len(many.suspensions()) == 5


def test_as_many_as_a_run_may_suspend_wait_for_nobody(many):
    many.pay("acme0")

    many.age()

    assert len(many.suspensions()) == 4


def test_sweeping_twice_changes_nothing_more(many):
    many.policy = Policy()
    many.age()
    before = (many.events(), many.suspensions())

    assert many.age() == []
    assert (many.events(), many.suspensions()) == before


def test_accounts_that_somebody_works_on_are_left_to_the_next_run(many):
    many.policy = Policy()
    with transaction() as app:
        from billing.host import accounts

        accounts.lock(app.session, [many.ids["acme0"], many.ids["acme3"]])
        many.act(trial_sweeps.expire_due)
        with transaction() as ctx:
            open_ones = select(func.count()).where(Trial.ended_at.is_(None))
            assert ctx.session.execute(open_ones).scalar() == 2

    many.age()

    assert len(many.suspensions()) == 5


def test_a_plan_that_is_not_active_changes_nothing(life):
    life.try_out("acme")
    with transaction() as ctx:
        from sqlalchemy import update

        from models.host import Plan

        ctx.session.execute(update(Plan).values(is_active=False))
        assert ctx.session.scalars(select(PlanPolicy)).all() == []
    life.pass_time(days=17)

    life.age()

    assert life.status("acme") == "suspended"
