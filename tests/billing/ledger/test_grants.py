"""A grant pays credits in, once per key."""

import datetime as dt

import pytest

from billing.errors import (
    AccountDeleted,
    AlreadyExpired,
    BalanceTooLarge,
    KeyReused,
    UnknownAccount,
)


def test_the_same_grant_delivered_twice_is_paid_in_once(ledger):
    ledger.open_account("acme")

    first = ledger.grant("acme", 50, "top_up", key="order:1")
    second = ledger.grant("acme", 50, "top_up", key="order:1")

    assert (second.entry, second.is_repeat) == (first.entry, True)
    assert ledger.history("acme") == "top_up  +50  50"


def test_a_key_stands_for_one_amount_from_one_source(ledger):
    ledger.open_account("acme")
    ledger.grant("acme", 50, "top_up", key="order:1")

    with pytest.raises(KeyReused):
        ledger.grant("acme", 60, "top_up", key="order:1")


def test_a_key_that_refused_a_debit_pays_nothing_in(ledger):
    ledger.open_account("acme")
    ledger.debit("acme", "clustering", key="k")

    with pytest.raises(KeyReused):
        ledger.grant("acme", 50, key="k")


@pytest.mark.parametrize(("slug", "error"), [("nobody", UnknownAccount), ("gone", AccountDeleted)])
def test_nothing_is_paid_in_to_an_account_that_is_not_there(ledger, slug, error):
    ledger.open_account("gone")
    ledger.delete_account("gone")

    with pytest.raises(error):
        ledger.grant(slug, 50, key="k")

    assert ledger.see("gone").entries == []


@pytest.mark.parametrize("seconds", [-1, 0], ids=["in the past", "at this moment"])
def test_a_lot_cannot_end_before_it_begins(ledger, seconds):
    ledger.open_account("acme")

    with pytest.raises(AlreadyExpired):
        ledger.grant("acme", 50, key="k", expires_at=ledger.now + dt.timedelta(seconds=seconds))


def test_a_balance_beyond_the_apps_column_is_rejected_and_leaves_the_key_free(ledger):
    ledger.open_account("acme", credits=2_100_000_000)

    with pytest.raises(BalanceTooLarge):
        ledger.grant("acme", 100_000_000, key="k")

    assert ledger.grant("acme", 1, key="k").entry.balance_after == 2_100_000_001
