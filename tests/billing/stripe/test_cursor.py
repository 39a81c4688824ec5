"""The reading of Stripe's list of events: its window, its slices, and the cursor."""

import datetime as dt
import itertools

import pytest
from sqlalchemy import select

from billing.stripe import backfill, events, inbox
from billing.stripe.backfill import FIRST_LOOK, LISTED_FOR, OVERLAP, SLICE, Window
from models.stripe import StripeCursor, StripeEvent
from tests.billing.stripe.writing import Shop
from worker.database import transaction

NOW = dt.datetime(2026, 3, 17, 12, tzinfo=dt.UTC)
HOUR, DAY, SECOND = dt.timedelta(hours=1), dt.timedelta(days=1), dt.timedelta(seconds=1)


@pytest.fixture
def cursor(database):
    """Puts the cursor of a mode at a time."""

    def cursor(read_until, *, is_live=False):
        with transaction() as ctx:
            row = StripeCursor(name=backfill.CURSOR, is_live=is_live, recorded_at=NOW)
            row.read_until = read_until
            ctx.session.add(row)

    return cursor


def window(**how):
    with transaction() as ctx:
        return backfill.window(ctx.at(NOW), is_live=False, **how)


def move(until, *, since, is_live=False):
    """Move the cursor; return whether it moved, and where it is."""
    with transaction() as ctx:
        moved = backfill.move_cursor(ctx.at(NOW), until, since=since, is_live=is_live)
    with transaction() as ctx:
        row = ctx.session.get(StripeCursor, backfill.CURSOR)
        return moved, row and (row.read_until, row.is_live)


@pytest.mark.parametrize(
    ("read_until", "since", "expected", "lost"),
    [
        pytest.param(None, None, NOW - FIRST_LOOK, 0 * DAY, id="a first look"),
        pytest.param(NOW - 5 * HOUR, None, NOW - 5 * HOUR - OVERLAP, 0 * DAY, id="from the cursor"),
        pytest.param(NOW - 5 * HOUR, NOW - HOUR, NOW - HOUR, 0 * DAY, id="since a time"),
        pytest.param(
            NOW - LISTED_FOR + OVERLAP, None, NOW - LISTED_FOR, 0 * DAY, id="as far as Stripe lists"
        ),
        pytest.param(NOW - 40 * DAY, None, NOW - LISTED_FOR, 10 * DAY + OVERLAP, id="further"),
        pytest.param(None, NOW - 31 * DAY, NOW - LISTED_FOR, DAY, id="since a time before it"),
    ],
)
def test_the_window_begins_at_the_cursor_or_the_time_and_says_what_is_lost(
    cursor, read_until, since, expected, lost
):
    if read_until:
        cursor(read_until)

    assert window(since=since) == Window(expected, NOW, lost)


def test_a_cursor_of_the_other_mode_says_nothing(cursor):
    cursor(NOW - HOUR, is_live=True)

    assert window() == Window(NOW - FIRST_LOOK, NOW)


@pytest.mark.parametrize("length", [0 * SECOND, SECOND, SLICE, SLICE + SECOND, 3 * SLICE])
def test_the_slices_have_each_second_of_the_window_once(length):
    slices = list(Window(NOW, NOW + length).slices)

    assert (slices[0].since, slices[-1].until) == (NOW, NOW + length)
    assert all(part.until - part.since <= SLICE for part in slices)
    pairs = itertools.pairwise(slices)
    assert all(later.since - earlier.until == SECOND for earlier, later in pairs)


@pytest.mark.parametrize(
    ("since", "until", "moves"),
    [
        pytest.param(-1, 5, True, id="reads on with an overlap"),
        pytest.param(0, 5, True, id="reads on"),
        pytest.param(1 / 3600, 5, True, id="reads on with the next second"),
        pytest.param(2 / 3600, 5, False, id="leaves a second out"),
        pytest.param(-3, 0, False, id="ends where it is"),
        pytest.param(-3, -1, False, id="ends before it"),
    ],
)
def test_the_cursor_moves_on_over_what_was_read_and_never_back(cursor, since, until, moves):
    at = NOW - 10 * HOUR
    cursor(at)

    moved, (read_until, _) = move(at + until * HOUR, since=at + since * HOUR)

    assert (moved, read_until) == (moves, at + 5 * HOUR if moves else at)


@pytest.mark.parametrize(
    ("since", "moves"), [(NOW - FIRST_LOOK, True), (NOW - FIRST_LOOK + 2 * SECOND, False)]
)
def test_the_first_read_must_begin_as_early_as_the_first_look(database, since, moves):
    moved, kept = move(NOW - HOUR, since=since)

    assert (moved, kept is not None) == (moves, moves)


def test_a_cursor_that_stripe_does_not_list_any_more_moves_from_the_lists_beginning(cursor):
    cursor(NOW - 40 * DAY)

    assert move(NOW - 29 * DAY, since=NOW - LISTED_FOR)[0]


def test_the_cursor_of_the_other_mode_is_replaced_although_it_is_further(cursor):
    cursor(NOW, is_live=True)

    assert move(NOW - HOUR, since=NOW - FIRST_LOOK) == (True, (NOW - HOUR, False))


@pytest.mark.parametrize(
    ("changed", "is_unknown"),
    [
        pytest.param({}, False, id="stored"),
        pytest.param({"api_version": "2022-11-15"}, False, id="stored, in another shape"),
        pytest.param({"id": "evt_9"}, True, id="another id"),
        pytest.param({"type": "invoice.paid"}, True, id="another type under its id"),
        pytest.param({"created": 1_772_366_401}, True, id="another time under its id"),
    ],
)
def test_a_listed_event_is_known_by_its_id_type_and_time(database, changed, is_unknown):
    shop = Shop(now=1_772_366_400)
    stored = shop.event("customer.updated", {"id": "cus_1"})
    listed = events.of_payload(stored | changed)
    with transaction() as ctx:
        inbox.store(ctx.at(NOW), events.of_payload(stored), source="webhook", received_at=NOW)

    with transaction() as ctx:
        assert (backfill.unknown(ctx.session, [listed]) == [listed]) is is_unknown


def test_of_listed_events_only_those_that_are_new_even_now_are_stored(database):
    shop = Shop(now=1_772_366_400)
    read = [events.of_payload(shop.event("customer.updated", {"id": "cus_1"})) for _ in range(3)]
    with transaction() as ctx:
        inbox.store(ctx.at(NOW), read[1], source="webhook", received_at=NOW)

    with transaction() as ctx:
        numbers = backfill.store(ctx.at(NOW), read)

    assert len(numbers) == 2
    with transaction() as ctx:
        rows = select(StripeEvent.source).order_by(StripeEvent.event_id)
        assert list(ctx.session.scalars(rows)) == ["gap_fill", "webhook", "gap_fill"]
