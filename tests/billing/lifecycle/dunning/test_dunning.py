"""Dunning follows one schedule, for card and bank, and ends with the payment."""

import datetime as dt

import pytest
from sqlalchemy import insert, select, update

from billing.bank.invoicing import dunning_steps, issue
from billing.errors import AccountDeleted, SystemAccount, UnknownAccount
from billing.lifecycle.dunning import cases as dunning_cases
from billing.lifecycle.dunning import schedule as dunning_schedule
from billing.lifecycle.dunning import sweep as dunning_sweep
from billing.lifecycle.dunning.schedule import SCHEDULE
from billing_client.bank import AnnounceTransfer
from models.host import Invoice, Plan
from models.life import DunningStep
from worker.database import transaction

DAY = dt.timedelta(days=1)


@pytest.fixture
def acme(life):
    life.open_account("acme", status="active")
    return life


def fail(life, slug="acme", cause="card_failed", **facts):
    return life.act(dunning_cases.open_case, slug, cause=cause, **facts)


def days_pass(life, number, *, sweeps_a_day=1):
    for _ in range(number * sweeps_a_day):
        life.pass_time(hours=24 / sweeps_a_day)
        life.age()


def told(life):
    """The reminders and retry hints by day."""
    short = {"payment.missing": "remind", "payment.retry_due": "retry"}
    return [(p["day"], short[kind]) for kind, p in life.events(*short)]


def invoice(life, slug, *, status="open"):
    with transaction() as ctx:
        values = {"account_id": life.ids[slug], "status": status}
        return ctx.session.execute(
            insert(Invoice).values(**values).returning(Invoice.id)
        ).scalar_one()


# --- the schedule -----------------------------------------------------------------------------------


def test_a_failed_card_is_reminded_tried_again_suspended_and_cancelled(acme):
    fail(acme)
    acme.age()
    days_pass(acme, 13)
    assert acme.status("acme") == "active"

    days_pass(acme, 1)
    assert (acme.status("acme"), acme.reasons("acme")) == ("suspended", ["payment_failed"])
    days_pass(acme, 17)

    assert acme.status("acme") == "cancelled"
    assert acme.case("acme").outcome == "written_off"
    assert told(acme) == [
        (0, "remind"),
        (3, "retry"),
        (3, "remind"),
        (7, "retry"),
        (7, "remind"),
        (12, "remind"),
        (21, "retry"),
        (21, "remind"),
    ]


def test_a_transfer_is_asked_for_before_it_is_due_and_never_tried_again(life):
    life.try_out("acme")
    life.announce("acme")

    days_pass(life, 27)
    assert told(life) == [(-7, "remind"), (0, "remind"), (7, "remind")]
    assert life.status("acme") == "pending_payment"
    days_pass(life, 1)
    assert life.status("acme") == "suspended"
    days_pass(life, 16)

    assert life.status("acme") == "cancelled"


def announce_with_invoice(life, slug):
    with transaction() as ctx:
        ctx.session.execute(update(Plan).values(price=89))
        message = AnnounceTransfer(life.ids[slug], 1, key="k")
        issue.announce(ctx.at(life.now), message, currency="USD")


def test_an_invoice_for_a_transfer_asks_for_itself(life):
    life.try_out("acme")

    announce_with_invoice(life, "acme")

    assert life.status("acme") == "pending_payment"
    assert life.case("acme") is None


def test_a_case_is_closed_when_an_invoice_takes_over(life):
    life.try_out("acme")
    life.announce("acme")
    announce_with_invoice(life, "acme")

    days_pass(life, 20)

    assert life.case("acme").outcome == "billed"
    assert told(life) == []


def test_bank_customers_are_asked_on_the_days_of_the_one_schedule():
    days = [step.after / DAY for step in dunning_steps.STEPS]

    assert days == [step.day for step in dunning_schedule.of("bank")]
    assert set(dunning_steps.EVENTS) == set(days)


def test_access_and_retries_stand_in_one_table_in_the_order_of_days():
    assert [step.day for step in SCHEDULE] == sorted(step.day for step in SCHEDULE)
    for schedule in ("card", "bank"):
        last = [step.action for step in dunning_schedule.of(schedule)]
        assert last.count("suspend") == last.count("cancel") == 1
        assert last[-1] == "cancel"
    days = {step.action: step.day for step in SCHEDULE if step.action in ("suspend", "cancel")}
    assert days == {
        "suspend": dunning_schedule.SUSPEND_DAY,
        "cancel": dunning_schedule.CANCEL_DAY,
    }


def test_every_action_of_the_schedule_is_known():
    assert {step.action for step in SCHEDULE} == set(dunning_sweep.ACTIONS)


def test_a_reminder_says_what_will_follow(acme):
    fail(acme, invoice_id=7, decline_code="insufficient_funds")
    opened_at = acme.now

    acme.age()

    ((_, said),) = acme.events("payment.missing")
    assert (said["invoice_id"], said["decline_code"]) == (7, "insufficient_funds")
    assert said["suspends_at"] == (opened_at + 14 * DAY).isoformat()
    assert said["cancels_at"] == (opened_at + 30 * DAY).isoformat()


def test_a_sweep_that_comes_late_sends_the_last_reminder_and_the_last_retry_alone(acme):
    fail(acme)
    acme.pass_time(days=13)

    acme.age()

    assert told(acme) == [(7, "retry"), (12, "remind")]
    assert acme.status("acme") == "active"


def test_a_sweep_that_comes_years_late_cancels_at_once(acme):
    fail(acme)
    acme.pass_time(days=800)

    acme.age()

    assert acme.status("acme") == "cancelled"


def test_sweeping_twice_changes_nothing_more(acme):
    fail(acme)
    days_pass(acme, 14)
    before = acme.events()

    assert acme.age() == []
    assert acme.events() == before


def test_each_step_is_recorded_once(acme):
    fail(acme)
    days_pass(acme, 31, sweeps_a_day=3)

    with transaction() as ctx:
        steps = select(DunningStep.day, DunningStep.action).order_by(DunningStep.day)
        taken = ctx.session.execute(steps).all()
    assert sorted(taken) == sorted((step.day, step.action) for step in dunning_schedule.of("card"))


# --- decline codes, other tries, a new card ---------------------------------------------------------


@pytest.mark.parametrize("code", sorted(dunning_schedule.HARD_DECLINES))
def test_a_card_that_is_gone_is_not_tried_again_and_the_schedule_skips_ahead(acme, code):
    fail(acme, decline_code=code)
    acme.age()
    assert told(acme) == [(7, "remind")]

    days_pass(acme, 7)

    assert acme.status("acme") == "suspended"
    assert "retry" not in {action for _, action in told(acme)}


def test_a_second_failure_that_is_final_skips_ahead_too(acme):
    case_id = fail(acme, decline_code="insufficient_funds")
    acme.pass_time(days=1)

    assert fail(acme, decline_code="stolen_card") == case_id
    days_pass(acme, 7)

    assert acme.status("acme") == "suspended"


def test_a_card_that_is_gone_stays_gone_whatever_is_said_next(acme):
    fail(acme, decline_code="stolen_card")
    fail(acme, decline_code="insufficient_funds")

    days_pass(acme, 22)

    assert "retry" not in {action for _, action in told(acme)}


def test_a_second_failure_does_not_start_the_clock_anew(acme):
    fail(acme)
    days_pass(acme, 10)

    fail(acme)
    days_pass(acme, 4)

    assert acme.status("acme") == "suspended"


def test_while_stripe_retries_itself_our_hints_wait(acme):
    fail(acme, retry_at=acme.now + 5 * DAY)

    days_pass(acme, 7)

    assert [day for day, action in told(acme) if action == "retry"] == [7]


def test_a_new_card_is_tried_at_once(acme):
    fail(acme, decline_code="stolen_card")
    acme.age()

    assert acme.act(dunning_cases.method_changed, "acme") is True

    assert told(acme)[-1] == (7, "retry")
    days_pass(acme, 14)
    assert (21, "retry") in told(acme)


@pytest.mark.parametrize("cause", [None, "transfer_announced"])
def test_a_new_card_is_no_news_where_no_card_failed(acme, cause):
    if cause:
        fail(acme, cause=cause)

    assert acme.act(dunning_cases.method_changed, "acme") is False


# --- the end ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("day", [0, 1, 13, 14, 29])
def test_dunning_stops_in_the_transaction_of_the_payment(acme, day):
    fail(acme)
    days_pass(acme, day)
    before = len(acme.events("payment.missing", "payment.retry_due"))

    acme.pay("acme")
    days_pass(acme, 40)

    assert (acme.status("acme"), acme.reasons("acme")) == ("active", [])
    assert acme.case("acme").outcome == "paid"
    assert len(acme.events("payment.missing", "payment.retry_due")) == before
    assert len(acme.events("payment.settled")) == 1


def test_an_invoice_that_is_paid_though_nobody_stopped_the_case_suspends_nobody(acme):
    fail(acme, invoice_id=invoice(acme, "acme", status="paid"))
    acme.pass_time(days=14)

    acme.age()

    assert acme.status("acme") == "active"
    assert acme.case("acme").outcome == "paid"


def test_a_payment_for_something_else_does_not_stop_the_case(acme):
    fail(acme, invoice_id=invoice(acme, "acme"))
    acme.pass_time(days=1)
    acme.record_payment("acme")

    days_pass(acme, 13)

    assert acme.status("acme") == "suspended"


def test_paying_after_the_cancellation_lets_the_account_in_again(acme):
    fail(acme)
    days_pass(acme, 31)

    acme.pay("acme")

    assert (acme.status("acme"), acme.reasons("acme")) == ("active", [])


def test_an_account_that_an_operator_reactivated_is_not_cancelled(acme):
    fail(acme)
    days_pass(acme, 15)
    acme.change_status("acme", "active", reason="payment_failed")

    days_pass(acme, 20)

    assert acme.status("acme") == "active"
    assert acme.case("acme").outcome == "written_off"


def test_lifting_a_dispute_leaves_the_missing_payment_missing(acme):
    fail(acme)
    acme.change_status("acme", "suspended", reason="dispute")
    acme.change_status("acme", "active", reason="dispute")

    days_pass(acme, 14)

    assert acme.reasons("acme") == ["payment_failed"]


def test_an_account_that_was_suspended_for_two_reasons_stays_out_when_one_is_paid(acme):
    fail(acme)
    days_pass(acme, 14)
    acme.change_status("acme", "suspended", reason="manual")

    acme.pay("acme")

    assert (acme.status("acme"), acme.reasons("acme")) == ("suspended", ["manual"])


def test_nobody_asks_a_cancelled_account(acme):
    fail(acme)
    acme.change_status("acme", "cancelled", reason="requested")

    days_pass(acme, 20)

    assert told(acme) == []
    assert acme.case("acme").outcome == "cancelled"
    assert fail(acme) is None


def test_nobody_asks_a_deleted_account(acme):
    fail(acme)
    acme.delete_account("acme")

    acme.age()

    assert (told(acme), acme.case("acme").outcome) == ([], "account_deleted")


@pytest.mark.parametrize(
    ("slug", "fields", "error"),
    [
        pytest.param("default", {}, SystemAccount, id="a system account"),
        pytest.param("acme", {"is_deleted": True}, AccountDeleted, id="a deleted account"),
    ],
)
def test_no_case_is_opened_for(life, slug, fields, error):
    life.open_account(slug, **fields)

    with pytest.raises(error):
        fail(life, slug)


def test_no_case_is_opened_for_an_account_that_is_none(life):
    life.ids["nobody"] = 404

    with pytest.raises(UnknownAccount):
        fail(life, "nobody")


def test_a_cause_that_is_none_is_a_mistake(acme):
    with pytest.raises(ValueError, match="mood is not a cause of dunning"):
        fail(acme, cause="mood")


def test_two_cases_of_one_account_can_not_be_open(acme):
    assert fail(acme) == fail(acme, cause="transfer_announced")
