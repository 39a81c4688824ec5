"""The guards of dunning cases, each where it alone decides."""

import datetime as dt

import pytest
from sqlalchemy import insert, text, update

from billing.lifecycle.dunning import cases as dunning_cases
from billing.lifecycle.dunning import rows as dunning_rows
from billing.lifecycle.dunning import sweep as dunning_sweep
from billing.lifecycle.dunning.schedule import HARD_DECLINES, SCHEDULE
from models.host import Invoice, Subscription
from models.life import DunningCase
from models.transfers import TransferInvoice
from tests.billing.lifecycle.dunning.test_dunning import days_pass, fail, invoice, told
from worker.database import transaction

DAY = dt.timedelta(days=1)


@pytest.fixture
def acme(life):
    life.open_account("acme", status="active")
    return life


# --- the schedule -----------------------------------------------------------------------------------


def test_the_schedule_is_the_one_that_customers_were_told():
    assert [(step.day, step.action, step.card, step.bank) for step in SCHEDULE] == [
        (-7, "remind", False, True),
        (0, "remind", True, True),
        (3, "retry", True, False),
        (3, "remind", True, False),
        (7, "retry", True, False),
        (7, "remind", True, True),
        (12, "remind", True, False),
        (14, "suspend", True, True),
        (21, "retry", True, False),
        (21, "remind", True, False),
        (30, "cancel", True, True),
    ]


def test_declines_that_another_try_may_cure_are_no_hard_ones():
    assert not {"insufficient_funds", "generic_decline", "processing_error"} & HARD_DECLINES


@pytest.mark.parametrize(
    ("cause", "code", "days", "starts"),
    [
        ("card_failed", None, 0, 0),
        ("card_failed", "insufficient_funds", 0, 0),
        ("card_failed", "stolen_card", 0, -7),
        ("invoice_overdue", None, 0, 0),
        ("transfer_announced", None, 7, 14),
    ],
)
def test_the_first_step_of_a_case_is_due_at_once_or_in_its_time(acme, cause, code, days, starts):
    fail(acme, cause=cause, decline_code=code)

    case = acme.case("acme")
    assert (case.due_at, case.starts_at) == (acme.now + days * DAY, acme.now + starts * DAY)


def test_one_late_sweep_takes_all_steps_that_are_due(acme):
    fail(acme)
    acme.pass_time(days=13)

    acme.act(dunning_sweep.step_due)

    assert acme.case("acme").done_until == 12
    assert acme.case("acme").due_at == acme.now + DAY


def test_a_step_that_was_taken_is_not_taken_again_though_the_case_forgot_it(acme):
    fail(acme)
    acme.age()
    with transaction() as ctx:
        ctx.session.execute(update(DunningCase).values(done_until=-8, due_at=acme.now))

    acme.age()

    assert told(acme) == [(0, "remind")]


# --- another failure, another card -------------------------------------------------------------


def test_a_final_decline_that_comes_late_does_not_start_the_clock_later(acme):
    fail(acme)
    days_pass(acme, 10)

    fail(acme, decline_code="stolen_card")
    days_pass(acme, 4)

    assert acme.status("acme") == "suspended"


def test_a_final_decline_makes_the_steps_that_it_skips_to_due_at_once(acme):
    fail(acme, decline_code="insufficient_funds")
    acme.age()

    acme.pass_time(days=1)
    fail(acme, decline_code="stolen_card")
    acme.age()

    assert told(acme) == [(0, "remind"), (7, "remind")]


def test_a_failure_without_a_code_leaves_the_code_that_is_known(acme):
    fail(acme, decline_code="insufficient_funds")

    fail(acme)

    assert acme.case("acme").decline_code == "insufficient_funds"


def test_the_next_try_at_stripe_moves_with_each_failure(acme):
    fail(acme, retry_at=acme.now + DAY)
    fail(acme, retry_at=acme.now + 5 * DAY)

    days_pass(acme, 4)

    assert (3, "retry") not in told(acme)


def test_a_try_that_stripe_has_made_by_now_holds_up_ours_no_more(acme):
    fail(acme, retry_at=acme.now + 3 * DAY)

    days_pass(acme, 3)

    assert (3, "retry") in told(acme)


def test_a_new_card_before_the_first_step_is_tried_on_day_0(acme):
    fail(acme, decline_code="stolen_card", retry_at=acme.now + DAY)

    assert acme.act(dunning_cases.method_changed, "acme") is True

    assert told(acme) == [(0, "retry")]
    assert (acme.case("acme").decline_code, acme.case("acme").retry_at) == (None, None)


# --- invoices that are overdue --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("slug", "status", "is_opened"),
    [
        ("acme", "active", True),
        ("acme", "suspended", True),
        ("acme", "trial", False),
        ("acme", "pending_payment", False),
        ("acme", "cancelled", False),
        ("default", "active", False),
        ("nobody", None, False),
    ],
)
def test_an_overdue_invoice_is_dunned_where_the_account_had_access(life, slug, status, is_opened):
    life.ids["nobody"] = 404
    if status:
        life.open_account(slug, status=status)

    opened = [life.act(dunning_cases.open_overdue, slug, invoice_id=7) for _ in range(2)]

    assert opened == [is_opened, False]
    case = life.case(slug)
    assert (case and (case.cause, case.invoice_id)) == (("invoice_overdue", 7) if case else None)


def test_an_overdue_invoice_is_left_alone_where_a_transfer_funds_the_account(acme):
    with transaction() as ctx:
        values = {"account_id": acme.ids["acme"], "status": "active"}
        values |= {"payment_method": "bank_transfer", "external_payment_id": "billing:invoice:1"}
        values |= {"current_period_start": acme.now, "current_period_end": acme.now + DAY}
        ctx.session.execute(insert(Subscription).values(**values))

    assert acme.act(dunning_cases.open_overdue, "acme", invoice_id=7) is False


# --- the end ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("about", "stopped", "is_closed"),
    [(7, 7, True), (7, 8, False), (None, 7, False), (7, None, True), (None, None, True)],
)
def test_a_case_is_stopped_by_what_settles_its_own_invoice(acme, about, stopped, is_closed):
    fail(acme, invoice_id=about)

    words = {"reason": "written_off", "invoice_id": stopped}
    assert acme.act(dunning_cases.stop, "acme", **words) is is_closed
    assert acme.case("acme").outcome == ("written_off" if is_closed else None)
    assert acme.act(dunning_cases.stop, "acme", **words) is False


def test_an_invoice_that_was_paid_unnoticed_lifts_the_suspension(acme):
    paid_later = invoice(acme, "acme")
    fail(acme, invoice_id=paid_later)
    days_pass(acme, 15)
    with transaction() as ctx:
        ctx.session.execute(update(Invoice).values(status="paid"))

    days_pass(acme, 10)

    assert (acme.status("acme"), acme.case("acme").outcome) == ("active", "paid")


def test_an_open_invoice_by_transfer_does_not_end_the_dunning_of_a_card(acme):
    fail(acme)
    bill(acme, "acme")

    acme.age()

    assert (acme.case("acme").outcome, told(acme)) == (None, [(0, "remind")])


@pytest.mark.parametrize("state", ["paid", "void", "refunded"])
def test_an_invoice_by_transfer_that_is_no_longer_open_does_not_end_a_case(acme, state):
    fail(acme, cause="invoice_overdue")
    bill(acme, "acme", state=state)

    acme.age()

    assert acme.case("acme").outcome is None


def bill(life, slug, *, state="open"):
    values = {"plan_id": 1, "number": "1", "reference": "RF1", "key": "k", "currency": "EUR"}
    values |= {"due_minor": 8900, "months": 1, "issued_at": life.now, "due_at": life.now}
    with transaction() as ctx:
        rows = insert(TransferInvoice).values(account_id=life.ids[slug], state=state, **values)
        ctx.session.execute(rows)


def test_each_closed_case_is_told_with_its_own_invoice_and_outcome(life):
    for slug, number in (("b", 2), ("a", 1)):
        life.open_account(slug)
        fail(life, slug, invoice_id=number)
    life.open_account("none")

    closed = life.act(dunning_rows.close, account_ids=[1, 2, 3], outcome="written_off")

    assert sorted(closed) == [life.case("b").id, life.case("a").id]
    assert [payload for _, payload in life.events("payment.settled")] == [
        {"case_id": life.case(slug).id, "invoice_id": number, "outcome": "written_off"}
        for slug, number in (("b", 2), ("a", 1))
    ]


def test_the_cases_that_are_overdue_longest_are_taken_first_and_no_more_than_asked_for(life):
    for slug, hours in (("a", 1), ("b", 3), ("c", 2), ("d", -1), ("closed", 9)):
        life.open_account(slug)
        case = fail(life, slug)
        with transaction() as ctx:
            at = life.now - dt.timedelta(hours=hours)
            ctx.session.execute(update(DunningCase).where(DunningCase.id == case).values(due_at=at))
    life.act(dunning_rows.close, account_ids=[life.ids["closed"]], outcome="paid")

    slugs = {account_id: slug for slug, account_id in life.ids.items()}
    for limit, expected in ((2, ["b", "c"]), (9, ["b", "c", "a"])):
        with transaction() as ctx:
            # Without an index only the query's own ORDER BY sorts.
            ctx.session.execute(text("SET LOCAL enable_indexscan = off"))
            ctx.session.execute(text("SET LOCAL enable_bitmapscan = off"))
            due = dunning_rows.due(ctx.at(life.now), limit=limit)
            assert [slugs[case.account_id] for case in due] == expected
