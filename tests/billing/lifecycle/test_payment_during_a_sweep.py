"""A payment that comes at any statement of a sweep counts: no account that paid is suspended."""

import datetime as dt
import threading
from contextlib import contextmanager

import psycopg2.extensions
import pytest
from sqlalchemy import event, insert, update

from billing.bank.invoicing import issue
from billing.errors import TrialEndRefused
from billing.host import accounts
from billing.lifecycle import status
from billing.lifecycle.dunning import cases as dunning_cases
from billing.lifecycle.dunning import sweep as dunning_sweep
from billing.lifecycle.trials import sweeps as trial_sweeps
from billing.postgres import sql
from billing_client.bank import AnnounceTransfer
from models.host import Plan, Subscription
from tests.billing.lifecycle.conftest import Life
from tests.conftest import empty_database
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
        life.act(dunning_cases.open_case, slug, cause="card_failed")
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
    """Start `meanwhile` in a thread before the sweep's statement of this number."""
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

    class Watched(psycopg2.extensions.cursor):
        """The driver's own cursor: its statements do not pass SQLAlchemy's event."""

        def execute(self, *statement):
            look()
            super().execute(*statement)

    cursor = sql._cursor
    event.listen(engine(), "before_cursor_execute", look)
    sql._cursor = lambda connection: connection.connection.cursor(cursor_factory=Watched)
    try:
        yield seen
    finally:
        sql._cursor = cursor
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


def announces(life):
    """A transfer is announced, as the main app asks for it."""
    with transaction() as ctx:
        ctx.session.execute(update(Plan).values(price=89))
        message = AnnounceTransfer(life.ids["acme"], life.plan(), "announce:acme", 1)
        issue.announce(ctx.at(life.now), message, currency="EUR")


def subscribes(life):
    """A subscription begins at Stripe, as its events say."""

    def begin(ctx, account_id):
        accounts.lock(ctx.session, [account_id])
        values = {"account_id": account_id, "status": "active", "current_period_start": ctx.now}
        values |= {"current_period_end": ctx.now + dt.timedelta(days=30)}
        ctx.session.execute(insert(Subscription).values(**values))
        status.payment_received(ctx.by("stripe"), [account_id])

    life.act(begin, "acme")


def at_any_statement(happens):
    """The final status of acme, by the statement of the sweep at which something happens."""
    count = statements(a_trial_is_over)
    for number in range(1, count + 1):
        empty_database()
        life, sweep = a_trial_is_over()
        with stopped_at(number, lambda life=life: happens(life)):
            life.act(sweep)
        life.age(sweep)
        assert life.audit().agrees, f"at statement {number} of {count}"
        yield life.status("acme"), *life.reasons("acme")


@pytest.mark.timeout(300)
def test_an_account_that_subscribes_at_any_statement_of_a_sweep_ends_up_active(database):
    assert set(at_any_statement(subscribes)) == {("active",)}


@pytest.mark.timeout(300)
def test_a_transfer_announced_before_the_sweep_holds_the_account_keeps_it_in(database):
    """Announced later, it comes after the suspension: then only the payment reactivates the account."""
    ends = list(at_any_statement(announces))

    in_time = ends.count(("pending_payment",))
    assert in_time > 3
    assert ends[in_time:] == [("suspended", "trial_over")] * (len(ends) - in_time)


@pytest.mark.timeout(300)
def test_an_extension_at_any_statement_of_a_sweep_holds_or_is_refused(database):
    count = statements(a_trial_is_over)
    ends = set()
    for number in range(1, count + 1):
        empty_database()
        life, sweep = a_trial_is_over()
        refused = []

        def extend(life=life, refused=refused):
            try:
                life.extend("acme", days=30)
            except TrialEndRefused as error:
                refused.append(error)

        with stopped_at(number, extend):
            life.act(sweep)

        is_open = life.trial("acme").ended_at is None
        ends.add((life.status("acme"), is_open, bool(refused)))
        assert life.audit().agrees, f"at statement {number} of {count}"
    assert ends == {("trial", True, False), ("suspended", False, True)}


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
        from billing.host import accounts

        accounts.lock(app.session, [life.ids["acme"]])

        results = life.act(sweep)

    assert [result.account_id for result in results] == [life.ids["other"]]
