"""A status that the main app writes itself has every effect of the same change by a sweep."""

import pytest
from sqlalchemy import select, text

from billing.lifecycle import app_writes, status
from billing.lifecycle.dunning import cases as dunning_cases
from billing.lifecycle.dunning import sweep as dunning_sweep
from billing.lifecycle.trials import sweeps as trial_sweeps
from billing.renewal import renewals
from models.accounts import StatusChange, StatusWrite
from models.life import DunningCase, Trial
from models.operations import OutboxEvent
from tests.billing.lifecycle.conftest import Life
from tests.billing.lifecycle.model import DAY
from worker.database import engine, transaction

STATUSES = ("trial", "active", "pending_payment", "suspended", "cancelled")
#: Reasons with which an operator makes the same change.
REASONS = {
    ("trial", "active"): "manual",
    ("trial", "pending_payment"): "transfer_announced",
    ("trial", "suspended"): "manual",
    ("trial", "cancelled"): "manual",
    ("active", "suspended"): "manual",
    ("active", "cancelled"): "manual",
    ("pending_payment", "active"): "manual",
    ("pending_payment", "suspended"): "manual",
    ("pending_payment", "cancelled"): "manual",
    ("suspended", "active"): "payment_failed",
    ("suspended", "cancelled"): "manual",
    ("cancelled", "active"): "manual",
    ("cancelled", "pending_payment"): "transfer_announced",
}


@pytest.fixture
def acme(life):
    """An account in trial, with its credits."""
    life.try_out("acme")
    life.seed("acme")
    return life


def writes(life, slug, to):
    """Let the main app write a status, and the sweep notice it."""
    life.set_host(slug, status=to)
    return life.age(app_writes.sweep)


def history(life, slug="acme"):
    rows = select(StatusChange).where(StatusChange.account_id == life.ids[slug])
    with transaction() as ctx:
        changes = ctx.session.scalars(rows.order_by(StatusChange.id)).all()
    return [(row.status_from, row.status_to, row.reason, row.actor) for row in changes]


def waiting():
    with transaction() as ctx:
        return ctx.session.scalars(select(StatusWrite.account_id)).all()


def bring_to(life, slug, first):
    """Open an account with trial credits, and bring it to a status by acts of ours."""
    life.try_out(slug)
    life.seed(slug)
    if first == "suspended":
        life.change_status(slug, "active", reason="manual")
        life.change_status(slug, "suspended", reason="payment_failed")
        return
    reason = {"pending_payment": "transfer_announced"}.get(first, "manual")
    if first != "trial":
        life.change_status(slug, first, reason=reason)


def picture(life, slug):
    """Everything that a change of status touches."""
    account_id = life.ids[slug]
    with transaction() as ctx:
        trial = ctx.session.get(Trial, account_id)
        cases = select(DunningCase.outcome).where(DunningCase.account_id == account_id)
        events = select(OutboxEvent.type).where(OutboxEvent.account_id == account_id)
        outcomes = ctx.session.scalars(cases.order_by(DunningCase.id)).all()
        types = ctx.session.scalars(events.order_by(OutboxEvent.id)).all()
    cycle = life.cycle(slug)
    return {
        "status": life.status(slug),
        "reasons": life.reasons(slug),
        "trial": trial.outcome,
        "credits": life.lots(slug),
        "cycle": cycle and (cycle.period_number, cycle.ended_at),
        "cases": list(outcomes),
        "events": list(types),
        "statuses": [change[:2] for change in history(life, slug)],
    }


@pytest.mark.parametrize(("first", "to"), list(REASONS))
def test_a_status_by_the_apps_own_hand_has_the_effects_of_the_same_change_by_ours(life, first, to):
    for slug in ("ours", "theirs"):
        bring_to(life, slug, first)
    life.pass_time(days=3)

    if to == "cancelled":
        life.act(status.change, "ours", actor="operator:test", to=to, reason=REASONS[first, to])
    else:
        life.change_status("ours", to, reason=REASONS[first, to])
    writes(life, "theirs", to)

    assert picture(life, "theirs") == picture(life, "ours")
    assert history(life, "theirs")[-1] == (first, to, "set_by_app", "main_app")
    assert life.audit().agrees


@pytest.mark.parametrize("first", STATUSES)
@pytest.mark.parametrize("to", [*STATUSES, "on_hold"])
def test_whatever_the_app_writes_is_recorded_once_with_an_event(life, first, to):
    bring_to(life, "acme", first)
    events = len(life.events())

    writes(life, "acme", to)
    writes(life, "acme", to)

    changes = [change for change in history(life) if change[2] == "set_by_app"]
    assert changes == ([] if to == first else [(first, to, "set_by_app", "main_app")])
    left = [kind for kind, _ in life.events()[events:] if kind.startswith("account.")]
    assert len(left) == len(changes)
    assert waiting() == []
    assert life.audit().agrees


def test_nothing_is_left_to_notice_when_the_worker_changes_a_status(acme):
    acme.change_status("acme", "active", reason="manual")
    acme.change_status("acme", "suspended", reason="dispute")

    assert waiting() == []


def test_a_write_that_is_taken_back_before_it_is_noticed_changes_nothing(acme):
    acme.set_host("acme", status="cancelled")
    acme.set_host("acme", status="trial")

    acme.age(app_writes.sweep)

    assert (history(acme), waiting()) == ([], [])
    assert acme.lots("acme") == {"trial": 1000}


def test_of_several_writes_the_first_and_the_last_count(acme):
    acme.set_host("acme", status="cancelled")
    acme.set_host("acme", status="active")

    acme.age(app_writes.sweep)

    assert history(acme) == [("trial", "active", "set_by_app", "main_app")]


def test_a_write_of_another_column_or_of_the_same_status_is_not_noted(acme):
    acme.set_host("acme", name="other", status="trial")
    acme.debit("acme", key="d")

    assert waiting() == []


def test_a_change_of_ours_applies_what_the_app_wrote_before_it(acme):
    acme.set_host("acme", status="active")

    acme.change_status("acme", "suspended", reason="dispute")

    assert history(acme) == [
        ("trial", "active", "set_by_app", "main_app"),
        ("active", "suspended", "dispute", "operator:test"),
    ]
    assert acme.trial("acme").outcome == "paid"
    assert acme.audit().agrees


def test_a_payment_after_the_apps_cancellation_reactivates(acme):
    acme.set_host("acme", status="cancelled")

    acme.pay("acme")

    assert acme.status("acme") == "active"
    assert [change[:2] for change in history(acme)] == [
        ("trial", "cancelled"),
        ("cancelled", "active"),
    ]


def test_what_was_due_before_the_apps_write_is_given_though_no_sweep_came(life):
    life.go_to(2026, 1, 31)
    life.open_account("acme")
    life.seed("acme")
    life.go_to(2026, 3, 5)

    writes(life, "acme", "suspended")

    periods = [e.happened_at.strftime("%m-%d") for e in life.see("acme").entries if e.amount > 0]
    assert periods == ["01-31", "02-28"]
    assert life.cycle("acme").ended_at == life.now


def test_what_falls_due_after_the_apps_write_is_not_given(life):
    life.go_to(2026, 1, 31)
    life.open_account("acme")
    life.seed("acme")
    writes(life, "acme", "suspended")
    life.go_to(2026, 3, 5)

    life.age(renewals.sweep_due)

    assert len([e for e in life.see("acme").entries if e.amount > 0]) == 1


def test_a_deleted_accounts_write_waits_until_it_is_restored(acme):
    acme.set_host("acme", is_deleted=True, status="cancelled")
    assert acme.age(app_writes.sweep) == []

    acme.set_host("acme", is_deleted=False)
    acme.age(app_writes.sweep)

    assert acme.trial("acme").outcome == "cancelled"


def test_writes_of_system_accounts_and_of_accounts_that_are_gone_are_dropped(life):
    life.open_account("aws-admin")
    life.open_account("gone")
    life.set_host("aws-admin", status="suspended")
    life.set_host("gone", status="suspended")
    with transaction() as ctx:
        ctx.session.execute(text("DELETE FROM igny8_tenants WHERE slug = 'gone'"))

    life.age(app_writes.sweep)

    assert (waiting(), history(life, "aws-admin"), history(life, "gone")) == ([], [], [])


def test_an_account_that_breaks_holds_up_no_other(life):
    for slug in ("broken", "acme"):
        life.try_out(slug)
        life.seed(slug)
        life.set_host(slug, status="cancelled")
    # What expires does not fit into the main app's column.
    life.set_host("broken", credits=-(2**31))

    life.act(app_writes.sweep)

    assert waiting() == [life.ids["broken"]]
    assert life.trial("acme").outcome == "cancelled"


def test_an_account_that_is_locked_is_left_to_the_next_tick(acme):
    acme.set_host("acme", status="cancelled")
    with engine().begin() as connection:
        connection.execute(text("SELECT FROM igny8_tenants FOR UPDATE"))
        assert acme.age(app_writes.sweep) == []

    assert len(acme.age(app_writes.sweep)) == 1


def test_a_tick_with_nothing_to_notice_reads_one_empty_table_however_many_accounts_there_are(life):
    with transaction() as ctx:
        ctx.session.execute(
            text(
                "INSERT INTO igny8_tenants (name, slug, status) SELECT n, 's' || n, 'active'"
                " FROM generate_series(1, 20000) AS n"
            )
        )
        ctx.session.execute(text("ANALYZE igny8_tenants"))
        plan = "EXPLAIN " + app_writes._DUE.replace("%(limit)s", "200")
        lines = "\n".join(ctx.session.scalars(text(plan)))

    assert "Seq Scan on igny8_tenants" not in lines, lines


JOBS = {
    "a payment": lambda life: life.pay("acme"),
    "the trial's end": lambda life: life.age(trial_sweeps.expire_due),
    "dunning": lambda life: life.age(dunning_sweep.step_due),
    "renewals": lambda life: life.age(renewals.sweep_due),
    "the notice of the app's writes": lambda life: life.age(app_writes.sweep),
}


@pytest.mark.parametrize("by", ["an operator", "the main app"])
@pytest.mark.parametrize("job", JOBS)
@pytest.mark.parametrize("first", ["trial", "active"])
def test_a_suspension_by_hand_is_ended_by_no_job(life, by, job, first):
    bring_to(life, "acme", first)
    if by == "an operator":
        life.change_status("acme", "suspended", reason="manual")
    else:
        writes(life, "acme", "suspended")
    with transaction() as ctx:
        case = {"schedule": "card", "cause": "card_failed", "days": 40, "id": life.ids["acme"]}
        ctx.session.execute(
            text(
                "INSERT INTO billing.dunning_cases"
                " (account_id, schedule, cause, opened_at, starts_at, due_at, done_until)"
                " VALUES (:id, :schedule, :cause, :now, :now, :now, 29)"
            ),
            case | {"now": life.now},
        )
    life.pass_time(days=40)

    JOBS[job](life)

    assert life.status("acme") == "suspended"
    assert "manual" in life.reasons("acme")


def test_a_case_of_an_account_that_is_suspended_by_hand_alone_ends_without_a_cancellation(life):
    bring_to(life, "acme", "active")
    life.act(dunning_cases.open_case, "acme", cause="card_failed")
    life.pass_time(days=15)
    life.age(dunning_sweep.step_due)
    life.act(status.lift, "acme", actor="operator:test", reason="payment_failed")
    life.act(status.suspend, "acme", actor="operator:test", reason="manual")
    life.pass_time(days=20)

    life.age(dunning_sweep.step_due)

    assert (life.status("acme"), life.case("acme").outcome) == ("suspended", "written_off")


def test_a_payment_leaves_a_suspension_that_the_app_wrote_a_moment_ago(life):
    bring_to(life, "acme", "active")
    life.set_host("acme", status="suspended")

    life.pay("acme")
    life.age(app_writes.sweep)

    assert (life.status("acme"), life.reasons("acme")) == ("suspended", ["manual"])


# --- trials that are restored -------------------------------------------------------------------


def expired(life: Life) -> Life:
    life.pass_time(days=17)
    life.age(trial_sweeps.expire_due)
    assert life.lots("acme") == {}
    return life


def credits_given(life):
    return [e.amount for e in life.see("acme").entries if e.type == "grant"]


def test_a_restored_trial_gets_its_plans_credits_once(acme):
    expired(acme)

    acme.restore("acme", days=5)
    acme.restore("acme", days=5)
    acme.age()
    acme.repair()
    acme.seed("acme")

    assert acme.lots("acme") == {"trial": 1000}
    assert credits_given(acme) == [1000, 1000]
    assert acme.audit().agrees


@pytest.mark.parametrize("noticed", ["before the trial begins again", "after it"])
def test_a_trial_that_the_app_puts_back_gets_its_plans_credits_once(acme, noticed):
    expired(acme)
    acme.set_host("acme", status="trial")
    sweeps = [app_writes.sweep, trial_sweeps.begin_missing]
    acme.age(*(sweeps if noticed.startswith("before") else sweeps[::-1]))
    acme.age()

    acme.act(trial_sweeps.begin_missing)

    assert (acme.status("acme"), acme.reasons("acme")) == ("trial", [])
    assert acme.lots("acme") == {"trial": 1000}
    assert credits_given(acme) == [1000, 1000]
    assert acme.audit().agrees


def test_each_expiry_that_is_undone_gives_credits_once(acme):
    expired(acme)
    acme.restore("acme", days=5)
    acme.pass_time(days=9)
    acme.age(trial_sweeps.expire_due)

    acme.restore("acme", days=30)

    assert credits_given(acme) == [1000, 1000, 1000]
    assert acme.lots("acme") == {"trial": 1000}


def test_a_trial_that_kept_its_credits_gets_no_others(acme):
    acme.policy = acme.policy.__class__(trial_credits_lapse=False)
    acme.pass_time(days=17)
    acme.age(trial_sweeps.expire_due)

    acme.restore("acme", days=5)

    assert credits_given(acme) == [1000]


def test_a_trial_suspended_by_hand_and_put_back_keeps_its_credits_and_gets_no_others(acme):
    for to in ("suspended", "trial", "suspended", "trial"):
        writes(acme, "acme", to)
        acme.age(trial_sweeps.begin_missing)

    assert credits_given(acme) == [1000]
    assert acme.lots("acme") == {"trial": 1000}


def test_an_account_that_paid_and_is_put_back_into_trial_gets_no_trial_credits(acme):
    acme.pay("acme")
    writes(acme, "acme", "trial")
    acme.age(trial_sweeps.begin_missing)

    assert "trial" not in acme.lots("acme")


def test_a_restored_trial_ends_again_with_its_credits(acme):
    expired(acme)
    acme.restore("acme", days=5)
    acme.pass_time(days=5 + 3)

    acme.age(trial_sweeps.expire_due)

    assert (acme.status("acme"), acme.lots("acme")) == ("suspended", {})
    assert acme.trial("acme").ends_at == acme.now - 3 * DAY
