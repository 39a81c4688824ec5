"""The debit reader sees each set through: answers, refusals and dead letters in one commit, then the acknowledgement."""

import contextlib
import json
import threading

import pytest
import sqlalchemy as sa

from billing.ledger import idempotency
from billing.operations import dead_letters
from billing_client import BillingClient, Debit, new_key
from tests.worker.conftest import wait_until
from tests.worker.rawmessages import message, raw
from worker.app import app
from worker.database import engine, transaction
from worker.debits import flower_events
from worker.debits.reader import DebitReader
from worker.settings import settings
from worker.transport import queues

QUEUE = "debits"


@pytest.fixture(scope="module")
def loaded():
    app.loader.import_default_modules()
    return app


@pytest.fixture(autouse=True)
def sets_of_500(monkeypatch):
    """Small enough for a test to fill several."""
    monkeypatch.setenv("BILLING_DEBIT_BATCH_SIZE", "500")
    settings.cache_clear()
    yield
    monkeypatch.undo()
    settings.cache_clear()


@pytest.fixture
def reader(loaded, redis_client):
    """A reader without its thread: a test tells it when to read."""
    return DebitReader(loaded, "debits@test")


@pytest.fixture
def acme(ledger):
    ledger.open_account("acme", credits=100)
    return ledger


def debit(key, operation="image_prompt_extraction", **fields):
    return raw(message(operation=operation, key=key, **{"account_id": 1} | fields))


def queue(redis_client, *raws):
    redis_client.lpush(QUEUE, *raws)


def errors():
    with transaction() as ctx:
        return {d.error: d for d in dead_letters.list_open(ctx.session, limit=99)}


def nothing_left(redis_client):
    return queues.depth(redis_client, QUEUE) == queues.in_hand(redis_client) == 0


def test_one_set_of_all_kinds_ends_in_one_commit(reader, acme, redis_client):
    queue(
        redis_client,
        debit("k1"),
        debit("k1"),
        debit("k2", "image_generation", units=50),
        debit("k3", "mind_reading"),
        debit("k4", units=0),
        b"hello",
        debit("k1", "clustering"),
        debit("k5"),
    )

    assert reader.read_batch() == 7  # what is no message never was in hand

    assert (
        acme.history("acme")
        == """
        opening balance               +100   100
        image_prompt_extraction         -2    98
        image_prompt_extraction         -2    96
    """
    )
    assert [refusal.key for refusal in acme.see("acme").refusals] == ["k2"]
    assert set(errors()) == {"UnknownOperation", "InvalidField", "KeyReused"}
    assert redis_client.llen(queues.QUARANTINE) == 1
    assert nothing_left(redis_client)


def test_an_empty_queue_is_a_set_of_none(reader, database):
    assert reader.read_batch() == 0


def test_a_set_has_no_more_messages_than_it_may(reader, acme, redis_client, monkeypatch):
    queue(redis_client, *[debit(new_key()) for _ in range(501)])

    assert [reader.read_batch(), reader.read_batch()] == [500, 1]


def test_a_few_debits_do_not_wait_behind_thousands_of_another_account(reader, acme, redis_client):
    other = acme.open_account("other", credits=100)
    queue(redis_client, *[debit(new_key()) for _ in range(2000)])
    queue(redis_client, *[debit(new_key(), account_id=other) for _ in range(5)])

    assert reader.read_batch() == 500

    assert acme.see("other").credits == 90
    assert acme.see("acme").credits == 0, "and its own are taken meanwhile"


@pytest.fixture
def patient(monkeypatch):
    """Readers that wait for a lock until the test lets go of it."""
    monkeypatch.setattr("worker.debits.reader.LOCK_WAIT_MS", 60_000)


@contextlib.contextmanager
def app_holding_the_rows(*account_ids):
    """The main app in a long transaction."""
    with engine().connect() as app_at_work:
        lock = "SELECT 1 FROM igny8_tenants WHERE id = ANY(:ids) FOR UPDATE"
        app_at_work.execute(sa.text(lock), {"ids": list(account_ids)})
        yield app_at_work


def test_while_an_account_is_locked_nothing_is_acknowledged_and_then_all_is_taken(
    reader, acme, redis_client, patient
):
    queue(redis_client, debit("k1"), debit("k2"))
    reading = threading.Thread(target=reader.read_batch)
    with app_holding_the_rows(1):
        reading.start()
        wait_until(waiting_for_a_lock)

        assert queues.in_hand(redis_client) == 2

    reading.join()
    assert acme.see("acme").credits == 96
    assert nothing_left(redis_client)


def test_an_account_that_is_locked_for_long_holds_up_no_other(reader, acme, redis_client):
    """Its batch waited for the lock again and again, and was halved nine times, waiting each time."""
    other = acme.open_account("other", credits=100)
    queue(redis_client, debit("k1"), debit("k2", account_id=other), debit("k3"))
    with app_holding_the_rows(1):
        reader.read_batch()

        assert acme.see("other").credits == 98
        assert queues.depth(redis_client, QUEUE) == 2, "they wait, and are in no reader's hand"
    wait_until(reader.read_batch)
    assert acme.see("acme").credits == 96
    assert nothing_left(redis_client)


@pytest.mark.parametrize("count", [pytest.param(1, id="one reader"), pytest.param(2, id="two")])
def test_a_hundred_locked_accounts_hold_up_no_other_by_either_door(
    loaded, acme, redis_client, count
):
    """Ten debits of one locked account made the debits of all others wait for 48 seconds."""
    locked = [acme.open_account(f"locked-{n}", credits=100) for n in range(100)]
    free = [acme.open_account(f"free-{n}", credits=100) for n in range(5)]
    readers = [DebitReader(loaded, f"debits{n}@test") for n in range(count)]
    with app_holding_the_rows(*locked), engine().begin() as app:
        for n, account in enumerate(locked):
            queue(redis_client, debit(f"q{n}", account_id=account))
            in_inbox(app, f"i{n}", account)
        app.commit()
        for reader in readers:
            reader.start()
        wait_until(lambda: not any_new(redis_client))  # a batch of locked accounts only

        for n, account in enumerate(free * 4):
            queue(redis_client, debit(f"free q{n}", account_id=account))
            with engine().begin() as also_app:
                in_inbox(also_app, f"free i{n}", account)

        spent = 100 - 2 * (4 + 4)
        wait_until(lambda: all(acme.see(f"free-{n}").credits == spent for n in range(5)))
        assert queues.depth(redis_client, QUEUE) + queues.in_hand(redis_client) == 100

    wait_until(lambda: all(acme.see(f"locked-{n}").credits == 96 for n in range(100)))
    for reader in readers:
        reader.stop()
    assert nothing_left(redis_client)


def any_new(redis_client):
    return redis_client.llen(QUEUE)


def in_inbox(connection, key, account_id):
    arguments = {"account_id": account_id, "operation": "image_prompt_extraction", "key": key}
    connection.execute(
        sa.text("INSERT INTO billing.inbox (account_id, task, arguments) VALUES (:a, :t, :j)"),
        {"a": account_id, "t": "credits.debit", "j": json.dumps(arguments)},
    )


def test_a_key_that_the_app_has_locked_holds_up_no_other(reader, acme, redis_client):
    """Its batch waited for the key five times, and so did each half of it."""
    keys = "INSERT INTO billing.keys (key, content) VALUES (:k, 1)"
    queue(redis_client, debit("k1"), debit("k2"), debit("k3"))
    with engine().connect() as app_at_work:
        app_at_work.execute(sa.text(keys), {"k": idempotency.as_uuid("k2")})

        assert reader.read_batch() == 2

        assert acme.see("acme").credits == 96
    wait_until(reader.read_batch)
    assert acme.see("acme").credits == 94


def waiting_for_a_lock():
    """The server's processes that wait for a lock now: each call opens a new transaction."""
    query = "SELECT pid FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
    with engine().connect() as connection:
        return list(connection.scalars(sa.text(query)))


def test_a_connection_that_is_cut_in_the_middle_of_a_set_is_no_loss(
    reader, acme, redis_client, patient
):
    queue(redis_client, debit("k1"), debit("k2"))
    reading = threading.Thread(target=reader.read_batch)
    with engine().connect() as other:
        other.execute(sa.text("SELECT 1 FROM igny8_tenants WHERE id = 1 FOR UPDATE"))
        reading.start()
        for pid in wait_until(waiting_for_a_lock):
            other.execute(sa.text(f"SELECT pg_terminate_backend({pid})"))

    reading.join()
    assert acme.see("acme").credits == 96
    assert nothing_left(redis_client)


@pytest.fixture
def allergic():
    """The main app's own trigger on the ledger, which refuses an operation."""
    with engine().begin() as connection:
        connection.execute(
            sa.text(
                "CREATE FUNCTION public.refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
                " IF NEW.description = 'clustering' THEN RAISE EXCEPTION 'no clustering here';"
                " END IF; RETURN NEW; END $$"
            )
        )
        connection.execute(
            sa.text(
                "CREATE TRIGGER refuse BEFORE INSERT ON public.igny8_credit_transactions"
                " FOR EACH ROW EXECUTE FUNCTION public.refuse()"
            )
        )
    yield
    with engine().begin() as connection:
        connection.execute(sa.text("DROP FUNCTION public.refuse() CASCADE"))


def test_a_message_that_breaks_the_set_is_found_by_halving_and_the_others_are_taken(
    reader, acme, allergic, redis_client
):
    good = [debit(f"k{n}") for n in range(10)]
    queue(redis_client, *good[:7], debit("bad", "clustering"), *good[7:], b"hello")

    reader.read_batch()

    assert acme.see("acme").credits == 100 - 10 * 2
    (letter,) = errors().values()
    assert letter.arguments["key"] == "bad"
    assert "no clustering here" in letter.reason
    assert nothing_left(redis_client)


def test_a_message_that_died_is_taken_once_its_cause_is_gone(reader, acme, allergic, redis_client):
    queue(redis_client, debit("k", "clustering"))
    reader.read_batch()
    with engine().begin() as connection:
        connection.execute(sa.text("DROP TRIGGER refuse ON public.igny8_credit_transactions"))

    queue(redis_client, debit("k", "clustering"))
    reader.read_batch()

    assert acme.see("acme").credits == 90


class ForgetfulReader(DebitReader):
    """Redis was away when it wanted to acknowledge."""

    def _acknowledge(self, items):
        redis = queues.connection()
        redis.execute_command("ACL SETUSER", "default", "-zrem", "-hdel")
        try:
            super()._acknowledge(items)
        finally:
            redis.execute_command("ACL SETUSER", "default", "+zrem", "+hdel")


def test_what_is_committed_and_not_acknowledged_comes_back_and_has_no_second_effect(
    reader, loaded, acme, redis_client
):
    queue(redis_client, debit("k1"), debit("k2", "mind_reading"))

    ForgetfulReader(loaded, "debits@test").read_batch()
    assert queues.in_hand(redis_client) == 2
    for tag in redis_client.hkeys(queues.UNACKED):
        redis_client.zadd(queues.UNACKED_INDEX, {tag: 0})
    reader._restore_expired()
    assert reader.read_batch() == 2

    assert acme.see("acme").credits == 98
    assert errors()["UnknownOperation"].attempts == 2
    assert nothing_left(redis_client)


def test_what_a_dead_general_worker_held_goes_back_to_its_own_queue(reader, redis_client):
    redis_client.lpush("credits", raw(message("credits.seed_account", "credits", account_id=1)))
    ((tag, _),) = queues.take(redis_client, "credits", 1)
    redis_client.zadd(queues.UNACKED_INDEX, {tag: 0})

    reader._restore_expired()

    assert queues.depth(redis_client, "credits") == 1


def test_two_readers_at_once_share_the_queue(reader, loaded, acme, redis_client):
    acme.open_account("beta", credits=100)
    keys = [new_key() for _ in range(40)]
    raws = [
        raw(message(account_id=1 + n % 2, operation="image_prompt_extraction", key=key))
        for n, key in enumerate(keys + keys)
    ]
    queue(redis_client, *raws)
    readers = [DebitReader(loaded, f"debits{n}@test") for n in range(2)]

    for each in readers:
        each.start()
    wait_until(lambda: nothing_left(redis_client))
    for each in readers:
        each.stop()

    assert (acme.see("acme").credits, acme.see("beta").credits) == (60, 60)


class Onlooker:
    """Receives events as Flower does."""

    def __init__(self, connection):
        self.seen = []
        self.connection = connection
        self.receiver = app.events.Receiver(connection, handlers={"*": self.seen.append})

    def look(self, seconds=0.05):
        with contextlib.suppress(TimeoutError):
            self.connection.drain_events(timeout=seconds)

    def types(self, count):
        """The types of the events of tasks, once there are so many."""
        wait_until(lambda: self.look() or len(self._of_tasks()) >= count, lambda: str(self.seen))
        return [event["type"] for event in self._of_tasks()]

    def _of_tasks(self):
        return [event for event in self.seen if "uuid" in event]


@pytest.fixture
def onlooker(loaded, redis_client):
    with app.connection_for_read() as connection:
        watching = Onlooker(connection)
        with watching.receiver.consumer_context(wakeup=False) as (watching.connection, _, _):
            wait_until(lambda: watching.look() or redis_client.pubsub_numpat())
            yield watching


def test_a_few_debits_are_shown_one_by_one_with_their_outcome(reader, acme, onlooker, redis_client):
    queue(redis_client, debit("the-secret"), debit("the-secret"), debit("k2", "mind_reading"))

    reader.read_batch()

    assert onlooker.types(9).count("task-received") == 3
    results = [e["result"] for e in onlooker.seen if e["type"] == "task-succeeded"]
    assert results == ["taken", "taken (repeat)"]
    (failed,) = [e for e in onlooker.seen if e["type"] == "task-failed"]
    assert failed["exception"] == "rejected: UnknownOperation"
    assert "the-secret" not in str(onlooker.seen)


def test_many_debits_are_shown_as_one_sum(reader, acme, onlooker, redis_client):
    queue(redis_client, *[debit(new_key()) for _ in range(20)], debit("k", "mind_reading"))

    reader.read_batch()

    assert onlooker.types(3) == ["task-received", "task-started", "task-succeeded"]
    assert onlooker.seen[0]["name"] == "credits.debit (batch)"
    assert onlooker.seen[-1]["result"] == "20 taken, 1 rejected"


def test_small_sets_that_come_fast_are_shown_as_sums_too(
    acme, loaded, onlooker, redis_client, monkeypatch
):
    monkeypatch.setattr(flower_events, "_now", lambda: 1000.0)
    reader = DebitReader(loaded, "debits@test")
    for _ in range(4):
        queue(redis_client, *[debit(new_key()) for _ in range(5)])
        reader.read_batch()

    onlooker.types(33)
    names = [event["name"] for event in onlooker.seen if event["type"] == "task-received"]
    assert names == ["credits.debit"] * 10 + ["credits.debit (batch)"]


def test_many_debits_in_one_message_end_each_for_itself(reader, acme, redis_client):
    many = [Debit(1, "image_prompt_extraction", f"k{n}") for n in range(3)]
    many.append(Debit(1, "mind_reading", "k9"))

    BillingClient(app.conf.broker_url).debit_many(many)
    reader.read_batch()

    assert acme.see("acme").credits == 94
    assert errors()["UnknownOperation"].arguments["key"] == "k9"
    assert nothing_left(redis_client)


def test_messages_of_many_debits_are_no_larger_a_set_than_single_ones(reader, acme, redis_client):
    """500 messages of 500 were one transaction of 250,000 debits, longer than a lease lasts."""
    many = [Debit(1, "image_prompt_extraction", new_key()) for _ in range(1001)]
    BillingClient(app.conf.broker_url).debit_many(many)
    queue(redis_client, *[debit(new_key()) for _ in range(3)])

    read = [reader.read_batch() for _ in range(5)]

    assert read == [1, 1, 1, 2, 1], "one at a time where each is large, then more again"
    with transaction() as ctx:
        taken = sa.text("SELECT count(*) FROM billing.keys GROUP BY xmin::text ORDER BY 1")
        assert max(ctx.session.scalars(taken)) <= 501, "a batch, and the opening balance"
    assert nothing_left(redis_client)


def test_what_a_set_has_no_room_for_is_the_next_readers_at_once(loaded, acme, redis_client):
    many = [Debit(1, "image_prompt_extraction", new_key()) for _ in range(1000)]
    BillingClient(app.conf.broker_url).debit_many(many)
    first, second = DebitReader(loaded, "debits@one"), DebitReader(loaded, "debits@two")

    assert [first.read_batch(), second.read_batch()] == [1, 1]
    assert nothing_left(redis_client)
