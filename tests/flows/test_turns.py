"""Long work stops in time and asks for the rest again: no run ends at a task's time limit."""

import datetime as dt

import pytest
from sqlalchemy import func, select, text

from billing import closing
from billing.context import Policy
from billing.events import deliveries
from billing.stripe import inbox_upkeep
from flows import sweeps
from models.operations import OutboxEvent
from models.stripe import StripeEvent
from tasks import events, stripe
from tests.billing.lifecycle.conftest import Life
from tests.billing.lifecycle.test_sweeps import plan_of
from tests.story import NOON
from worker import clock
from worker.database import engine, transaction

DAY = dt.timedelta(days=1)
_OLD_EVENTS = """
INSERT INTO billing.outbox (type, account_id, payload, happened_at, due_at, state, delivered_at)
SELECT 'credits.low', n, '{}', :old, :old, 'delivered', :old FROM generate_series(1, 5) AS n
"""
_STRIPE_EVENTS = """
INSERT INTO billing.stripe_events (event_id, digest, source, payload, state, received_at,
                                   recorded_at, finished_at)
SELECT 'evt_' || n, sha256(n::text::bytea), 'webhook', CASE WHEN n > :erased THEN '{}'::jsonb END,
       'applied', :old, :old, :old FROM generate_series(1, :count) AS n
"""


@pytest.fixture
def life(database):
    """Accounts to tell the life of."""
    return Life(now=NOON)


def run(statement, **values):
    with engine().begin() as connection:
        connection.execute(text(statement), values)


def test_removal_goes_on_until_nothing_is_left():
    batches = [3, 3, 1, 0]

    assert sweeps.remove_in_turns(pytest.fail, lambda: batches.pop(0)) == 7
    assert batches == []


def test_removal_that_has_no_time_left_asks_for_the_rest_again():
    asked = []

    removed = sweeps.remove_in_turns(lambda **how: asked.append(how), lambda: 3, budget_s=0.0)

    assert (removed, asked) == (3, [{"expires": sweeps.TURN_WITHIN_S}])


def test_all_old_events_are_removed_not_one_batch_an_hour(database, monkeypatch):
    monkeypatch.setattr(deliveries, "REMOVED_AT_ONCE", 2)
    run(_OLD_EVENTS, old=clock.now() - deliveries.KEPT - DAY)

    assert events.remove_old() == {"removed": 5}

    with transaction() as ctx:
        assert ctx.session.execute(select(func.count(OutboxEvent.id))).scalar_one() == 0


def test_all_old_payloads_are_pruned_in_batches(database, monkeypatch):
    monkeypatch.setattr(stripe, "PRUNED_AT_ONCE", 2)
    run(_STRIPE_EVENTS, old=NOON - 400 * DAY, erased=0, count=5)

    assert stripe.prune() == {"pruned": 5}

    with transaction() as ctx:
        kept = select(func.count(StripeEvent.id)).where(StripeEvent.payload.is_not(None))
        assert ctx.session.execute(kept).scalar_one() == 0


def test_pruning_does_not_read_what_was_pruned_before(database):
    run(_STRIPE_EVENTS, old=NOON - 400 * DAY, erased=9_990, count=10_000)
    run("ANALYZE billing.stripe_events")

    with transaction() as ctx:
        plan = plan_of(
            ctx,
            lambda ctx: inbox_upkeep.prune(ctx.session, before=NOON, limit=5),
        )

    assert "stripe_events_erasable_idx" in plan


def test_deleted_accounts_that_are_locked_delay_the_closing_of_no_other(life):
    life.policy = Policy(closes_deleted=True)
    for number in range(4):
        life.open_account(
            f"gone-{number}",
            is_deleted=True,
            deleted_at=NOON - 30 * DAY,
            restore_until=NOON - (9 - number) * DAY,
        )

    with engine().begin() as app:
        app.execute(text("SELECT FROM igny8_tenants WHERE slug < 'gone-3' FOR UPDATE"))
        closed = life.act(closing.sweep, limit=2)

    assert [result.account_id for result in closed] == [life.ids["gone-3"]]
