"""Messages in hand have a lease, come back after it, and are stock kombu's to take over at any time."""

import os
import time

import pytest
from kombu import Connection, Consumer, Queue

from tests.worker.rawmessages import message, raw
from worker.settings import settings
from worker.transport import queues

RAWS = [raw(message(key=f"k{n}")) for n in range(3)]


@pytest.fixture
def taken(redis_client):
    """Three debits in our hands, as (delivery tag, raw)."""
    redis_client.lpush("debits", *RAWS)
    return queues.take(redis_client, "debits", 10)


@pytest.fixture
def stock():
    """A stock kombu channel, with the visibility timeout that every app on the broker has."""
    options = {"visibility_timeout": settings().visibility_timeout_s}
    with Connection(os.environ["REDIS_URL"], transport_options=options) as connection:
        yield connection.channel()


def let_the_lease_pass(redis_client, seconds):
    """Time passes: every registration is so much older."""
    for tag, score in redis_client.zrange(queues.UNACKED_INDEX, 0, -1, withscores=True):
        redis_client.zadd(queues.UNACKED_INDEX, {tag: score - seconds})


def test_a_lease_ends_long_before_the_visibility_timeout(redis_client, taken, stock):
    let_the_lease_pass(redis_client, settings().lease_s - 5)
    stock.qos.restore_visible(num=10, interval=1)
    assert queues.depth(redis_client, "debits") == 0

    let_the_lease_pass(redis_client, 6)
    stock.qos.restore_visible(num=10, interval=1)

    assert queues.depth(redis_client, "debits") == 3
    assert queues.in_hand(redis_client) == 0


def test_a_renewed_lease_begins_anew(redis_client, taken, stock):
    let_the_lease_pass(redis_client, settings().lease_s + 1)
    queues.renew(redis_client, [tag for tag, _ in taken[:2]])

    stock.qos.restore_visible(num=10, interval=1)

    assert (queues.in_hand(redis_client), queues.depth(redis_client, "debits")) == (2, 1)


def test_what_is_acknowledged_already_is_not_renewed_into_life(redis_client, taken):
    tags = [tag for tag, _ in taken]
    queues.acknowledge(redis_client, tags)

    queues.renew(redis_client, tags)

    assert queues.in_hand(redis_client) == 0
    assert redis_client.hlen(queues.UNACKED) == 0


def test_a_stock_consumer_takes_over_what_we_did_not_finish(redis_client, taken, stock):
    let_the_lease_pass(redis_client, settings().lease_s + 1)
    stock.qos.restore_visible(num=10, interval=1)
    bodies = []

    consumer = Consumer(stock, [Queue("debits")], auto_declare=False, accept=["json"])
    consumer.register_callback(lambda body, message: (bodies.append(body), message.ack()))
    consumer.consume()
    for _ in RAWS:
        stock.connection.client.drain_events(timeout=5)

    assert sorted(body[1]["key"] for body in bodies) == ["k0", "k1", "k2"]
    assert queues.in_hand(redis_client) == 0


def test_messages_of_a_stock_producer_are_taken_with_their_priorities(redis_client, stock):
    producer = stock.connection.client.Producer(stock)
    for priority in (9, 0, 5):
        producer.publish([[], {"p": priority}, {}], routing_key="debits", priority=priority)

    assert queues.depth(redis_client, "debits") == 3
    assert len(queues.take(redis_client, "debits", 10)) == 3


def test_what_is_given_back_is_next_again_as_it_was(redis_client, taken):
    queues.requeue_front(redis_client, "debits", taken[:1])

    assert redis_client.lindex("debits", -1) == RAWS[0]
    assert queues.in_hand(redis_client) == 2


def test_what_somebody_else_has_acknowledged_is_not_given_back(redis_client, taken):
    queues.acknowledge(redis_client, [taken[0][0]])

    queues.requeue_front(redis_client, "debits", taken)

    assert queues.depth(redis_client, "debits") == 2


def test_what_was_set_aside_is_in_no_hand(redis_client, taken):
    tag, data = taken[0]

    queues.quarantine(redis_client, data, tag)

    assert redis_client.lrange(queues.QUARANTINE, 0, -1) == [data]
    assert queues.in_hand(redis_client) == 2


def test_a_full_redis_registers_what_it_lets_go(redis_client):
    redis_client.lpush("debits", *RAWS)
    try:
        redis_client.config_set("maxmemory", 1)
        taken = queues.take(redis_client, "debits", 10)
    finally:
        redis_client.config_set("maxmemory", 0)

    assert len(taken) == queues.in_hand(redis_client) == 3


def test_waiting_leaves_the_queue_as_it_is(redis_client):
    redis_client.lpush("debits", *RAWS)

    queues.wait(redis_client, "debits", 1)

    assert redis_client.lrange("debits", 0, -1) == RAWS[::-1]


def test_waiting_for_nothing_ends(redis_client):
    began = time.monotonic()

    queues.wait(redis_client, "debits", 0.05)

    assert time.monotonic() > began


def test_the_oldest_message_is_seen_and_left(redis_client):
    assert queues.oldest(redis_client, "debits") is None

    redis_client.lpush("debits", *RAWS)

    assert queues.oldest(redis_client, "debits") == RAWS[0]
    assert queues.depth(redis_client, "debits") == 3


def test_to_acknowledge_or_renew_nothing_asks_nothing_of_redis(redis_client, taken):
    queues.acknowledge(redis_client, [])
    queues.renew(redis_client, [])

    assert queues.in_hand(redis_client) == 3
