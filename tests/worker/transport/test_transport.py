"""A worker's channel, on a connection of its own: what it delivers, holds, requeues and quarantines."""

import datetime as dt
import json
import os
import uuid

import pytest
from kombu import Connection, Consumer, Queue

from billing_client.client import HIDDEN
from tests.worker.rawmessages import POISON, message, raw, with_headers
from worker import clock
from worker.app import app
from worker.settings import settings
from worker.transport import leases, queues, transport

QUEUE = "debits"


@pytest.fixture
def channel(redis_client, monkeypatch):
    """A channel of a worker."""
    app.loader.import_default_modules()
    monkeypatch.setattr(transport.Channel, "takes_tasks", True)
    options = {"visibility_timeout": settings().visibility_timeout_s}
    name = f"{transport.Transport.__module__}:{transport.Transport.__name__}"
    with Connection(os.environ["REDIS_URL"], transport=name, transport_options=options) as stock:
        yield stock.channel()


@pytest.fixture
def delivered(channel):
    """The messages that the channel has delivered."""
    messages = []
    consumer = Consumer(channel, [Queue(QUEUE)], auto_declare=False, accept=["json"])
    consumer.register_callback(lambda _, message: messages.append(message))
    consumer.consume()
    return messages


def drain(channel, times=1):
    for _ in range(times):
        channel.connection.client.drain_events(timeout=5)


def fill(redis_client, *messages):
    for sent in messages:
        redis_client.lpush(QUEUE, sent if isinstance(sent, bytes) else raw(sent))


def debit(key):
    return message(account_id=1, operation="clustering", key=key)


def keys_of(messages):
    return [message.decode()[1]["key"] for message in messages]


def test_a_delivered_message_is_registered_once_and_held_until_it_is_acknowledged(
    channel, delivered, redis_client
):
    fill(redis_client, debit("k1"))
    drain(channel)

    (message,) = delivered
    assert queues.in_hand(redis_client) == redis_client.hlen(queues.UNACKED) == 1
    assert channel.qos.held() == [message.delivery_tag]
    assert channel.registered == set()

    message.ack()
    assert queues.in_hand(redis_client) == redis_client.hlen(queues.UNACKED) == 0


def test_a_message_s_lease_is_that_of_our_pop_and_not_of_stock_kombu(
    channel, delivered, redis_client
):
    before = queues.lease_score()
    fill(redis_client, debit("k1"))
    drain(channel)

    (score,) = [
        score for _, score in redis_client.zrange(queues.UNACKED_INDEX, 0, -1, withscores=True)
    ]
    assert before <= score <= queues.lease_score()


def test_a_message_that_stock_kombu_delivered_is_registered_too(channel, redis_client):
    taken = debit("k1")

    channel.qos.append(channel.Message(taken, channel=channel), taken["properties"]["delivery_tag"])

    assert queues.in_hand(redis_client) == 1


def test_the_arguments_of_a_delivered_message_are_shown_nowhere(channel, delivered, redis_client):
    fill(redis_client, debit("k1"))
    drain(channel)

    (message,) = delivered
    assert (message.headers["argsrepr"], message.headers["kwargsrepr"]) == (HIDDEN, HIDDEN)


def test_a_malformed_message_is_quarantined_and_the_next_one_delivered(
    channel, delivered, redis_client
):
    malformed = POISON["an unknown task"](debit("k1"))
    fill(redis_client, malformed, debit("k2"))
    drain(channel, 2)

    assert keys_of(delivered) == ["k2"]
    assert redis_client.lrange(queues.QUARANTINE, 0, -1) == [malformed]
    assert queues.in_hand(redis_client) == redis_client.hlen(queues.UNACKED) == 1


def test_a_message_that_celery_fails_at_is_quarantined_and_no_longer_held(
    channel, delivered, redis_client, monkeypatch
):
    def fail(*_):
        raise ValueError

    fill(redis_client, debit("k1"))
    with monkeypatch.context() as celery:
        celery.setattr(channel.connection, "_deliver", fail)
        drain(channel)

    assert delivered == []
    assert redis_client.llen(queues.QUARANTINE) == 1
    assert queues.in_hand(redis_client) == redis_client.hlen(queues.UNACKED) == 0


def test_an_error_of_the_worker_itself_is_no_fault_of_the_message(
    channel, redis_client, delivered, monkeypatch
):
    def fail(*_):
        raise ConnectionAbortedError

    fill(redis_client, debit("k1"))
    with monkeypatch.context() as worker, pytest.raises(ConnectionAbortedError):
        worker.setattr(channel.connection, "_deliver", fail)
        drain(channel)

    assert redis_client.llen(queues.QUARANTINE) == 0
    assert queues.in_hand(redis_client) == 1


def test_an_empty_queue_is_not_asked_again_before_the_pause_is_over(
    channel, delivered, redis_client, monkeypatch
):
    fill(redis_client, debit("k1"))
    drain(channel)
    now = 1000.0
    monkeypatch.setattr(transport.time, "monotonic", lambda: now)
    with pytest.raises(transport.Empty):
        channel._brpop_start()
        channel._brpop_read()

    now += transport.POLL_S / 2
    channel._brpop_start()
    assert not channel._in_poll

    now += transport.POLL_S / 2
    channel._brpop_start()
    assert channel._in_poll
    with pytest.raises(transport.Empty):
        channel._brpop_read()


def test_a_channel_without_queues_asks_nothing(channel):
    channel._brpop_start()

    assert not channel._in_poll


def test_what_a_worker_gives_back_is_taken_again_and_marked_as_redelivered(
    channel, delivered, redis_client
):
    fill(redis_client, debit("k1"))
    drain(channel)

    channel.qos.restore_by_tag(delivered[0].delivery_tag)
    assert (queues.in_hand(redis_client), queues.depth(redis_client, QUEUE)) == (0, 1)
    drain(channel)

    assert keys_of(delivered) == ["k1", "k1"]
    assert delivered[1].headers["redelivered"]


@pytest.mark.parametrize(
    "payload",
    [
        pytest.param("[1]", id="no object"),
        pytest.param('{"headers": null}', id="no headers"),
        pytest.param('{"body": ""}', id="nothing of a message"),
        pytest.param('{"headers"', id="no JSON"),
        pytest.param("[" * 100_000, id="nested deep"),
    ],
)
def test_what_can_t_be_given_back_is_quarantined_and_holds_up_no_other(
    channel, redis_client, payload
):
    redis_client.hset(queues.UNACKED, "tag", f'[{payload}, "", "{QUEUE}"]')
    redis_client.zadd(queues.UNACKED_INDEX, {"tag": 1})

    channel.qos.restore_by_tag("tag")

    assert redis_client.lrange(queues.QUARANTINE, 0, -1) == [payload.encode()]
    assert queues.in_hand(redis_client) == queues.depth(redis_client, QUEUE) == 0


class Rounds:
    """An event that is set after some rounds."""

    def __init__(self, rounds, between=lambda: None):
        self.waited = []
        self._rounds = rounds
        self._between = between

    def wait(self, seconds):
        self.waited.append(seconds)
        self._between()
        return len(self.waited) > self._rounds


def leases_end(redis_client):
    for tag in redis_client.zrange(queues.UNACKED_INDEX, 0, -1):
        redis_client.zadd(queues.UNACKED_INDEX, {tag: 1})


def renewed(redis_client, since):
    scores = redis_client.zrange(queues.UNACKED_INDEX, 0, -1, withscores=True)
    return [since <= score <= queues.lease_score() for _, score in scores]


def test_the_leases_of_all_that_a_worker_holds_are_renewed_four_times_before_they_end(
    channel, delivered, redis_client
):
    fill(redis_client, debit("k1"), debit("k2"))
    drain(channel, 2)
    leases_end(redis_client)
    since, rounds = queues.lease_score(), Rounds(1)

    leases._keep(channel.connection.cycle, rounds)

    assert renewed(redis_client, since) == [True, True]
    assert rounds.waited == [settings().lease_s / 4] * 2


def test_a_message_taken_while_leases_are_renewed_is_renewed_in_the_next_round(
    channel, delivered, redis_client, monkeypatch
):
    def takes_another():
        raise RuntimeError("dictionary changed size during iteration")

    fill(redis_client, debit("k1"))
    drain(channel)
    leases_end(redis_client)
    since = queues.lease_score()
    monkeypatch.setattr(channel.qos, "held", takes_another)
    rounds = Rounds(2, between=lambda: len(rounds.waited) == 2 and monkeypatch.undo())

    leases._keep(channel.connection.cycle, rounds)

    assert renewed(redis_client, since) == [True]


def test_while_redis_is_away_the_renewal_waits_for_the_next_round(
    channel, delivered, redis_client, monkeypatch
):
    fill(redis_client, debit("k1"))
    drain(channel)
    leases_end(redis_client)
    since = queues.lease_score()
    away = queues.redis.Redis(host="127.0.0.1", port=1, retry=None)
    monkeypatch.setattr(queues, "connection", lambda: away)
    rounds = Rounds(2, between=lambda: len(rounds.waited) == 2 and monkeypatch.undo())

    leases._keep(channel.connection.cycle, rounds)

    assert renewed(redis_client, since) == [True]


def test_a_channel_of_another_process_reads_as_stock_kombu_does(
    channel, delivered, redis_client, monkeypatch
):
    monkeypatch.setattr(transport.Channel, "takes_tasks", False)
    fill(redis_client, json.dumps(debit("k1")).encode())

    drain(channel)

    assert keys_of(delivered) == ["k1"]
    assert delivered[0].headers["argsrepr"] == "()"


def test_replies_to_a_starting_worker_are_no_tasks_and_leave_no_dead_letter(channel, redis_client):
    """Each node that was up left a Malformed for each worker that started."""
    replies = f"{uuid.uuid4()}.reply.celery.pidbox"
    reply = {"body": "e30=", "headers": {}, "properties": {}, "content-type": "application/json"}
    reply["content-encoding"] = "utf-8"
    reply["properties"] = message()["properties"]
    heard = []
    consumer = Consumer(channel, [Queue(replies)], auto_declare=False, accept=["json"])
    consumer.register_callback(lambda body, _: heard.append(body))
    consumer.consume()
    redis_client.lpush(replies, json.dumps(reply))

    drain(channel)

    assert heard == [{}]
    assert redis_client.llen(queues.QUARANTINE) == 0


def test_a_message_that_is_to_run_later_waits_in_redis_and_then_comes(
    channel, delivered, redis_client, monkeypatch
):
    """A worker keeps a hundred at most, and takes nothing else while it has them."""
    later = clock.now() + dt.timedelta(minutes=10)
    fill(redis_client, with_headers(debit("later"), eta=later.isoformat()), debit("now"))

    drain(channel, times=2)

    assert keys_of(delivered) == ["now"]
    assert (len(channel.qos.held()), queues.in_hand(redis_client)) == (1, 2)
    delivered[0].ack()
    monkeypatch.setattr(clock, "now", lambda: later)
    monkeypatch.setattr("kombu.transport.redis.time", later.timestamp)
    channel.qos.restore_visible(num=10, interval=1)
    drain(channel)
    assert keys_of(delivered) == ["now", "later"]
