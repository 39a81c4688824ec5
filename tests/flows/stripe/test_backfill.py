"""What never came by webhook is read from Stripe's list of events, and applied once."""

import datetime as dt
import threading

import pytest
from sqlalchemy import select

from billing.errors import StripeAway
from billing.stripe import backfill, events, inbox
from flows.stripe import backfill as stripe_backfill
from flows.stripe import fetch as stripe_fetch
from models.stripe import StripeCursor, StripeEvent
from tasks import stripe as stripe_tasks
from tests import stripe_objects as objects
from tests.worker.conftest import running_worker, wait_until
from worker import clock
from worker.app import app
from worker.database import transaction

HOUR, DAY = dt.timedelta(hours=1), dt.timedelta(days=1)


def fill(**how):
    return stripe_backfill.fill(stripe_fetch.gateway(), **how)


def kept():
    """Of each event kept: its id, where it came from, how often, and what became of it."""
    with transaction() as ctx:
        rows = ctx.session.scalars(select(StripeEvent).order_by(StripeEvent.event_id))
        return [(row.event_id, row.source, row.deliveries, row.state) for row in rows]


def cursor():
    with transaction() as ctx:
        found = ctx.session.get(StripeCursor, backfill.CURSOR)
        return found and found.read_until


def set_cursor(ago, *, is_live=False):
    with transaction() as ctx:
        ctx.session.add(
            StripeCursor(
                name=backfill.CURSOR,
                read_until=clock.now() - ago,
                is_live=is_live,
                recorded_at=clock.now(),
            )
        )


def deliver(event):
    with transaction() as ctx:
        made = events.of_payload(event)
        now = clock.now()
        return inbox.store(ctx.at(now), made, source="webhook", received_at=now)


# --- what never came ------------------------------------------------------------------------------


def test_a_payment_whose_webhook_never_came_gives_its_credits(acme, ledger):
    acme.event("invoice.paid", acme.buys(hours=2), hours=2)

    fill()

    assert ledger.see("acme").credits == 1000
    assert kept() == [("evt_1", "gap_fill", 1, "applied")]


def test_filling_twice_changes_nothing_more(acme, ledger):
    acme.event("invoice.paid", acme.buys(hours=2), hours=2)

    fill()
    again = fill(since=clock.now() - 3 * HOUR)

    assert (again.listed, again.new, again.outcomes) == (1, set(), [])
    assert ledger.see("acme").credits == 1000
    assert kept() == [("evt_1", "gap_fill", 1, "applied")]


def test_two_that_fill_at_once_keep_and_apply_once(acme, ledger):
    acme.event("invoice.paid", acme.buys(hours=2), hours=2)
    threads = [threading.Thread(target=fill) for _ in range(2)]

    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert [(name, state) for name, _, _, state in kept()] == [("evt_1", "applied")]
    assert ledger.see("acme").credits == 1000


def test_what_came_by_webhook_is_not_kept_again(acme):
    deliver(acme.event("invoice.paid", acme.buys(hours=2), hours=2))

    assert fill().new == set()
    assert [source for _, source, _, _ in kept()] == ["webhook"]


def test_an_event_in_the_shape_of_another_api_version_is_the_same_event(acme):
    event = acme.event("invoice.paid", acme.buys(hours=2), hours=2)
    posted = event | {"api_version": "2022-11-15", "data": {"object": {"id": "in_1", "x": 1}}}
    deliver(posted)

    assert fill().new == set()


def test_events_of_another_mode_or_account_are_kept_as_ignored(acme):
    live = objects.event("evt_live", "invoice.paid", created=acme.at(hours=1), livemode=True)
    other = objects.event("evt_other", "invoice.paid", created=acme.at(hours=1), account="acct_2")
    acme.fake.keep(live, other)

    done = fill()

    assert [(o.state, o.reason) for o in done.outcomes] == [
        ("ignored", "ForeignAccount"),
        ("ignored", "LivemodeMismatch"),
    ]


def test_an_event_that_makes_no_sense_is_kept_as_refused_and_the_next_one_applied(acme, ledger):
    acme.fake.keep(objects.event("evt_bad", created=acme.at(hours=1)) | {"data": None})
    acme.event("invoice.paid", acme.buys(hours=2), hours=2)

    done = fill()

    assert done.unreadable == 1
    assert sorted(state for _, _, _, state in kept()) == ["applied", "refused"]
    assert ledger.see("acme").credits == 1000


def test_more_than_a_page_is_read(acme):
    for minute in range(backfill.AT_ONCE + 5):
        acme.event("product.updated", objects.product(), hours=1, minutes=minute / 10)

    assert fill().listed == backfill.AT_ONCE + 5
    assert {state for _, _, _, state in kept()} == {"applied"}


# --- how far it has read --------------------------------------------------------------------------


def test_the_first_look_goes_back_three_days(acme):
    acme.event("customer.updated", objects.customer(), days=2, hours=23)
    acme.event("customer.updated", objects.customer(), days=3, hours=1)

    assert fill().new == {"evt_1"}


def test_from_then_on_it_reads_on_from_the_cursor_with_an_overlap(acme):
    set_cursor(5 * HOUR)
    acme.event("customer.updated", objects.customer(), hours=5, minutes=50)
    acme.event("customer.updated", objects.customer(), hours=6, minutes=10)

    assert fill().new == {"evt_1"}
    assert cursor() > clock.now() - HOUR


def test_an_event_that_is_listed_late_is_found_by_the_overlap(acme):
    fill()
    acme.event("customer.updated", objects.customer(), minutes=40)

    assert fill().new == {"evt_1"}


def test_a_cursor_that_is_older_than_stripes_list_says_what_is_lost(acme):
    set_cursor(40 * DAY)
    acme.event("customer.updated", objects.customer(), days=29)

    done = fill()

    assert done.new == {"evt_1"}
    assert dt.timedelta(days=10) < done.window.lost < dt.timedelta(days=11)
    assert cursor() > clock.now() - HOUR


def test_a_cursor_of_the_other_mode_is_none(acme):
    set_cursor(HOUR, is_live=True)
    acme.event("customer.updated", objects.customer(), days=2)

    assert fill().new == {"evt_1"}


def test_stripe_away_in_the_middle_leaves_what_was_kept_and_the_old_cursor(acme, ledger):
    set_cursor(2 * HOUR)
    before = cursor()
    for _ in range(backfill.AT_ONCE + 1):
        acme.event("customer.updated", objects.customer(), minutes=90)
    acme.fake.fail(500, after=1, times=9)

    with pytest.raises(StripeAway):
        fill()

    assert len(kept()) == backfill.AT_ONCE
    assert cursor() == before


def test_what_breaks_off_need_not_read_again_the_slices_that_were_whole(acme):
    set_cursor(20 * HOUR)
    acme.fake.fail(500, after=2, times=9)

    with pytest.raises(StripeAway):
        fill()

    read = 20 * HOUR + backfill.OVERLAP - 2 * backfill.SLICE
    assert read <= clock.now() - cursor() < read + HOUR / 2


def test_what_there_is_no_time_for_is_left_to_the_next_tick(acme):
    set_cursor(20 * HOUR)
    before = cursor()

    done = fill(budget_s=1e-9)

    assert done.rest > 20 * HOUR
    assert cursor() == before


def test_a_time_of_ones_own_does_not_let_the_cursor_jump_over_what_nobody_has_read(acme):
    set_cursor(10 * HOUR)
    before = cursor()

    fill(since=clock.now() - HOUR)

    assert cursor() == before


def test_a_rehearsal_says_what_is_new_and_keeps_nothing(acme):
    acme.event("invoice.paid", acme.buys(hours=2), hours=2)

    done = fill(is_rehearsal=True)

    assert done.new == {"evt_1"}
    assert (kept(), cursor()) == ([], None)


# --- the tick -------------------------------------------------------------------------------------


def test_the_tick_fills_and_says_how_much(acme, ledger):
    acme.event("invoice.paid", acme.buys(hours=2), hours=2)

    answer = stripe_tasks.fill_gaps.run()

    assert answer == {"listed": 1, "new": 1, "left_s": 0.0, "lost_s": 0.0}
    assert ledger.see("acme").credits == 1000


def test_without_an_api_key_the_tick_says_why_it_does_nothing(database):
    assert stripe_tasks.fill_gaps.run() == {"why_not": "no API key is set"}


def test_a_real_worker_fills_gaps_when_beat_asks(acme, ledger, redis_client):
    acme.event("invoice.paid", acme.buys(hours=2), hours=2)

    with running_worker("filling", "-Q", "maintenance", "--pool", "solo"):
        app.send_task("stripe.fill_gaps", queue="maintenance")
        wait_until(lambda: [state for *_, state in kept()] == ["applied"])

    assert ledger.see("acme").credits == 1000
