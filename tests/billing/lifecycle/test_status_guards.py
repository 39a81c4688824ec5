"""Guards of a status change: its actors and reasons, and the rows that it leaves alone."""

import pytest

from billing.errors import StatusChangeRefused, UnknownAccount
from billing.host import accounts
from billing.lifecycle import status, transitions
from billing.lifecycle.dunning import cases as dunning_cases
from billing.lifecycle.transitions import TRANSITIONS, WHO_MAY
from worker.database import transaction

#: The reasons of each actor, beside an operator, who may use every one.
REASONS_OF = {
    "billing": "lifted never_paid paid payment_failed subscription_ended trial_over",
    "stripe": "dispute lifted paid payment_failed requested subscription_ended trial_over"
    " trial_started",
    "bank": "lifted never_paid paid payment_failed transfer_announced",
    "main_app": "lifted requested transfer_announced",
    "nobody": "",
}
#: The changes that each reason allows.
CHANGES_FOR = {
    "paid": "trial>active pending_payment>active suspended>active cancelled>active",
    "lifted": "suspended>active suspended>trial suspended>pending_payment",
    "transfer_announced": "trial>pending_payment suspended>pending_payment"
    " cancelled>pending_payment",
    "trial_started": "cancelled>trial",
    "trial_over": "trial>suspended active>suspended pending_payment>suspended",
    "payment_failed": "trial>suspended active>suspended pending_payment>suspended",
    "dispute": "trial>suspended active>suspended pending_payment>suspended",
    "requested": "trial>cancelled active>cancelled pending_payment>cancelled suspended>cancelled",
    "subscription_ended": "trial>cancelled active>cancelled suspended>cancelled",
    "never_paid": "pending_payment>cancelled suspended>cancelled",
    "manual": "trial>active trial>suspended trial>cancelled active>suspended active>cancelled"
    " pending_payment>active pending_payment>suspended pending_payment>cancelled"
    " suspended>cancelled cancelled>active",
}


@pytest.mark.parametrize("actor", [*REASONS_OF, "operator", "operator:jane"])
def test_an_actor_may_act_for_its_own_reasons_alone(actor):
    role = actor.partition(":")[0]
    allowed = {reason for reason, roles in WHO_MAY.items() if role in roles}

    assert allowed == (set(WHO_MAY) if role == "operator" else set(REASONS_OF[role].split()))


@pytest.mark.parametrize("reason", CHANGES_FOR)
def test_a_reason_allows_its_own_changes_alone(reason):
    allowed = {f"{t.status_from}>{t.status_to}" for t in TRANSITIONS if reason in t.reasons}

    assert allowed == set(CHANGES_FOR[reason].split())


def test_every_reason_has_its_changes():
    assert set(CHANGES_FOR) == set(WHO_MAY)


@pytest.mark.parametrize(
    ("before", "to", "event"),
    [
        ("trial", "active", "account.activated"),
        ("active", "suspended", "account.suspended"),
        ("suspended", "active", "account.reactivated"),
        ("cancelled", "trial", "account.reactivated"),
        ("suspended", "pending_payment", "account.awaits_payment"),
        ("trial", "cancelled", "account.cancelled"),
        ("on_hold", "active", "account.reactivated"),
        ("active", "trial", "account.in_trial"),
        ("active", "pending_payment", "account.awaits_payment"),
        ("on_hold", "cancelled", "account.cancelled"),
        ("active", "on_hold", "account.suspended"),
        ("cancelled", "suspended", "account.suspended"),
    ],
)
def test_a_change_tells_the_app_what_it_means_for_access(before, to, event):
    assert transitions.event_of(before, to) == event


def test_an_account_is_suspended_with_a_reason_of_its_own_alone(life):
    life.open_account("acme")

    with pytest.raises(StatusChangeRefused, match="use suspend or lift"):
        life.act(status.change, "acme", actor="operator", to="suspended", reason="manual")


def test_lifting_a_reason_of_a_cancelled_account_leaves_it_cancelled(life):
    life.open_account("acme")
    life.change_status("acme", "suspended", reason="dispute")
    life.cancel("acme")

    assert life.act(status.lift, "acme", actor="operator", reason="dispute") is True

    assert (life.status("acme"), life.reasons("acme")) == ("cancelled", [])


def test_the_reasons_of_a_suspension_are_listed_in_the_order_in_which_they_came(life):
    life.open_account("acme")
    for reason in ("payment_failed", "dispute", "manual"):
        life.change_status("acme", "suspended", reason=reason)

    assert life.reasons("acme") == ["payment_failed", "dispute", "manual"]
    assert life.suspensions() == [(1, "payment_failed"), (1, "dispute"), (1, "manual")]


def test_a_later_reason_leads_back_to_the_status_before_the_first(life):
    life.open_account("acme", status="pending_payment")
    life.change_status("acme", "suspended", reason="dispute")
    life.change_status("acme", "suspended", reason="manual")

    for reason in ("dispute", "manual"):
        life.act(status.lift, "acme", actor="operator", reason=reason)

    assert life.status("acme") == "pending_payment"


def test_of_many_accounts_none_is_suspended_if_one_may_not_be(life):
    life.open_account("acme", status="trial")
    life.open_account("left", status="cancelled")

    with pytest.raises(StatusChangeRefused):
        words = {"account_ids": life.ids.values(), "reason": "dispute"}
        life.act(status.suspend_all, actor="operator", **words)

    assert (life.status("acme"), life.status("left")) == ("trial", "cancelled")


def test_a_payment_of_an_account_that_is_none_is_refused(life):
    with pytest.raises(UnknownAccount):
        life.act(status.payment_received, actor="bank", account_ids=[404])


def test_one_payment_run_reactivates_each_account_as_it_would_alone(life):
    life.open_account("trial", status="trial")
    life.open_account("cancelled", status="cancelled")
    life.open_account("by the app", status="suspended")
    life.open_account("unpaid")
    life.change_status("unpaid", "suspended", reason="payment_failed")
    life.open_account("by hand")
    life.change_status("by hand", "suspended", reason="manual")
    life.open_account("default", status="trial")
    life.open_account("active")

    life.act(status.payment_received, actor="bank", account_ids=list(life.ids.values()))

    assert {slug: life.status(slug) for slug in life.ids} == {
        "trial": "active",
        "cancelled": "active",
        "by the app": "suspended",
        "unpaid": "active",
        "by hand": "suspended",
        "default": "trial",
        "active": "active",
    }


@pytest.mark.parametrize("before", ["trial", "pending_payment", "cancelled"])
def test_accounts_without_a_burden_are_activated_in_one_batch_but_for_the_apps_own(life, before):
    for slug in ("acme", "other", "default"):
        life.open_account(slug, status=before)

    def activate(ctx):
        status.activate(ctx, list(accounts.lock(ctx.session, life.ids.values()).values()))

    life.act(activate, actor="stripe")

    assert [life.status(slug) for slug in life.ids] == ["active", "active", before]


def test_a_payment_changes_more_than_the_status_of_accounts_with_a_burden(life):
    for slug in ("suspended", "lifted", "dunned", "settled", "written", "free"):
        life.open_account(slug)
    for slug in ("suspended", "lifted"):
        life.change_status(slug, "suspended", reason="manual")
    life.act(status.lift, "lifted", actor="operator", reason="manual")
    for slug in ("dunned", "settled"):
        life.act(dunning_cases.open_case, slug, cause="card_failed")
    life.act(dunning_cases.stop, "settled", reason="paid")
    life.set_host("written", status="cancelled")

    with transaction() as ctx:
        burdened = status.burdened_accounts(ctx.session, life.ids.values())
    assert burdened == {life.ids[slug] for slug in ("suspended", "dunned", "written")}


def test_a_payment_during_a_dispute_ends_the_trial_as_paid(life):
    life.try_out("acme")
    life.change_status("acme", "suspended", reason="dispute")

    life.pay("acme")

    assert life.trial("acme").outcome == "paid"
