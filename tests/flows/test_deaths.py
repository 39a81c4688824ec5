"""A Stripe event, or an event of the outbox, that kills its process is set aside after three deaths."""

import io
import json
import os

import pytest
from sqlalchemy import select, update

from billing.bank.intake import files as bank_files
from billing.operations import dead_letters
from billing.stripe import apply as apply_rows
from billing.stripe import events, inbox
from flows import events as outgoing_events
from flows.bank import drop_folder
from flows.bank import import_file as import_flow
from flows.stripe import apply as stripe_apply
from models.bank import StatementFile
from models.operations import OutboxEvent
from models.stripe import StripeEvent
from tests import stripe_objects as objects
from tests.billing.bank.story import line, statement
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


@pytest.fixture
def deadly_file(monkeypatch):
    """The reading of statements crashes over one file."""
    import_file = import_flow.import_file

    def deadly(file_id):
        with transaction() as ctx:
            name = ctx.session.get(StatementFile, file_id).name
        if name == "b.xml":
            os.kill(os.getpid(), 9)
        return import_file(file_id)

    monkeypatch.setattr(import_flow, "import_file", deadly)


def settled(folder, *names):
    for name in names:
        (folder / name).write_bytes(statement(line("89.00", text=name)))
        os.utime(folder / name, (0, 0))


def letters():
    with transaction() as ctx:
        return [(each.task, each.error) for each in dead_letters.list_open(ctx.session, limit=99)]


def test_a_file_of_the_drop_folder_that_kills_its_process_is_moved_aside(
    database, redis_client, tmp_path, deadly_file
):
    settled(tmp_path, "a.xml", "b.xml", "c.xml")

    assert until_done(lambda: drop_folder.sweep(tmp_path), after_death=lambda: None) == 3

    assert sorted(path.name for path in tmp_path.glob("imported/*")) == ["a.xml", "c.xml"]
    assert [path.name for path in tmp_path.glob("refused/*")] == ["b.xml"]
    assert letters() == [("bank.sweep_files", "ProcessKilled")]
    assert redis_client.hlen(queues.DEATHS) == 0


def test_a_stored_file_that_kills_its_process_is_reported_and_the_others_are_imported(
    database, redis_client, deadly_file
):
    with transaction() as ctx:
        for name in ("a.xml", "b.xml", "c.xml"):
            content = io.BytesIO(statement(line("89.00", text=name)))
            bank_files.receive(ctx, content, name=name)

    assert until_done(drop_folder.import_received, after_death=lambda: None) == 3

    assert letters() == [("bank.import_statement", "ProcessKilled")]
    with transaction() as ctx:
        states = ctx.session.scalars(select(StatementFile.state).order_by(StatementFile.id)).all()
    assert states == ["imported", "received", "imported"]


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
