"""A balance is explained in lines that support can read out."""

import datetime as dt

import pytest

from billing.support import explain
from billing_client import Reverse
from worker.database import transaction


def story(ledger, slug="acme"):
    with transaction() as ctx:
        lines, now, _ = explain.of(ctx.at(ledger.now), slug)
    return [(line.what, line.change, line.balance) for line in lines], now


def test_the_story_goes_from_the_opening_to_now(ledger):
    ledger.open_account("acme", credits=100)
    ledger.debit("acme", "image_generation", key="1")
    ledger.pass_time(minutes=1)
    ledger.debit("acme", "image_generation", key="2")
    ledger.pass_time(minutes=1)
    ledger.grant("acme", 50, "top_up", key="order:1", expires_at=ledger.now + dt.timedelta(days=30))
    ledger.pass_time(minutes=1)
    ledger.debit("acme", "clustering", units=1, key="3")
    ledger.pass_time(minutes=1)
    ledger.debit("acme", "image_generation", units=100, key="4")

    lines, now = story(ledger)

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


def test_reversals_and_expiries_are_explained_in_words(ledger):
    ledger.open_account("acme", credits=100)
    ledger.debit("acme", "clustering", key="1")
    ledger.pass_time(minutes=1)
    ledger.debit_all([Reverse(ledger.ids["acme"], "1", "the model was down")])
    ledger.grant("acme", 50, key="gift", expires_at=ledger.now + dt.timedelta(days=1))
    ledger.pass_time(days=2)
    ledger.sweep()

    lines, _ = story(ledger)

    assert [line[0] for line in lines][2:] == [
        "given back: clustering (the model was down)",
        "credits granted: goodwill",
        "credits expired: goodwill",
    ]


def test_refusals_of_one_kind_that_follow_each_other_are_one_line(ledger):
    ledger.open_account("acme", credits=10)
    for key in "123":
        ledger.debit("acme", "clustering", key=key)
        ledger.pass_time(minutes=1)

    lines, _ = story(ledger)

    assert [line[0] for line in lines][1:] == [
        "clustering",
        "2 x refused clustering: InsufficientCredits (debt 0, needed 10, available 0)",
    ]


def test_a_page_begins_with_the_balance_then_and_leads_to_the_page_before(ledger):
    ledger.open_account("acme", credits=100)
    for day in range(3):
        ledger.debit("acme", "clustering", key=str(day))
        ledger.pass_time(days=1)
    with transaction() as ctx:
        last = explain.of(ctx.at(ledger.now), "acme", limit=2)
        before = explain.of(
            ctx.at(ledger.now), "acme", limit=2, before=explain.cursor_of(last.next)
        )

    assert [(line.what, line.change, line.balance) for line in last.lines] == [
        ("earlier entries, left out here", 0, 90),
        ("clustering", -10, 80),
        ("clustering", -10, 70),
    ]
    assert [(line.change, line.balance) for line in before.lines] == [(100, 100), (-10, 90)]
    assert before.next is None
    assert last.now[0] == "balance 70: 4 entries since the opening"


@pytest.mark.parametrize("limit", [1, 2, 3, 100])
def test_the_pages_together_show_each_entry_and_refusal_once_in_order(ledger, limit):
    ledger.open_account("acme", credits=30)
    for number in range(3):
        ledger.debit("acme", "clustering", key=f"d{number}")
        ledger.pass_time(days=1)
        ledger.debit("acme", "image_generation", units=100, key=f"r{number}")
        ledger.pass_time(days=1)
    lines, cursor = [], explain.Cursor()

    while cursor is not None:
        with transaction() as ctx:
            page = explain.of(ctx.at(ledger.now), "acme", limit=limit, before=cursor)
        lines = [line for line in page.lines if line.what != explain.EARLIER] + lines
        cursor = page.next and explain.cursor_of(page.next)

    assert [line.balance for line in lines] == [30, 20, None, 10, None, 0, None]
    assert lines == sorted(lines, key=lambda line: line.when)


def test_a_page_since_a_day_leaves_out_what_was_before(ledger):
    ledger.open_account("acme", credits=100)
    for day in range(3):
        ledger.debit("acme", "clustering", key=str(day))
        ledger.pass_time(days=1)
    with transaction() as ctx:
        since = ledger.now - dt.timedelta(days=1, hours=1)
        page = explain.of(ctx.at(ledger.now), "acme", since=since)

    assert [line.balance for line in page.lines] == [80, 70]
    assert page.next is None


def test_entries_up_to_the_anchor_are_counted_by_it(ledger):
    ledger.open_account("acme", credits=100)
    ledger.debit("acme", "clustering", key="1")
    ledger.audit()
    ledger.debit("acme", "clustering", key="2")

    assert story(ledger)[1][0] == "balance 80: 3 entries since the opening"


def test_an_account_that_was_not_adopted_yet_is_said_to_be_so(ledger):
    ledger.open_account("acme", credits=100)

    assert story(ledger) == (
        [],
        [
            "balance 100: as the main app shows it; no entry of ours yet",
            "available now: 100 (held for work under way: 0)",
        ],
    )


def test_operations_of_two_days_are_two_lines(ledger):
    ledger.open_account("acme", credits=100)
    ledger.debit("acme", "clustering", key="1")
    ledger.pass_time(days=1)
    ledger.debit("acme", "clustering", key="2")

    lines, _ = story(ledger)

    assert [line[0] for line in lines][1:] == ["clustering", "clustering"]


def test_what_the_app_wrote_itself_is_said(ledger):
    ledger.open_account("acme", credits=100)
    ledger.debit("acme", "clustering", key="1")
    ledger.set_host("acme", credits=95)

    _, now = story(ledger)

    assert now[-1] == (
        "the main app shows 95: it or somebody else has written +5 without an entry of ours"
    )
