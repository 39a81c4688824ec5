"""A new account gets its plan's credits exactly once, whoever gave them."""

import pytest

from billing.errors import AccountDeleted, NoPlan, SystemAccount, UnknownAccount


def test_a_new_account_gets_its_plans_credits(books):
    books.open_account("acme", status="active")

    books.seed("acme")

    assert books.history("acme") == "plan  +1000  1000"


def test_an_account_in_trial_gets_them_as_trial_credits(books):
    books.open_account("acme", status="trial")

    books.seed("acme")

    assert books.lots("acme") == {"trial": 1000}


def test_seeding_twice_seeds_once(books):
    books.open_account("acme")
    books.seed("acme")

    again = books.seed("acme")

    assert (again.entry, again.why_not) == (None, "seeded before")
    assert books.see("acme").credits == 1000


def test_an_account_that_spent_its_seed_is_not_seeded_again(books):
    books.plan("tiny", included_credits=10)
    books.open_account("acme", plan="tiny")
    books.seed("acme")
    books.debit("acme", "clustering", key="1")

    assert books.seed("acme").why_not == "seeded before"


def test_an_account_that_the_app_has_seeded_is_left_alone(books):
    books.open_account("acme", credits=100)

    seeded = books.seed("acme")

    assert seeded.why_not == "it had credits at its opening"
    assert books.see("acme").credits == 100


def test_an_account_that_spent_what_the_app_gave_is_left_alone(books):
    books.open_account("acme", credits=0)
    books.app_writes_entry("acme", -100)

    seeded = books.seed("acme")

    assert seeded.why_not == "the main app's ledger shows its first credits"


def test_an_account_that_had_its_credits_when_adopted_is_not_seeded_after_spending_them(books):
    books.open_account("acme", credits=10)
    books.debit("acme", "clustering", key="1")

    assert books.seed("acme").why_not == "it had credits at its opening"


def test_a_zero_balance_and_an_empty_ledger_mean_that_it_was_never_seeded(books):
    books.open_account("auto-remote", credits=0, status="trial")
    books.debit("auto-remote", "clustering", key="1")  # refused, and opens the book

    assert books.seed("auto-remote").entry.amount == 1000


@pytest.mark.parametrize(
    ("slug", "fields", "error"),
    [
        pytest.param("aws-admin", {}, SystemAccount, id="a system account"),
        pytest.param("acme", {"plan": None}, NoPlan, id="an account without a plan"),
        pytest.param("acme", {"is_deleted": True}, AccountDeleted, id="a deleted account"),
    ],
)
def test_some_accounts_are_never_seeded(books, slug, fields, error):
    books.open_account(slug, **fields)

    with pytest.raises(error):
        books.seed(slug)


def test_an_unknown_account_is_not_seeded(books):
    with pytest.raises(UnknownAccount):
        books.seed("nobody")


def test_a_plan_without_credits_seeds_nothing(books):
    books.plan("bare", included_credits=0)
    books.open_account("acme", plan="bare")

    assert books.seed("acme").why_not == "the plan includes no credits"
