"""Real workers are killed, stopped and cut off, and lose nothing and do nothing twice."""

import datetime as dt
import os
import signal

import pytest
from celery.exceptions import Reject
from sqlalchemy import func, select

from billing.errors import TryLater
from billing.operations import dead_letters
from billing_client import BillingClient, Debit, new_key
from devstack.folder import DataFolder
from devstack.guard import Guard
from devstack.ports import choose_port
from devstack.valkey import start_redis
from models.host import CreditTransaction
from tests.worker.busywork import DONE, app
from tests.worker.conftest import is_idle, running_worker, wait_until
from tests.worker.rawmessages import message, raw, with_headers
from worker import clock
from worker.database import transaction
from worker.transport import queues

BUSY = {"app": "tests.worker.busywork"}
SHORT = {
    "BILLING_SOFT_TIME_LIMIT_S": "3",
    "BILLING_HARD_TIME_LIMIT_S": "4",
    "BILLING_STATEMENT_TIMEOUT_S": "2",
    "BILLING_LOCK_TIMEOUT_S": "1",
}


#: The queue of the shared worker; the others take from `credits`.
SHARED = "maintenance"


def send(task, name="", *, queue="credits", countdown=None, **fields):
    """Not by the app: that would put this process's time limits into the message."""
    sent = message(task, queue, **({"name": name} if name else {}), **fields)
    if countdown is not None:
        eta = clock.now() + dt.timedelta(seconds=countdown)
        sent = with_headers(sent, eta=eta.isoformat())
    queues.connection().lpush(queue, raw(sent))


@pytest.fixture(scope="module")
def busy_worker():
    with running_worker("busy", "-Q", SHARED, "--concurrency", "2", **BUSY, **SHORT) as worker:
        yield worker


@pytest.fixture
def busy(busy_worker, database, redis_client):
    """A worker of two children whose tasks have 3 seconds; shared by the tests that leave it well."""
    return busy_worker


@pytest.fixture
def done(redis_client):
    """Read the records of the busy workers, in order."""
    return lambda: [name.decode() for name in redis_client.lrange(DONE, 0, -1)]


@pytest.fixture
def dead():
    """Error and attempts of every open dead letter."""

    def look():
        with transaction() as ctx:
            return [(d.error, d.attempts) for d in dead_letters.list_open(ctx.session, limit=9)]

    return look


def entries():
    with transaction() as ctx:
        keyed = select(func.count()).where(CreditTransaction.key.is_not(None))
        return ctx.session.execute(keyed).scalar_one()


def test_a_kill_9_among_2000_debits_loses_none_and_takes_none_twice(
    ledger, redis_client, client, start
):
    accounts = [ledger.open_account(f"account-{n}", credits=10_000) for n in range(20)]
    reader = ("-Q", "debits", "--pool", "solo")
    debits = [Debit(a, "image_prompt_extraction", new_key()) for a in accounts for _ in range(100)]
    raws = [raw(message(**debit.arguments())) for debit in debits]
    again = [raw(message(**debit.arguments())) for debit in debits[::20]] + raws[10::20]
    redis_client.lpush("debits", *raws, *again)
    first = start("first", *reader, BILLING_DEBIT_BATCH_SIZE="20")
    wait_until(lambda: 100 < entries() < 2000)

    first.kill_9()
    assert entries() < 2000
    start("second", *reader, BILLING_DEBIT_BATCH_SIZE="50")
    start("third", *reader, BILLING_DEBIT_BATCH_SIZE="50")

    wait_until(lambda: is_idle(redis_client))
    assert [ledger.see(f"account-{n}").credits for n in range(20)] == [10_000 - 100 * 2] * 20
    assert ledger.audit().agrees
    assert redis_client.hlen(queues.UNACKED) == 0


def test_what_takes_or_waits_longer_than_the_lease_runs_once(database, redis_client, done, start):
    start("alone", "-Q", "credits", "--pool", "solo", **BUSY)
    send("busywork.nap", "in the only thread", seconds=7.0)
    wait_until(lambda: "in the only thread began" in done())
    start("general", "-Q", "credits", "--concurrency", "1", **BUSY)

    send("busywork.nap", "later", countdown=7.0)
    send("busywork.nap", "in a child", seconds=7.0)

    wait_until(lambda: is_idle(redis_client))
    names = ("in the only thread", "in a child", "later")
    assert sorted(done()) == sorted([*names, *[f"{name} began" for name in names]])


def is_tried_again(name, done, dead):
    """Let a task kill its process once; whether it was done the second time."""
    letters = len(dead())
    send("busywork.kill_own_process", name, queue=SHARED, text="1")
    wait_until(lambda: name in done() or len(dead()) > letters)
    return name in done()


def test_what_a_killed_child_was_at_is_tried_again_and_ends_as_a_dead_letter(
    busy, redis_client, done, dead
):
    # Celery finds some dead children only when the time limit is over, and then tries no more.
    assert any(is_tried_again(name, done, dead) for name in ("first", "second", "third"))
    letters = len(dead())

    send("busywork.kill_own_process", "always", queue=SHARED, text="9")

    wait_until(lambda: len(dead()) > letters and is_idle(redis_client))
    assert "always" not in done()
    for error, attempts in dead():
        assert error == "TimeLimitExceeded" or (error == "WorkerLostError" and attempts > 1)
        assert attempts <= 3


def test_a_task_over_its_time_limit_becomes_a_dead_letter(busy, redis_client, dead):
    send("busywork.nap", "told to stop", queue=SHARED, seconds=60.0)
    send("busywork.deaf", "killed", queue=SHARED, seconds=60.0)

    wait_until(lambda: len(dead()) == 2 and is_idle(redis_client))
    assert sorted(dead()) == [("SoftTimeLimitExceeded", 1), ("TimeLimitExceeded", 1)]
    assert busy.is_alive


def test_a_cause_that_passes_is_tried_again_and_one_that_stays_ends_as_a_dead_letter(
    busy, redis_client, done, dead
):
    send("busywork.not_yet", "stays", queue=SHARED)
    send("busywork.not_yet", "passes", queue=SHARED)
    wait_until(lambda: "passes tried" in done())

    redis_client.set("passes", 1)

    wait_until(lambda: dead() and is_idle(redis_client))
    assert done().count("stays tried") == 3
    assert done().count("passes") == 1
    assert dead() == [("TryLater", 3)]


def test_a_bug_is_loud_once_and_its_words_are_in_the_letter_and_not_in_the_log(
    busy, redis_client, dead
):
    length = len(busy.log)

    send("busywork.bug", "bug", queue=SHARED, text="the-secret")

    wait_until(lambda: dead() and is_idle(redis_client))
    assert dead() == [("ZeroDivisionError", 1)]
    assert busy.log[length:].count("task_broke") == 1
    assert "the-secret" not in busy.log


def test_a_tick_that_fails_is_left_to_the_next_tick(busy, redis_client, dead):
    send("busywork.tick", queue=SHARED)

    wait_until(lambda: "tick_failed" in busy.log and is_idle(redis_client))
    assert dead() == []


def test_a_retry_that_redis_does_not_take_leaves_the_message_where_it_is(redis_client):
    task = app.tasks["busywork.not_yet"]
    task.push_request(id="m-1", called_directly=False, delivery_info={"routing_key": "credits"})
    redis_client.set("told", "before the memory was full")
    try:
        redis_client.config_set("maxmemory", 1)
        with pytest.raises(Reject) as refused:
            task._try_later(TryLater(until="never"), {"name": "x"})
    finally:
        redis_client.config_set("maxmemory", 0)
        task.pop_request()

    assert refused.value.requeue


def test_a_worker_that_is_told_to_stop_finishes_what_is_short_and_gives_the_rest_back(
    database, redis_client, done, start
):
    general = start("general", "-Q", "credits", "--concurrency", "2", **BUSY)
    send("busywork.nap", "late", countdown=60)
    send("busywork.nap", "short", seconds=1.0)
    send("busywork.nap", "long", seconds=60.0)
    send("busywork.nap", "waiting")
    wait_until(lambda: {"short began", "long began"} <= set(done()))

    assert general.terminate() == 0

    assert "short" in done()
    assert queues.depth(redis_client, "credits") == 2
    assert queues.in_hand(redis_client) == 1, "what is to run later waits in Redis"


def test_a_stopped_debit_worker_leaves_nothing_in_hand(ledger, redis_client, start):
    acme = ledger.open_account("acme", credits=10_000)
    reader = start("debits", "-Q", "debits", "--pool", "solo", BILLING_DEBIT_BATCH_SIZE="5")
    raws = [
        raw(message(account_id=acme, operation="image_prompt_extraction", key=new_key()))
        for _ in range(500)
    ]
    redis_client.lpush("debits", *raws)
    wait_until(lambda: entries() > 10)

    assert reader.terminate() == 0

    assert queues.in_hand(redis_client) == 0
    assert entries() - 1 + queues.depth(redis_client, "debits") == 500


def test_a_stock_reader_can_take_over_the_queue_of_debits(ledger, client, redis_client, start):
    acme = ledger.open_account("acme", credits=100)
    start("stock", "-Q", "debits", "--concurrency", "1", BILLING_DEBIT_READER="stock")

    client.debit(acme, "image_prompt_extraction", key="debit:1")
    client.debit(acme, "image_prompt_extraction", key="debit:1")

    wait_until(lambda: is_idle(redis_client))
    assert (
        ledger.history("acme")
        == """
        opening balance               +100   100
        image_prompt_extraction         -2    98
    """
    )


def test_a_debit_worker_with_children_that_fork_does_not_start(database, redis_client, start):
    forking = start("debits", "-Q", "debits", "--pool", "prefork", wait=False)

    assert forking.process.wait(30) != 0
    assert "needs --pool solo or --pool threads" in forking.log


def test_a_worker_on_bad_ground_does_not_start_and_says_why(database, redis_client, start):
    redis_client.config_set("maxmemory-policy", "allkeys-lru")
    try:
        refused = start("general", "-Q", "credits", wait=False)
        assert refused.process.wait(30) != 0
    finally:
        redis_client.config_set("maxmemory-policy", "noeviction")

    assert "redis: The maxmemory-policy allkeys-lru evicts messages" in refused.log


@pytest.fixture
def other_redis(tmp_path):
    """A Redis of the test's own, and a function that kills it and starts it again."""
    folder = DataFolder(tmp_path / "data")
    folder.create()
    with Guard() as guard:
        port = choose_port(folder, "redis", 0)
        server = start_redis(guard, folder, port=port, durable=True, inherits=())

        def kill_and_restart():
            os.kill(server.child.pid, signal.SIGKILL)
            wait_until(lambda: server.child.exit_code is not None)
            start_redis(guard, folder, port=port, durable=True, inherits=())

        yield server.url, kill_and_restart


def test_a_redis_that_dies_and_comes_back_finds_its_workers_again(ledger, other_redis, start):
    acme = ledger.open_account("acme", credits=100)
    url, kill_and_restart = other_redis
    start("general", "-Q", "credits", "--concurrency", "1", REDIS_URL=url)
    start("debits", "-Q", "debits", "--pool", "solo", REDIS_URL=url)

    kill_and_restart()
    sender = BillingClient(url)
    sender.debit(acme, "image_prompt_extraction", key="debit:1")
    sender.grant(acme, 5, "goodwill", key="grant:1")

    wait_until(lambda: ledger.see("acme").credits == 103)


def test_a_worker_that_starts_beside_another_leaves_no_dead_letter(ledger, redis_client, start):
    """Each worker that was up left a Malformed for each one that started."""
    acme = ledger.open_account("acme", credits=100)
    start("first", "-Q", "credits", "--concurrency", "1", talks=True)
    second = start("second", "-Q", "debits", "--pool", "solo", talks=True)
    assert "mingle: sync with" in second.log

    BillingClient(os.environ["REDIS_URL"]).debit(acme, "image_prompt_extraction", key="k")

    wait_until(lambda: ledger.see("acme").credits == 98)
    assert redis_client.llen(queues.QUARANTINE) == 0
    with transaction() as ctx:
        assert not dead_letters.list_open(ctx.session, limit=9)
