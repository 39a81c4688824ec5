"""A payment reactivates the account, unless another reason for suspension stands."""

import pytest

from billing.errors import StatusChangeRefused
from billing.lifecycle import status
from billing.lifecycle.dunning import cases as dunning_cases


@pytest.mark.parametrize("status", ["trial", "pending_payment", "cancelled", "active"])
def test_an_account_that_pays_is_activated(life, status):
    life.open_account("acme", status=status)

    life.pay("acme")

    assert life.status("acme") == "active"


@pytest.mark.parametrize("reason", ["trial_over", "payment_failed"])
def test_a_payment_lifts_the_reasons_that_a_payment_lifts(life, reason):
    life.open_account("acme", status="active")
    life.change_status("acme", "suspended", reason=reason)

    life.pay("acme")

    assert (life.status("acme"), life.reasons("acme")) == ("active", [])


@pytest.mark.parametrize("before", ["trial", "pending_payment"])
def test_an_account_that_paid_during_a_dispute_is_active_when_that_is_settled(life, before):
    life.open_account("acme", status=before)
    life.age()
    life.act(dunning_cases.open_case, "acme", cause="transfer_announced")
    life.change_status("acme", "suspended", reason="dispute")

    life.pay("acme")
    assert (life.status("acme"), life.reasons("acme")) == ("suspended", ["dispute"])
    life.change_status("acme", None, reason="dispute")
    life.pass_time(days=100)
    life.age()

    assert life.status("acme") == "active"
    assert life.events("payment.missing") == []


def test_a_payment_does_not_lift_an_operator_s_reason(life):
    life.open_account("acme", status="active")
    life.change_status("acme", "suspended", reason="manual")

    life.pay("acme")

    assert (life.status("acme"), life.reasons("acme")) == ("suspended", ["manual"])


def test_a_payment_does_not_undo_a_suspension_by_the_main_app(life):
    life.open_account("acme", status="suspended")

    life.pay("acme")

    assert life.status("acme") == "suspended"


def test_a_payment_that_is_received_twice_counts_once(life):
    life.open_account("acme", status="trial")
    life.pay("acme")
    before = life.events()

    life.pay("acme")

    assert life.events() == before


def test_a_system_account_is_left_alone(life):
    life.open_account("default", status="trial")

    life.act(status.payment_received, actor="bank", account_ids=[life.ids["default"]])

    assert life.status("default") == "trial"


def test_an_actor_without_payments_reactivates_no_account(life):
    life.open_account("acme", status="trial")

    with pytest.raises(StatusChangeRefused):
        life.act(status.payment_received, actor="main_app", account_ids=[life.ids["acme"]])


def test_a_cancelled_account_that_pays_stays_out_while_a_person_s_reason_stands(life):
    life.open_account("acme", status="active")
    life.change_status("acme", "suspended", reason="manual")
    life.cancel("acme")

    life.pay("acme")

    assert (life.status("acme"), life.reasons("acme")) == ("cancelled", ["manual"])
