"""Every change of status is a transition of one table; a suspension ends when no reason is left."""

import pytest
from sqlalchemy import select

from billing.errors import AccountDeleted, StatusChangeRefused, SystemAccount, UnknownAccount
from billing.lifecycle import status
from billing.lifecycle.transitions import TRANSITIONS, WHO_MAY
from models.accounts import StatusChange
from models.operations import OutboxEvent
from tests.story import NOON
from worker.database import transaction


@pytest.fixture
def act(ledger):
    def run(verb, slug, **fields):
        with transaction() as ctx:
            operator = ctx.at(NOON).by("operator:test")
            return getattr(status, verb)(operator, ledger.ids.get(slug, 404), **fields)

    return run


def changes_made():
    with transaction() as ctx:
        rows = ctx.session.scalars(select(StatusChange).order_by(StatusChange.id)).all()
        return [(row.status_from, row.status_to, row.reason) for row in rows]


def events_left():
    with transaction() as ctx:
        return list(ctx.session.scalars(select(OutboxEvent.type).order_by(OutboxEvent.id)))


def test_a_step_is_remembered_with_its_reason_and_leaves_an_event(ledger, act):
    ledger.open_account("acme", status="trial")

    act("change", "acme", to="active", reason="paid")

    assert ledger.see("acme").status == "active"
    assert changes_made() == [("trial", "active", "paid")]
    assert events_left() == ["account.activated"]


def test_a_step_to_where_the_account_is_changes_nothing(ledger, act):
    ledger.open_account("acme", status="active")

    assert act("change", "acme", to="active", reason="paid") is False
    assert changes_made() == events_left() == []


def test_a_step_that_is_not_in_the_table_is_refused(ledger, act):
    ledger.open_account("acme", status="cancelled")

    with pytest.raises(StatusChangeRefused):
        act("change", "acme", to="trial", reason="paid")


def test_a_reason_that_is_not_in_the_table_is_refused(ledger, act):
    ledger.open_account("acme", status="trial")

    with pytest.raises(StatusChangeRefused):
        act("change", "acme", to="active", reason="because")


def test_a_suspended_account_is_reactivated_only_by_lifting_its_reasons(ledger, act):
    ledger.open_account("acme", status="active")
    act("suspend", "acme", reason="dispute")

    with pytest.raises(StatusChangeRefused):
        act("change", "acme", to="active", reason="paid")


def test_lifting_one_of_two_reasons_keeps_the_account_out(ledger, act):
    ledger.open_account("acme", status="active")
    act("suspend", "acme", reason="payment_failed")
    act("suspend", "acme", reason="dispute")

    act("lift", "acme", reason="payment_failed")

    assert ledger.see("acme").status == "suspended"
    assert ledger.see("acme").suspension_reasons == ["dispute"]


def test_lifting_the_last_reason_lets_the_account_back_to_where_it_was(ledger, act):
    ledger.open_account("acme", status="trial")
    act("suspend", "acme", reason="manual")
    act("suspend", "acme", reason="dispute")

    act("lift", "acme", reason="manual")
    act("lift", "acme", reason="dispute")

    assert ledger.see("acme").status == "trial"
    assert events_left() == ["account.suspended", "account.reactivated"]


def test_paying_after_the_trial_lifts_into_active(ledger, act):
    ledger.open_account("acme", status="trial")
    act("suspend", "acme", reason="trial_over")

    act("lift", "acme", reason="trial_over", to="active")

    assert ledger.see("acme").status == "active"


def test_the_same_reason_twice_is_one_reason(ledger, act):
    ledger.open_account("acme", status="active")

    assert act("suspend", "acme", reason="dispute") is True
    assert act("suspend", "acme", reason="dispute") is False
    assert events_left() == ["account.suspended"]


def test_lifting_a_reason_that_does_not_stand_changes_nothing(ledger, act):
    ledger.open_account("acme", status="active")
    act("suspend", "acme", reason="dispute")

    assert act("lift", "acme", reason="manual") is False
    assert ledger.see("acme").status == "suspended"


def test_a_reason_that_is_none_is_refused(ledger, act):
    ledger.open_account("acme", status="active")

    with pytest.raises(StatusChangeRefused):
        act("suspend", "acme", reason="mood")


def test_a_cancelled_account_is_not_suspended(ledger, act):
    ledger.open_account("acme", status="cancelled")

    with pytest.raises(StatusChangeRefused):
        act("suspend", "acme", reason="dispute")


@pytest.mark.parametrize("slug", ["aws-admin", "default-account", "default"])
def test_a_system_account_is_never_suspended(ledger, act, slug):
    ledger.open_account(slug, status="active")

    with pytest.raises(SystemAccount):
        act("suspend", slug, reason="manual")


def test_a_deleted_account_does_not_change(ledger, act):
    ledger.open_account("acme", is_deleted=True)

    with pytest.raises(AccountDeleted):
        act("suspend", "acme", reason="manual")


def test_an_unknown_account_does_not_change(act):
    with pytest.raises(UnknownAccount):
        act("change", "nobody", to="active", reason="paid")


def test_every_step_of_the_table_leads_somewhere_new_for_a_reason():
    for transition in TRANSITIONS:
        assert transition.status_from != transition.status_to
        assert transition.reasons
        assert transition.event.startswith("account.")


def test_an_actor_who_may_not_act_for_a_reason_is_refused(ledger):
    ledger.open_account("acme", status="trial")

    with transaction() as ctx, pytest.raises(StatusChangeRefused):
        status.suspend(ctx.at(NOON).by("stripe"), ledger.ids["acme"], reason="manual")


def test_every_reason_of_the_table_has_actors():
    assert {reason for change in TRANSITIONS for reason in change.reasons} == set(WHO_MAY)


def test_an_account_that_leaves_cancelled_loses_the_reasons_that_a_payment_lifts(ledger, act):
    ledger.open_account("acme", status="active")
    act("suspend", "acme", reason="payment_failed")
    act("change", "acme", to="cancelled", reason="requested")

    act("change", "acme", to="active", reason="paid")

    assert ledger.see("acme").suspension_reasons == []
    assert ledger.audit().agrees


def test_an_account_can_t_leave_cancelled_while_another_reason_stands(ledger, act):
    ledger.open_account("acme", status="active")
    act("suspend", "acme", reason="dispute")
    act("change", "acme", to="cancelled", reason="requested")

    with pytest.raises(StatusChangeRefused):
        act("change", "acme", to="active", reason="paid")


def test_an_account_that_the_app_reactivated_under_an_open_reason_is_suspended_for_it_again(
    ledger, act
):
    ledger.open_account("acme", status="active")
    act("suspend", "acme", reason="payment_failed")
    ledger.set_host("acme", status="active")

    assert act("suspend", "acme", reason="payment_failed") is True

    assert ledger.see("acme").status == "suspended"
    assert ledger.see("acme").suspension_reasons == ["payment_failed"]


def test_many_are_suspended_as_one_is(ledger):
    for number in range(3):
        ledger.open_account(f"acme{number}", status="trial")
    with transaction() as ctx:
        assert status.suspend_all(ctx.at(NOON), ledger.ids.values(), reason="trial_over") == [
            1,
            2,
            3,
        ]
        assert status.suspend_all(ctx.at(NOON), ledger.ids.values(), reason="trial_over") == []

    assert changes_made() == [("trial", "suspended", "trial_over")] * 3
    assert events_left() == ["account.suspended"] * 3
