"""The guards of trials, each where it alone decides."""

import datetime as dt

import pytest
from sqlalchemy import insert, update

from billing.context import Policy
from billing.errors import TrialEndRefused
from billing.lifecycle import app_writes
from billing.lifecycle.trials import overrides, returning
from billing.lifecycle.trials import reminders as trial_reminders
from billing.lifecycle.trials import rows as trial_rows
from billing.lifecycle.trials import sweeps as trial_sweeps
from models.life import Trial
from models.purchases import Purchase
from worker.database import transaction

DAY, SECOND = dt.timedelta(days=1), dt.timedelta(seconds=1)


def ending(life, slug, *, hours, **fields):
    """A trial whose grace period ended so many hours ago."""
    life.try_out(slug)
    at = life.now - dt.timedelta(hours=hours)
    values = {"started_at": at - 17 * DAY, "ends_at": at - 3 * DAY, "suspends_at": at} | fields
    with transaction() as ctx:
        rows = update(Trial).where(Trial.account_id == life.ids[slug])
        ctx.session.execute(rows.values(**values))


# --- begin ------------------------------------------------------------------------------------------


def test_a_trial_of_an_account_from_a_clock_ahead_counts_from_now(life):
    life.try_out("acme", created_at=life.now + 2 * DAY)

    trial = life.trial("acme")
    assert (trial.started_at, trial.ends_at) == (life.now, life.now + 14 * DAY)


@pytest.mark.parametrize(
    ("days", "first"),
    [(14, 7), (8, 7), (7, 3), (3, 1), (2, 1), (1, 0), (0, 0)],
)
def test_the_first_reminder_is_the_longest_before_the_end_that_the_trial_leaves(life, days, first):
    life.plan("short", trial_days=days)
    life.try_out("acme", plan="short")

    trial = life.trial("acme")
    assert trial.next_reminder_at == trial.ends_at - first * DAY


@pytest.mark.parametrize(
    ("outcome", "is_given"),
    [("expired", True), ("cancelled", True), ("paid", False), ("left", False)],
)
def test_a_trial_that_is_put_back_gets_credits_where_it_lost_them_without_others(
    life, outcome, is_given
):
    life.try_out("acme")
    life.act(trial_rows.end, account_ids=[life.ids["acme"]], outcome=outcome)
    life.pass_time(days=1)

    life.age(trial_sweeps.begin_missing)

    assert life.lots("acme") == ({"trial": 1000} if is_given else {})
    assert life.trial("acme").outcome is None


@pytest.mark.parametrize("plan", ["empty", None])
def test_a_trial_that_is_put_back_on_a_plan_without_credits_gets_none(life, plan):
    life.plan("empty", included_credits=0)
    life.try_out("acme", plan=plan)
    life.act(trial_rows.end, account_ids=[life.ids["acme"]], outcome="expired")

    life.age(trial_sweeps.begin_missing)

    assert (life.lots("acme"), life.see("acme").entries) == ({}, [])
    assert life.trial("acme").outcome is None


def test_a_batch_begins_the_trials_behind_the_last_account_and_no_more_than_asked_for(life):
    for slug in ("a", "b", "c", "d"):
        life.open_account(slug, status="trial")

    begun = life.act(trial_rows.begin, after=life.ids["a"], limit=2)

    assert list(begun) == [life.ids["b"], life.ids["c"]]


# --- the end ----------------------------------------------------------------------------------------


def test_the_trials_that_are_overdue_longest_end_first_and_no_more_than_asked_for(life):
    for slug, hours in (("a", 1), ("b", 3), ("c", 2), ("d", -1)):
        ending(life, slug, hours=hours)

    life.act(trial_sweeps.expire_due, limit=2)

    assert [slug for slug in life.ids if life.status(slug) == "suspended"] == ["b", "c"]


@pytest.mark.parametrize(
    ("status", "outcome"),
    [
        ("active", "paid"),
        ("cancelled", "cancelled"),
        ("pending_payment", "awaits_payment"),
        ("on_hold", "left"),
    ],
)
def test_a_trial_that_the_account_has_left_ends_with_the_accounts_status(life, status, outcome):
    ending(life, "acme", hours=1)
    with transaction() as ctx:
        ctx.session.connection().exec_driver_sql("SET LOCAL billing.sets_status = 'on'")
        ctx.session.connection().exec_driver_sql(
            "UPDATE igny8_tenants SET status = %(status)s", {"status": status}
        )

    life.act(trial_sweeps.expire_due)

    assert (life.trial("acme").outcome, life.status("acme")) == (outcome, status)


@pytest.mark.parametrize(
    ("source", "status"), [("top_up", "suspended"), ("plan", "active"), ("bank_transfer", "active")]
)
def test_a_top_up_does_not_pay_for_the_plan_after_a_trial(life, source, status):
    ending(life, "acme", hours=1)
    with transaction() as ctx:
        account_id = life.ids["acme"]
        values = {"key": "k", "origin": "in_1", "source": source, "credits": 1, "lots": 1}
        values |= {"starts_at": life.now, "recorded_at": life.now}
        ctx.session.execute(insert(Purchase).values(account_id=account_id, **values))
        ctx.session.connection().exec_driver_sql(
            "INSERT INTO igny8_payments (tenant_id, external_payment_id, status, happened_at)"
            " VALUES (%(id)s, 'in_1', 'succeeded', %(now)s)",
            {"id": account_id, "now": life.now},
        )

    life.act(trial_sweeps.expire_due)

    assert life.status("acme") == status


@pytest.mark.parametrize(
    ("status", "days", "after"),
    [
        ("active", 1, "active"),
        ("past_due", 1, "active"),
        ("unpaid", 1, "suspended"),
        ("canceled", 1, "suspended"),
        ("active", 0, "suspended"),
        ("trialing", 1, "trial"),
        ("trialing", 0, "suspended"),
    ],
)
def test_a_subscription_at_stripe_ends_a_trial_by_its_status(life, status, days, after):
    ending(life, "acme", hours=1)
    life.subscribe("acme", until=life.now + days * DAY, status=status)

    life.act(trial_sweeps.expire_due)

    assert life.status("acme") == after


def test_a_trial_paid_while_another_reason_suspends_it_ends_paid_and_stays_suspended(life):
    ending(life, "acme", hours=1)
    life.change_status("acme", "suspended", reason="manual")
    life.record_payment("acme")

    life.act(trial_sweeps.expire_due)

    assert (life.status("acme"), life.reasons("acme")) == ("suspended", ["manual"])
    assert life.trial("acme").outcome == "paid"


@pytest.mark.parametrize(("trials", "waiting"), [(2, 0), (3, 3), (5, 5)])
def test_an_operator_is_asked_about_as_many_trials_as_wait(life, trials, waiting):
    life.policy = Policy(suspended_at_once=2)
    for number in range(trials):
        ending(life, f"a{number}", hours=number)
    ending(life, "later", hours=-1)

    assert life.act(trial_sweeps.to_confirm) == waiting


def test_of_trials_that_wait_an_operator_confirms_those_up_to_a_time_for_good(life):
    life.policy = Policy(suspended_at_once=1)
    for number in range(4):
        ending(life, f"a{number}", hours=number)
    until = life.now - dt.timedelta(hours=2)
    life.act(overrides.confirm, actor="operator:test", until=until)
    life.act(overrides.confirm, actor="operator:test", until=until - DAY)

    life.age(trial_sweeps.expire_due)

    assert [slug for slug in life.ids if life.status(slug) == "suspended"] == ["a2", "a3"]
    assert life.act(trial_sweeps.to_confirm) == 2


# --- reminders --------------------------------------------------------------------------------------


def test_a_trial_whose_transfer_is_on_its_way_is_not_reminded_and_not_ended(life):
    life.try_out("acme")
    life.announce("acme")
    life.pass_time(days=8)

    life.act(trial_reminders.remind_due)

    assert (life.reminders(), life.trial("acme").outcome) == ([], None)


def test_the_reminders_that_are_due_longest_are_left_first_and_no_more_than_asked_for(life):
    for slug, hours in (("a", 1), ("b", 3), ("c", 2)):
        ending(life, slug, hours=-99, next_reminder_at=life.now - dt.timedelta(hours=hours))
    life.now += 7 * DAY

    done = life.act(trial_reminders.remind_due, limit=2)

    assert {result.account_id for result in done} == {life.ids["b"], life.ids["c"]}


def test_a_reminder_is_due_at_its_very_moment(life):
    life.try_out("acme")
    life.now = life.trial("acme").ends_at - 7 * DAY - SECOND
    life.age(trial_reminders.remind_due)
    before = life.reminders()
    life.now += SECOND
    life.age(trial_reminders.remind_due)

    assert (before, life.reminders()) == ([], [7])
    assert life.trial("acme").next_reminder_at == life.trial("acme").ends_at - 3 * DAY


# --- acts of operators ------------------------------------------------------------------------------


def test_a_trial_may_last_two_years_from_its_start_and_no_second_more(life):
    life.try_out("acme")
    life.pass_time(days=5)

    with pytest.raises(TrialEndRefused, match="730 days at most"):
        life.extend("acme", days=725 + 1e-4)
    assert life.extend("acme", days=725) is True


def test_a_trial_whose_end_is_past_is_extended_to_a_time_to_come_alone(life):
    life.try_out("acme")
    life.pass_time(days=16)

    with pytest.raises(TrialEndRefused, match="later than now"):
        life.extend("acme", days=-1)
    assert life.extend("acme", days=1) is True


@pytest.mark.parametrize("outcome", ["paid", "cancelled"])
def test_a_trial_that_did_not_expire_is_not_restored(life, outcome):
    life.try_out("acme")
    life.act(trial_rows.end, account_ids=[life.ids["acme"]], outcome=outcome)
    life.change_status("acme", "suspended", reason="trial_over")

    with pytest.raises(TrialEndRefused, match="did not expire"):
        life.restore("acme", days=30)


def test_open_trials_are_listed_the_soonest_suspension_first(life):
    for slug, hours in (("a", 1), ("b", 3), ("c", -2), ("ended", 9)):
        ending(life, slug, hours=hours)
    life.act(trial_rows.end, account_ids=[life.ids["ended"]], outcome="paid")

    def listed(**words):
        slugs = {account_id: slug for slug, account_id in life.ids.items()}
        with transaction() as ctx:
            trials = overrides.listed(ctx.session, **{"due_at": None, "limit": 9} | words)
            return [slugs[trial.account_id] for trial in trials]

    assert listed() == ["b", "a", "c"]
    assert listed(limit=1) == ["b"]
    assert listed(due_at=life.now - dt.timedelta(hours=1)) == ["b", "a"]


# --- another trial at Stripe ------------------------------------------------------------------------


def returns(life, slug="acme", *, days=7):
    return life.act(returning.decide, slug, actor="stripe", ends_at=life.now + days * DAY)


@pytest.mark.parametrize("status", ["trial", "active", "pending_payment", "on_hold"])
def test_an_account_with_access_has_no_other_trial_to_decide(life, status):
    life.open_account("acme", status=status)

    assert (returns(life), life.status("acme")) == (None, status)


@pytest.mark.parametrize(("slug", "days"), [("acme", 0), ("acme", -1), ("default", 7)])
def test_a_trial_that_is_over_or_of_the_app_itself_is_no_decision(life, slug, days):
    life.open_account(slug, status="cancelled")

    assert (returns(life, slug, days=days), life.status(slug)) == (None, "cancelled")


@pytest.mark.parametrize("policy", ["allow", "refuse"])
def test_a_first_trial_of_a_cancelled_account_is_granted_and_is_no_repeated_one(life, policy):
    life.policy = Policy(repeated_trials=policy)
    life.open_account("acme", status="cancelled")

    assert returns(life) == "granted"

    trial = life.trial("acme")
    assert (life.status("acme"), trial.ends_at) == ("trial", life.now + 7 * DAY)
    assert trial.suspends_at == life.now + 10 * DAY
    assert life.events("trial.repeated") == []


@pytest.mark.parametrize(("policy", "answer"), [("allow", "granted"), ("refuse", "refused")])
def test_a_second_trial_is_decided_by_the_policy_and_told(life, policy, answer):
    life.try_out("acme")
    life.cancel("acme")
    life.policy = Policy(repeated_trials=policy)

    assert returns(life) == answer

    assert life.status("acme") == ("trial" if answer == "granted" else "cancelled")
    assert [payload for _, payload in life.events("trial.repeated")] == [
        {
            "kinds": ["account"],
            "accounts": [life.ids["acme"]],
            "is_refused": answer == "refused",
        }
    ]


@pytest.mark.parametrize(
    ("reasons", "answer"),
    [
        (["trial_over"], "granted"),
        (["payment_failed"], "granted"),
        (["trial_over", "payment_failed"], "granted"),
        (["manual"], "refused"),
        (["dispute"], "refused"),
        (["payment_failed", "dispute"], "refused"),
    ],
)
def test_another_trial_lifts_what_a_payment_lifts_and_nothing_else(life, reasons, answer):
    life.open_account("acme")
    for reason in reasons:
        life.change_status("acme", "suspended", reason=reason)

    assert returns(life) == answer

    assert life.status("acme") == ("trial" if answer == "granted" else "suspended")
    assert life.reasons("acme") == ([] if answer == "granted" else reasons)


def test_another_trial_does_not_undo_a_suspension_by_the_main_app(life):
    life.open_account("acme", status="suspended")

    assert (returns(life), life.status("acme")) == ("refused", "suspended")


def test_another_trial_of_an_account_that_is_cancelled_by_hand_and_disputed_is_refused(life):
    life.open_account("acme")
    life.change_status("acme", "suspended", reason="dispute")
    life.cancel("acme")
    life.age(app_writes.sweep)

    assert (returns(life), life.status("acme")) == ("refused", "cancelled")
