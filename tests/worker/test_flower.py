"""Flower sees our broker and every queue that is read, with payloads hidden from it."""

import asyncio

from flower.utils.broker import Broker

from tests.worker.conftest import running_worker
from worker.app import app


def test_flower_knows_what_kind_of_broker_ours_is(redis_client):
    redis_client.lpush("debits", "a", "b")
    with app.connection_for_read() as connection:
        broker = Broker(
            connection.as_uri(include_password=True),
            broker_options=app.conf.broker_transport_options,
            broker_use_ssl=app.conf.broker_use_ssl,
        )

    (queue,) = asyncio.run(broker.queues(["debits"]))

    assert queue == {"name": "debits", "messages": 2}


def test_the_queue_that_is_read_in_sets_is_among_those_that_a_worker_says_it_reads(redis_client):
    with (
        running_worker("reader", "-Q", "debits,credits", "--pool", "solo"),
        app.connection_for_read() as connection,
    ):
        (read,) = app.control.inspect(connection=connection).active_queues().values()

    assert {queue["name"] for queue in read} == {"debits", "credits"}
