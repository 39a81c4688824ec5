"""Why is the balance N? In lines that a support person can read out."""

import datetime as dt

from billing import explain
from worker.database import transaction


def story(books, slug="acme"):
    with transaction() as session:
        lines, now = explain.of(session, slug, now=books.now)
    return [(line.what, line.change, line.balance) for line in lines], now


def test_the_story_goes_from_the_opening_to_now(books):
    books.open_account("acme", credits=100)
    books.debit("acme", "image_generation", key="1")
    books.pass_time(minutes=1)
    books.debit("acme", "image_generation", key="2")
    books.pass_time(minutes=1)
    books.grant("acme", 50, "top_up", key="order:1", expires_at=books.now + dt.timedelta(days=30))
    books.pass_time(minutes=1)
    books.debit("acme", "clustering", units=1, key="3")
    books.pass_time(minutes=1)
    books.debit("acme", "image_generation", units=100, key="4")

    lines, now = story(books)

    assert lines == [
        ("opened with the balance that the main app showed", 100, 100),
        ("2 x image_generation", -10, 90),
        ("credits granted: top_up", 50, 140),
        ("clustering", -10, 130),
        (
            "refused image_generation: InsufficientCredits (debt 0, needed 500, available 130)",
            0,
            None,
        ),
    ]
    assert now == [
        "balance 130: 5 entries since the opening",
        "  40 from top_up, until 2026-03-31 12:02 UTC",
        "  90 from opening_balance, for good",
        "available now: 130 (held for work under way: 0)",
    ]


def test_operations_of_two_days_are_two_lines(books):
    books.open_account("acme", credits=100)
    books.debit("acme", "clustering", key="1")
    books.pass_time(days=1)
    books.debit("acme", "clustering", key="2")

    lines, _ = story(books)

    assert [line[0] for line in lines][1:] == ["clustering", "clustering"]


def test_what_the_app_wrote_itself_is_said(books):
    books.open_account("acme", credits=100)
    books.debit("acme", "clustering", key="1")
    books.set_host("acme", credits=95)

    _, now = story(books)

    assert now[-1] == (
        "the main app shows 95: it or somebody else has written +5 without an entry of ours"
    )
