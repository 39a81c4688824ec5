"""A new account gets its plan's credits exactly once, from us or from the main app."""

import pytest

from billing.errors import AccountDeleted, NoPlan, SystemAccount, UnknownAccount


def test_a_new_account_gets_its_plans_credits(ledger):
    ledger.open_account("acme", status="active")

    ledger.seed("acme")

    assert ledger.history("acme") == "plan  +1000  1000"


def test_an_account_in_trial_gets_them_as_trial_credits(ledger):
    ledger.open_account("acme", status="trial")

    ledger.seed("acme")

    assert ledger.lots("acme") == {"trial": 1000}


def test_a_signup_grant_is_given_once(ledger):
    ledger.open_account("acme")
    ledger.seed("acme")

    again = ledger.seed("acme")

    assert (again.entry, again.why_not) == (None, "seeded before")
    assert ledger.see("acme").credits == 1000


def test_an_account_that_spent_its_signup_grant_gets_no_other(ledger):
    ledger.plan("tiny", included_credits=10)
    ledger.open_account("acme", plan="tiny")
    ledger.seed("acme")
    ledger.debit("acme", "clustering", key="1")

    assert ledger.seed("acme").why_not == "seeded before"


def test_an_account_with_first_credits_from_the_app_gets_none(ledger):
    ledger.open_account("acme", credits=100)

    seeded = ledger.seed("acme")

    assert seeded.why_not == "it had credits at its opening"
    assert ledger.see("acme").credits == 100


def test_an_account_that_spent_what_the_app_gave_is_left_alone(ledger):
    ledger.open_account("acme", credits=0)
    ledger.app_writes_entry("acme", -100)

    seeded = ledger.seed("acme")

    assert seeded.why_not == "the main app's ledger shows its first credits"


def test_an_account_that_had_credits_when_adopted_gets_none_after_spending_them(ledger):
    ledger.open_account("acme", credits=10)
    ledger.debit("acme", "clustering", key="1")

    assert ledger.seed("acme").why_not == "it had credits at its opening"


def test_a_zero_balance_and_an_empty_ledger_mean_no_signup_grant_yet(ledger):
    ledger.open_account("auto-remote", credits=0, status="trial")
    ledger.debit("auto-remote", "clustering", key="1")  # refused, and opens the book

    assert ledger.seed("auto-remote").entry.amount == 1000


@pytest.mark.parametrize(
    ("slug", "fields", "error"),
    [
        pytest.param("aws-admin", {}, SystemAccount, id="a system account"),
        pytest.param("acme", {"plan": None}, NoPlan, id="an account without a plan"),
        pytest.param("acme", {"is_deleted": True}, AccountDeleted, id="a deleted account"),
    ],
)
def test_some_accounts_get_no_signup_grant(ledger, slug, fields, error):
    ledger.open_account(slug, **fields)

    with pytest.raises(error):
        ledger.seed(slug)


def test_an_unknown_account_gets_no_signup_grant(ledger):
    with pytest.raises(UnknownAccount):
        ledger.seed("nobody")


def test_a_plan_without_credits_gives_no_signup_grant(ledger):
    ledger.plan("bare", included_credits=0)
    ledger.open_account("acme", plan="bare")

    assert ledger.seed("acme").why_not == "the plan includes no credits"
