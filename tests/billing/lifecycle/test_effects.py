"""A change of status begins, ends or resumes the credit cycle, and ends a trial with its credits."""

import pytest

from billing.lifecycle.transitions import EFFECTS, TRANSITIONS


@pytest.fixture
def acme(ledger):
    """An account with a signup grant of the 31st of January."""
    ledger.go_to(2027, 1, 31)
    ledger.open_account("acme")
    ledger.seed("acme")
    return ledger


def lots_given(ledger, slug):
    """The days on which a period's lot was given."""
    return [
        e.happened_at.strftime("%Y-%m-%d")
        for e in ledger.see(slug).entries
        if e.type == "grant" and e.description == "plan"
    ]


def test_a_suspended_account_that_comes_back_gets_the_running_period_and_no_back_pay(acme):
    acme.go_to(2027, 2, 10)
    acme.change_status("acme", "suspended", reason="payment_failed")
    acme.go_to(2027, 5, 5)
    acme.sweep()

    acme.change_status("acme", "active", reason="payment_failed")
    acme.sweep()

    assert lots_given(acme, "acme") == ["2027-01-31", "2027-05-05"]
    assert acme.lots("acme") == {"plan": 1000}
    assert acme.cycle("acme").next_due_at.strftime("%m-%d") == "05-31"


def test_coming_back_within_the_period_gives_nothing_twice(acme):
    acme.debit("acme", "clustering", key="1")
    for day in (5, 10, 15):
        acme.go_to(2027, 2, day)
        acme.change_status("acme", "suspended", reason="manual")
        acme.change_status("acme", "active", reason="manual")

    assert acme.see("acme").credits == 990


def test_what_was_due_before_a_suspension_is_given_though_no_sweep_came(acme):
    acme.go_to(2027, 3, 5)

    acme.change_status("acme", "suspended", reason="manual")

    assert lots_given(acme, "acme") == ["2027-01-31", "2027-02-28"]


@pytest.mark.parametrize("way", [["trial"], ["pending_payment"], ["trial", "pending_payment"]])
def test_an_account_that_is_paid_for_begins_its_first_period_at_once(ledger, way):
    ledger.open_account("acme", status=way[0])
    ledger.seed("acme")
    ledger.pass_time(days=10)
    for to in way[1:]:
        ledger.change_status("acme", to, reason="transfer_announced")

    ledger.change_status("acme", "active", reason="paid")

    assert ledger.lots("acme") == {"plan": 1000}
    assert ledger.see("acme").credits == 1000
    assert ledger.cycle("acme").anchor_at == ledger.now
    assert ledger.seed("acme").entry is None


def test_trial_credits_last_while_a_transfer_is_on_its_way(ledger):
    ledger.open_account("acme", status="trial")
    ledger.seed("acme")

    ledger.change_status("acme", "pending_payment", reason="transfer_announced")

    assert ledger.lots("acme") == {"trial": 1000}


@pytest.mark.parametrize(
    ("to", "reason", "left"),
    [
        pytest.param("suspended", "trial_over", 0, id="the trial is over"),
        pytest.param("cancelled", "requested", 0, id="cancelled"),
        pytest.param("suspended", "dispute", 1000, id="a dispute only interrupts it"),
    ],
)
def test_trial_credits_end_with_the_trial(ledger, to, reason, left):
    ledger.open_account("acme", status="trial")
    ledger.seed("acme")

    ledger.change_status("acme", to, reason=reason)

    assert ledger.see("acme").credits == left
    assert ledger.audit().agrees


def test_a_trial_that_is_over_ends_also_for_an_account_suspended_before(ledger):
    ledger.open_account("acme", status="trial")
    ledger.seed("acme")
    ledger.change_status("acme", "suspended", reason="manual")

    ledger.change_status("acme", "suspended", reason="trial_over")

    assert ledger.see("acme").credits == 0


def test_every_status_that_has_effects_can_be_reached():
    assert {transition.status_to for transition in TRANSITIONS} >= EFFECTS.keys()


def test_an_account_in_trial_has_no_credit_cycle(ledger):
    ledger.open_account("acme", status="trial")
    ledger.seed("acme")
    ledger.pass_time(days=100)

    assert ledger.sweep() == []
    assert ledger.cycle("acme") is None
