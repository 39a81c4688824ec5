"""The next batch is taken while one is applied; whatever happens, no message is lost by it."""

import pytest
import redis as redis_py

from tests.worker.conftest import wait_until
from tests.worker.rawmessages import message, raw
from worker.app import app
from worker.debits.batch import Prefetch
from worker.settings import settings
from worker.transport import queues

QUEUE = "debits"


@pytest.fixture
def taker(redis_client, monkeypatch):
    monkeypatch.setenv("BILLING_DEBIT_BATCH_SIZE", "5")
    settings.cache_clear()
    app.loader.import_default_modules()
    taker = Prefetch(redis_client, app.tasks)
    yield taker
    taker.close()
    monkeypatch.undo()
    settings.cache_clear()


def fill(redis_client, count):
    raws = [raw(message(account_id=1, operation="clustering", key=f"k{n}")) for n in range(count)]
    redis_client.lpush(QUEUE, *raws)


def keys_of(items):
    return sorted(message.key for item in items for message in item.messages)


def test_the_sets_taken_ahead_are_all_that_there_is_each_message_once(taker, redis_client):
    fill(redis_client, 12)
    seen = []

    while items := taker.next():
        taker.take_ahead()
        seen += keys_of(items)

    assert sorted(seen) == sorted(f"k{n}" for n in range(12))


def test_a_set_is_taken_ahead_while_one_is_applied_and_is_ours_by_then(taker, redis_client):
    fill(redis_client, 20)

    first = taker.next()
    taker.take_ahead()

    wait_until(lambda: queues.in_hand(redis_client) == 10)
    wait_until(lambda: len(taker.tags_ahead()) == 5)
    assert not set(taker.tags_ahead()) & {item.tag for item in first}


def test_after_a_set_that_was_not_full_nothing_is_taken_ahead(taker, redis_client):
    fill(redis_client, 4)

    taker.next()
    taker.take_ahead()

    assert taker.tags_ahead() == []
    fill(redis_client, 1)
    assert len(taker.next()) == 1, "what came since is taken now"


def test_what_was_taken_ahead_is_given_back_at_the_end(taker, redis_client):
    fill(redis_client, 20)
    first = taker.next()
    taker.take_ahead()

    taker.close()

    assert queues.in_hand(redis_client) == len(first)
    assert queues.depth(redis_client, QUEUE) == 15


def test_a_broker_that_is_away_while_taking_ahead_is_told_at_the_next_set(
    taker, redis_client, monkeypatch
):
    fill(redis_client, 20)
    taker.next()

    def away(*_, **__):
        raise redis_py.ConnectionError

    monkeypatch.setattr(queues, "take", away)
    taker.take_ahead()

    with pytest.raises(redis_py.ConnectionError):
        taker.next()
    monkeypatch.undo()
    assert len(taker.next()) == 5, "and it goes on"
