"""Credits burn in an order that a customer would call fair, and not after their time."""

import datetime as dt

from tests.story import NOON


def in_days(days):
    return NOON + dt.timedelta(days=days)


def test_lower_priority_burns_first(ledger):
    ledger.open_account("acme")
    ledger.grant("acme", 10, "top_up", key="late", priority=5)
    ledger.grant("acme", 10, "goodwill", key="early", priority=1)

    ledger.debit("acme", "clustering", key="1")

    assert ledger.lots("acme") == {"top_up": 10}


def test_at_equal_priority_the_sooner_expiry_burns_first(ledger):
    ledger.open_account("acme")
    ledger.grant("acme", 10, "top_up", key="never", priority=5)
    ledger.grant("acme", 10, "goodwill", key="soon", priority=5, expires_at=in_days(3))
    ledger.grant("acme", 10, "plan", key="later", priority=5, expires_at=in_days(30))

    ledger.debit("acme", "clustering", key="1")
    assert ledger.lots("acme") == {"plan": 10, "top_up": 10}

    ledger.debit("acme", "clustering", key="2")
    assert ledger.lots("acme") == {"top_up": 10}


def test_at_equal_expiry_promotional_credits_burn_before_paid_ones(ledger):
    ledger.open_account("acme")
    ledger.grant("acme", 10, "top_up", key="paid", priority=5)
    ledger.grant("acme", 10, "goodwill", key="gift", priority=5)

    ledger.debit("acme", "clustering", key="1")

    assert ledger.lots("acme") == {"top_up": 10}


def test_else_the_oldest_burns_first(ledger):
    ledger.open_account("acme")
    ledger.grant("acme", 10, "bank_transfer", key="old")
    ledger.pass_time(days=1)
    ledger.grant("acme", 10, "top_up", key="new")

    ledger.debit("acme", "clustering", key="1")

    assert ledger.lots("acme") == {"top_up": 10}


def test_a_debit_takes_from_as_many_lots_as_it_needs_and_names_them(ledger):
    ledger.open_account("acme")
    first = ledger.grant("acme", 4, "goodwill", key="a").entry.lots[0][0]
    second = ledger.grant("acme", 20, "top_up", key="b").entry.lots[0][0]

    answer = ledger.debit("acme", "clustering", key="1")

    assert answer.entry.lots == [[first, -4], [second, -6]]


def test_expired_credits_cannot_be_spent_even_before_they_are_swept(ledger):
    ledger.open_account("acme")
    ledger.grant("acme", 10, "goodwill", key="gift", expires_at=in_days(1))
    ledger.pass_time(days=1)

    answer = ledger.debit("acme", "clustering", key="1")

    assert answer.error.facts["available"] == 0
    assert (ledger.see("acme").credits, ledger.see("acme").available) == (10, 0)


def test_credits_can_be_spent_to_the_last_moment(ledger):
    ledger.open_account("acme")
    ledger.grant("acme", 10, "goodwill", key="gift", expires_at=in_days(1))
    ledger.pass_time(days=1, microseconds=-1)

    assert ledger.debit("acme", "clustering", key="1").outcome == "taken"
