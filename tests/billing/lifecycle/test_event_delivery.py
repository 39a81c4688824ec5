"""Events reach the main app at least once, each account's in order, on every configured channel."""

import datetime as dt
import json
import os

import pytest
from celery import Celery
from sqlalchemy import insert, select, update

from billing.events import deliveries, outbox
from billing_client.event_data import StatusChanged
from billing_client.events import TASK, Event
from flows import events
from gateways.event_queue import EventQueue
from gateways.webhooks import Webhooks
from models.host import Account, User
from models.operations import OutboxEvent
from tests.billing.lifecycle.receiver import OLD_SECRET, SECRET, Receiver
from worker import clock
from worker.database import transaction

QUEUE = "main_app_events"
STEP = {"status_from": "trial", "status_to": "active", "reason": "paid", "actor": "bank"}


def leave(*accounts, happened_at=None):
    """One event for each account, in this order."""
    with transaction() as ctx:
        for account_id in accounts:
            outbox.leave(
                ctx.at(happened_at or clock.now()),
                "account.activated",
                account_id=account_id,
                payload=STEP,
            )


def rows():
    with transaction() as ctx:
        return ctx.session.scalars(select(OutboxEvent).order_by(OutboxEvent.id)).all()


def states():
    return [row.state for row in rows()]


def let_time_pass():
    """Bring every pause to its end."""
    with transaction() as ctx:
        ctx.session.execute(update(OutboxEvent).values(due_at=clock.now()))


@pytest.fixture
def receiver(database):
    with Receiver().listening() as receiver:
        yield receiver


@pytest.fixture
def webhooks(receiver):
    return Webhooks(receiver.url, [SECRET])


@pytest.fixture
def queue(redis_client, database):
    return EventQueue(os.environ["REDIS_URL"], QUEUE)


def of_queue(redis_client):
    """What a stock worker of the main app would be given, oldest first."""
    import base64

    found = [json.loads(raw) for raw in reversed(redis_client.lrange(QUEUE, 0, -1))]
    assert all(message["headers"]["task"] == TASK for message in found)
    bodies = [json.loads(base64.b64decode(message["body"])) for message in found]
    return [kwargs["event"] for _, kwargs, _ in bodies]


def test_an_event_arrives_signed_and_typed(receiver, webhooks):
    at = dt.datetime(2026, 3, 1, 12, tzinfo=dt.UTC)
    leave(7, happened_at=at)

    assert events.deliver_due([webhooks]) == {"delivered": 1}

    event = Event.from_json(receiver.events[0])
    assert (event.type, event.account_id, event.happened_at) == ("account.activated", 7, at)
    assert event.data == StatusChanged(**STEP)
    assert receiver.ids == [f"evt_{event.id}"]
    assert states() == ["delivered"]


def test_a_secret_is_replaced_without_a_gap(database):
    with Receiver(OLD_SECRET).listening() as receiver:
        leave(7)

        events.deliver_due([Webhooks(receiver.url, [SECRET, OLD_SECRET])])

    assert len(receiver.events) == 1


def test_the_queue_gets_a_plain_celery_message(queue, redis_client):
    leave(7, 8)

    events.deliver_due([queue])

    assert sorted(event["account_id"] for event in of_queue(redis_client)) == [7, 8]
    assert states() == ["delivered", "delivered"]


def test_a_stock_celery_app_reads_the_queue(queue, redis_client):
    leave(7)
    events.deliver_due([queue])
    app = Celery(broker=os.environ["REDIS_URL"], set_as_current=False)

    with app.connection_for_read() as connection:
        message = connection.SimpleQueue(QUEUE).get(timeout=5)
        message.ack()

    assert message.headers["task"] == TASK
    assert Event.from_json(message.payload[1]["event"]).account_id == 7


def test_without_a_way_events_wait(database):
    leave(7)

    assert events.deliver_due([]) == {}
    assert states() == ["waiting"]


@pytest.mark.parametrize("status", [400, 404, 410, 429, 500, 503, 302])
def test_what_is_not_taken_is_tried_again_after_a_pause(receiver, webhooks, status):
    receiver.answers = [status]
    leave(7)

    assert events.deliver_due([webhooks]) == {"failed": 1}
    assert events.deliver_due([webhooks]) == {}
    let_time_pass()
    assert events.deliver_due([webhooks]) == {"delivered": 1}

    (row,) = rows()
    assert (row.attempts, row.error) == (2, None)


def test_later_events_of_the_account_wait_for_the_one_that_failed_and_others_do_not(
    receiver, webhooks
):
    receiver.answers = [500]
    leave(7, 8, 7, 8)

    first = events.deliver_due([webhooks])
    let_time_pass()
    events.deliver_due([webhooks])

    assert first == {"failed": 1, "left": 1, "delivered": 2}
    accounts = [event["account_id"] for event in receiver.events]
    assert accounts[0] == accounts[1] != accounts[2] == accounts[3], "the other account went first"
    assert [event["id"] for event in receiver.events if event["account_id"] == 7] == [1, 3]


def test_an_event_does_not_overtake_one_that_another_process_has_claimed(receiver, webhooks):
    leave(7, 7)
    with transaction() as ctx:
        deliveries.claim(ctx, limit=1)

    assert events.deliver_due([webhooks]) == {}


def test_what_a_dead_process_had_claimed_is_due_again(receiver, webhooks):
    leave(7)
    with transaction() as ctx:
        deliveries.claim(ctx.at(clock.now() - deliveries.LEASE))

    assert events.deliver_due([webhooks]) == {"delivered": 1}


def test_two_claims_at_once_share_nothing(database):
    leave(*range(1, 11))

    with transaction() as one, transaction() as other:
        first = deliveries.claim(one, limit=5)
        second = deliveries.claim(other, limit=5)

    assert (len(first), second) == (5, [])


def test_an_event_that_one_way_has_taken_goes_to_the_other_alone(
    receiver, webhooks, queue, redis_client
):
    receiver.answers = [500]
    leave(7)

    events.deliver_due([queue, webhooks])
    let_time_pass()
    events.deliver_due([queue, webhooks])

    assert (len(of_queue(redis_client)), len(receiver.events)) == (1, 1)


def test_a_receiver_that_is_away_is_left_alone_for_the_rest_of_the_run(database):
    leave(1, 2, 3)

    counted = events.deliver_due([Webhooks("http://127.0.0.1:1/", [SECRET])])

    assert counted == {"failed": 1, "left": 2}
    assert sorted(row.attempts for row in rows()) == [0, 0, 1]


def test_a_broker_that_is_away_is_not_an_error_of_the_task(database):
    leave(1)

    assert events.deliver_due([EventQueue("redis://127.0.0.1:1/0", QUEUE)]) == {"failed": 1}


def test_an_event_dies_when_no_try_is_left_and_lets_later_ones_pass(receiver, webhooks):
    leave(7, 7)
    for _ in range(len(deliveries.PAUSES) + 1):
        receiver.answers = [500]
        events.deliver_due([webhooks])
        let_time_pass()

    events.deliver_due([webhooks])

    assert states() == ["dead", "delivered"]


def test_a_dead_event_is_replayed_with_all_its_tries(receiver, webhooks):
    leave(7)
    with transaction() as ctx:
        ctx.session.execute(update(OutboxEvent).values(state="dead", attempts=9))

    with transaction() as ctx:
        deliveries.replay(ctx.by("operator:jane"), 1)
    events.deliver_due([webhooks])

    assert [(row.state, row.attempts) for row in rows()] == [("delivered", 1)]


def test_a_dropped_event_is_not_sent(receiver, webhooks):
    leave(7)
    with transaction() as ctx:
        deliveries.drop(ctx.by("operator:jane"), 1)

    assert events.deliver_due([webhooks]) == {}


def test_a_late_record_does_not_undo_a_drop(database):
    leave(7)
    with transaction() as ctx:
        claimed = deliveries.claim(ctx)
        deliveries.drop(ctx.by("operator:jane"), 1)

    with transaction() as ctx:
        claimed[0].is_tried = True
        deliveries.record(ctx, claimed)

    assert states() == ["dropped"]


def test_delivered_events_are_removed_when_they_are_old(database):
    leave(7, 8)
    old = clock.now() - deliveries.KEPT - dt.timedelta(days=1)
    with transaction() as ctx:
        ctx.session.execute(
            update(OutboxEvent)
            .where(OutboxEvent.account_id == 7)
            .values(state="delivered", delivered_at=old)
        )

    with transaction() as ctx:
        assert deliveries.remove_old(ctx) == 1

    assert [row.account_id for row in rows()] == [8]


# --- for whom ---------------------------------------------------------------------------------------


def user(role, email, account_id):
    with transaction() as ctx:
        return ctx.session.execute(
            insert(User).values(role=role, email=email, account_id=account_id).returning(User.id)
        ).scalar_one()


def set_account(account_id, **fields):
    with transaction() as ctx:
        ctx.session.execute(update(Account).where(Account.id == account_id).values(**fields))


@pytest.mark.parametrize(
    ("who", "source"),
    [
        pytest.param({"billing_email", "owner", "admin"}, "billing_email", id="the billing e-mail"),
        pytest.param({"owner", "admin"}, "owner", id="else the owner"),
        pytest.param({"admin", "viewer"}, "admin", id="else an admin"),
        pytest.param({"viewer", "editor", "system_bot"}, None, id="else nobody"),
    ],
)
def test_an_event_says_for_whom_it_is(ledger, receiver, webhooks, who, source):
    account_id = ledger.open_account("acme", billing_email="")
    for role in sorted(who - {"billing_email"}):
        user_id = user(role, f"{role}@example.com", account_id)
        if role == "owner":
            set_account(account_id, owner_id=user_id)
    if "billing_email" in who:
        set_account(account_id, billing_email="billing_email@example.com")
    leave(account_id)

    events.deliver_due([webhooks])

    expected = source and {"email": f"{source}@example.com", "source": source}
    assert receiver.events[0]["recipient"] == expected
    assert rows()[0].recipient == (source or "no recipient")


def test_an_owner_of_no_address_is_passed_over(ledger, receiver, webhooks):
    account_id = ledger.open_account("acme")
    set_account(account_id, owner_id=user("owner", "", account_id))
    user("admin", "b@example.com", account_id)
    leave(account_id)

    events.deliver_due([webhooks])

    assert receiver.events[0]["recipient"]["source"] == "admin"
