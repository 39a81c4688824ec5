"""Credits burn in an order that a customer would call fair, and not after their time."""

import datetime as dt

from tests.story import NOON


def in_days(days):
    return NOON + dt.timedelta(days=days)


def test_lower_priority_burns_first(books):
    books.open_account("acme")
    books.grant("acme", 10, "top_up", key="late", priority=5)
    books.grant("acme", 10, "goodwill", key="early", priority=1)

    books.debit("acme", "clustering", key="1")

    assert books.lots("acme") == {"top_up": 10}


def test_at_equal_priority_the_sooner_expiry_burns_first(books):
    books.open_account("acme")
    books.grant("acme", 10, "top_up", key="never", priority=5)
    books.grant("acme", 10, "goodwill", key="soon", priority=5, expires_at=in_days(3))
    books.grant("acme", 10, "plan", key="later", priority=5, expires_at=in_days(30))

    books.debit("acme", "clustering", key="1")
    assert books.lots("acme") == {"plan": 10, "top_up": 10}

    books.debit("acme", "clustering", key="2")
    assert books.lots("acme") == {"top_up": 10}


def test_at_equal_expiry_promotional_credits_burn_before_paid_ones(books):
    books.open_account("acme")
    books.grant("acme", 10, "top_up", key="paid", priority=5)
    books.grant("acme", 10, "goodwill", key="gift", priority=5)

    books.debit("acme", "clustering", key="1")

    assert books.lots("acme") == {"top_up": 10}


def test_else_the_oldest_burns_first(books):
    books.open_account("acme")
    books.grant("acme", 10, "bank_transfer", key="old")
    books.pass_time(days=1)
    books.grant("acme", 10, "top_up", key="new")

    books.debit("acme", "clustering", key="1")

    assert books.lots("acme") == {"top_up": 10}


def test_a_debit_takes_from_as_many_lots_as_it_needs_and_names_them(books):
    books.open_account("acme")
    first = books.grant("acme", 4, "goodwill", key="a").entry.lots[0][0]
    second = books.grant("acme", 20, "top_up", key="b").entry.lots[0][0]

    answer = books.debit("acme", "clustering", key="1")

    assert answer.entry.lots == [[first, -4], [second, -6]]


def test_expired_credits_cannot_be_spent_even_before_they_are_swept(books):
    books.open_account("acme")
    books.grant("acme", 10, "goodwill", key="gift", expires_at=in_days(1))
    books.pass_time(days=1)

    answer = books.debit("acme", "clustering", key="1")

    assert answer.error.facts["available"] == 0
    assert (books.see("acme").credits, books.see("acme").available) == (10, 0)


def test_credits_can_be_spent_to_the_last_moment(books):
    books.open_account("acme")
    books.grant("acme", 10, "goodwill", key="gift", expires_at=in_days(1))
    books.pass_time(days=1, microseconds=-1)

    assert books.debit("acme", "clustering", key="1").outcome == "taken"
