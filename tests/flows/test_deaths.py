"""A Stripe event, or an event of the outbox, that kills its process is set aside after three deaths."""

import json
import os

import pytest
from sqlalchemy import select, update

from billing.stripe import apply as apply_rows
from billing.stripe import events, inbox
from flows import events as outgoing_events
from flows.stripe import apply as stripe_apply
from models.operations import OutboxEvent
from models.stripe import StripeEvent
from tests import stripe_objects as objects
from tests.billing.lifecycle.test_event_delivery import leave
from tests.worker.deaths import until_done
from worker import clock
from worker.database import transaction
from worker.transport import queues

pytestmark = pytest.mark.filterwarnings("ignore:.*fork")


def test_a_stripe_event_that_kills_its_process_fails_and_the_others_are_applied(
    ledger, redis_client, monkeypatch
):
    """Each sweep took it together with the others, and died of it before any was applied."""
    with transaction() as ctx:
        numbers = [
            inbox.store(
                ctx,
                events.parse(json.dumps(objects.event(f"evt_{n}")).encode()),
                source="webhook",
                received_at=clock.now(),
            )
            for n in range(6)
        ]
    state_of = apply_rows._state_of

    def deadly(ctx, row, **options):
        if row.id == numbers[3]:
            os.kill(os.getpid(), 9)
        return state_of(ctx, row, **options)

    monkeypatch.setattr(apply_rows, "_state_of", deadly)

    assert until_done(lambda: stripe_apply.apply_all(numbers), after_death=lambda: None) == 3

    with transaction() as ctx:
        rows = ctx.session.scalars(select(StripeEvent).order_by(StripeEvent.id)).all()
    assert [row.reason for row in rows].count("ProcessKilled") == 1
    assert (rows[3].state, rows[3].reason, rows[3].due_at) == ("failed", "ProcessKilled", None)
    assert all(row.attempts for row in rows), "the others had their turn"
    assert redis_client.hlen(queues.DEATHS) == 0


class Deadly:
    """A channel whose library crashes over one event."""

    name = "deadly"

    def __init__(self, deadly_id):
        self._deadly_id = deadly_id

    def send(self, event, *, now):
        if event.id == self._deadly_id:
            os.kill(os.getpid(), 9)


def test_an_event_of_the_outbox_that_kills_its_process_is_dead_and_the_others_are_delivered(
    database, redis_client
):
    leave(1, 2, 2, 3, 3, 1)

    def leases_end():
        with transaction() as ctx:
            ctx.session.execute(update(OutboxEvent).values(due_at=clock.now()))

    def deliver_all():
        outgoing_events.deliver_due([Deadly(3)])

    assert until_done(deliver_all, after_death=leases_end) == 3

    deliver_all()
    with transaction() as ctx:
        rows = ctx.session.scalars(select(OutboxEvent).order_by(OutboxEvent.id)).all()
    assert [row.state for row in rows] == ["delivered"] * 2 + ["dead"] + ["delivered"] * 3
    assert rows[2].error.startswith("ProcessKilled")
    assert redis_client.hlen(queues.DEATHS) == 0
