"""Money that lands at any statement of a sweep counts: no account is out that has paid."""

import threading
from contextlib import contextmanager

import pytest
from sqlalchemy import event

from billing import dunning, dunning_sweep, trial_sweeps
from tests.conftest import empty_database
from tests.life.conftest import Life
from worker.database import engine, transaction

#: Long enough for a transaction that nothing blocks; one that waits for a lock waits on.
LANDS_WITHIN_S = 0.15
ENDS_WITHIN_S = 30


def a_trial_is_over():
    life = Life()
    life.try_out("acme")
    life.seed("acme")
    life.try_out("other")
    life.pass_time(days=17)
    return life, trial_sweeps.expire_due


def a_payment_is_missing():
    life = Life()
    for slug in ("acme", "other"):
        life.open_account(slug, status="active")
        life.act(dunning.open_case, slug, cause="card_failed")
    life.pass_time(days=14)
    return life, dunning_sweep.step_due


def a_transfer_never_came():
    life = Life()
    for slug in ("acme", "other"):
        life.try_out(slug)
        life.announce(slug)
    life.pass_time(days=28)
    return life, dunning_sweep.step_due


@contextmanager
def stopped_at(number, meanwhile):
    """Before the sweep's statement of this number, what lands meanwhile is started, in a thread."""
    sweeper, seen, landing = threading.get_ident(), [], []

    def look(*_):
        if threading.get_ident() != sweeper:
            return
        seen.append(1)
        if len(seen) == number:
            thread = threading.Thread(target=meanwhile)
            landing.append(thread)
            thread.start()
            thread.join(LANDS_WITHIN_S)

    event.listen(engine(), "before_cursor_execute", look)
    try:
        yield seen
    finally:
        event.remove(engine(), "before_cursor_execute", look)
        for thread in landing:
            thread.join(ENDS_WITHIN_S)
            assert not thread.is_alive(), "the payment hangs"


def statements(story):
    empty_database()
    life, sweep = story()
    with stopped_at(0, None) as seen:
        life.act(sweep)
    return len(seen)


STORIES = (a_trial_is_over, a_payment_is_missing, a_transfer_never_came)


@pytest.mark.timeout(300)
@pytest.mark.parametrize("story", STORIES, ids=lambda story: story.__name__)
def test_an_account_that_pays_at_any_statement_of_a_sweep_ends_up_active(database, story):
    count = statements(story)
    assert count > 5
    for number in range(1, count + 1):
        empty_database()
        life, sweep = story()

        with stopped_at(number, lambda life=life: life.pay("acme")):
            life.act(sweep)
        life.age(sweep)

        at = f"at statement {number} of {count}"
        assert (life.status("acme"), life.reasons("acme")) == ("active", []), at
        assert life.status("other") == "suspended", at
        assert life.audit().agrees, at


@pytest.mark.parametrize("story", STORIES, ids=lambda story: story.__name__)
def test_two_sweeps_at_once_do_what_one_does(database, story):
    count = statements(story)
    once = len(Life().events())
    for number in range(1, count + 1, 3):
        empty_database()
        life, sweep = story()

        with stopped_at(number, lambda life=life, sweep=sweep: life.act(sweep)):
            life.act(sweep)
        life.age(sweep)

        assert len(life.events()) == once, f"at statement {number} of {count}"


def test_a_sweep_waits_for_no_account(life):
    life, sweep = a_trial_is_over()
    with transaction() as app:
        from billing import accounts

        accounts.lock(app, [life.ids["acme"]])

        swept = life.act(sweep)

    assert [one.account_id for one in swept] == [life.ids["other"]]
