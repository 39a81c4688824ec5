"""How messages leave Redis: popped and registered in one step, in the form that kombu knows."""

import json
import os
import time

import pytest

from billing.operations import dead_letters as dead_letters_table
from billing_client import MESSAGES, BillingClient, new_key
from billing_client.fields import MAX_MESSAGE_BYTES
from worker import dead_letters
from worker.app import app
from worker.database import transaction
from worker.transport import queues

QUEUE = "debits"


@pytest.fixture
def sent(redis_client):
    """Really sent debits, taken off the queue: raw messages to do something with."""
    client = BillingClient(os.environ["REDIS_URL"])
    for _ in range(3):
        client.debit(1, "clustering", key=new_key())
    return [redis_client.rpop(QUEUE) for _ in range(3)]


def put(redis_client, *raws):
    for raw in raws:
        redis_client.lpush(QUEUE, raw)


def take(redis_client, count=500):
    return queues.take(redis_client, QUEUE, count)


def tag_of(raw):
    return json.loads(raw)["properties"]["delivery_tag"]


def sweep():
    """What any worker does, once the visibility timeout of what it finds is over."""
    with app.connection_for_read() as connection:
        connection.channel().qos.restore_visible(num=100, interval=1)


def changed(raw, **properties):
    message = json.loads(raw)
    message["properties"].update(properties)
    return json.dumps(message).encode()


def test_of_large_messages_fewer_are_taken_than_were_asked_for(redis_client, sent):
    large = [
        changed(sent[0], delivery_tag=str(number), correlation_id="x" * 60_000)
        for number in range(600)
    ]
    put(redis_client, *large)

    assert len(take(redis_client, 5000)) == 500, "30 MB, of which 16 MB are enough"
    assert len(take(redis_client, 5000)) == 100


def test_messages_are_taken_in_the_order_in_which_they_were_sent(redis_client, sent):
    put(redis_client, *sent)

    assert take(redis_client, 2) == [(tag_of(raw), raw) for raw in sent[:2]]
    assert take(redis_client, 2) == [(tag_of(sent[2]), sent[2])]
    assert take(redis_client, 2) == []


def test_what_is_taken_is_registered_as_kombu_registers_it(redis_client, sent):
    put(redis_client, sent[0])

    take(redis_client)

    registered = redis_client.hgetall(queues.UNACKED)
    assert {tag.decode(): json.loads(form) for tag, form in registered.items()} == {
        tag_of(sent[0]): [json.loads(sent[0]), "", QUEUE]
    }
    assert redis_client.zrange(queues.UNACKED_INDEX, 0, -1) == [tag_of(sent[0]).encode()]


@pytest.mark.parametrize(
    "unlike_kombu",
    [
        pytest.param(lambda raw: changed(raw, priority=None), id="no priority"),
        pytest.param(
            lambda raw: changed(
                raw, delivery_info={"exchange": 'a"b', "routing_key": "c,d", "redelivered": True}
            ),
            id="restored before, under odd names",
        ),
        pytest.param(
            lambda raw: json.dumps(dict(reversed(json.loads(raw).items()))).encode(),
            id="fields in another order",
        ),
        pytest.param(lambda raw: b" " + raw.replace(b": ", b":") + b"\n", id="other white space"),
        pytest.param(lambda raw: changed(raw, delivery_tag="Zoë's"), id="a tag that is no uuid"),
    ],
)
def test_a_message_that_another_sender_wrote_its_own_way_is_taken_too(
    redis_client, sent, unlike_kombu
):
    raw = unlike_kombu(sent[0])
    put(redis_client, raw, sent[1])

    assert take(redis_client) == [(tag_of(raw), raw), (tag_of(sent[1]), sent[1])]
    form = json.loads(redis_client.hget(queues.UNACKED, tag_of(raw)))
    assert form == [json.loads(raw), "", QUEUE], "it comes back to the queue that it came from"


@pytest.mark.parametrize(
    "poison",
    [
        pytest.param(lambda _: b"hello", id="no JSON"),
        pytest.param(lambda _: b"[]", id="no object"),
        pytest.param(lambda raw: raw[:-1], id="cut off at the end"),
        pytest.param(lambda raw: raw + b"\0{}", id="a NUL behind it"),
        pytest.param(lambda raw: raw.replace(b"(hidden)", b"\0", 1), id="a NUL within"),
        pytest.param(lambda raw: changed(raw, delivery_tag=None), id="no delivery tag"),
        pytest.param(lambda raw: changed(raw, delivery_tag="a\0b"), id="a NUL in its tag"),
        pytest.param(
            lambda raw: changed(raw, delivery_tag="Zo").replace(b'"Zo"', b'"Zo\xeb"'),
            id="a tag that is no UTF-8",
        ),
        pytest.param(lambda raw: changed(raw, delivery_info="debits"), id="no delivery info"),
        pytest.param(lambda raw: changed(raw, delivery_info={"exchange": ""}), id="no routing key"),
    ],
)
def test_what_could_not_be_registered_goes_to_the_poison_and_the_rest_is_taken(
    redis_client, sent, poison
):
    put(redis_client, sent[0], poison(sent[1]), sent[2])

    assert take(redis_client) == [(tag_of(sent[0]), sent[0]), (tag_of(sent[2]), sent[2])]
    assert redis_client.lrange(queues.QUARANTINE, 0, -1) == [poison(sent[1])]
    assert queues.in_hand(redis_client) == 2


@pytest.mark.parametrize("together", [True, False], ids=["in one batch", "in the next batch"])
def test_a_copy_of_a_message_in_hand_is_that_message(redis_client, sent, together):
    put(redis_client, sent[0])
    first = [] if together else take(redis_client)
    put(redis_client, sent[0])

    assert first + take(redis_client) == [(tag_of(sent[0]), sent[0])]
    assert queues.in_hand(redis_client) == 1
    assert redis_client.llen(queues.QUARANTINE) == 0


@pytest.mark.parametrize("together", [True, False], ids=["in one batch", "in the next batch"])
def test_another_message_under_a_tag_in_hand_takes_nothing_from_the_first(
    redis_client, sent, together
):
    thief = changed(sent[1], delivery_tag=tag_of(sent[0]))
    put(redis_client, sent[0])
    first = [] if together else take(redis_client)
    put(redis_client, thief)

    assert first + take(redis_client) == [(tag_of(sent[0]), sent[0])]
    assert redis_client.lrange(queues.QUARANTINE, 0, -1) == [thief]


def test_more_messages_than_luas_stack_holds_are_taken_at_once(redis_client, sent):
    raws = [changed(sent[0], delivery_tag=f"tag-{number}") for number in range(4500)]
    redis_client.lpush(QUEUE, *raws)

    assert take(redis_client, 5000) == [(f"tag-{number}", raws[number]) for number in range(4500)]
    assert queues.in_hand(redis_client) == 4500


def test_messages_of_every_priority_are_taken_the_urgent_ones_first(redis_client, sent):
    lists = queues.lists_of(QUEUE)
    for name, raw in zip((lists[3], lists[0]), sent, strict=False):
        redis_client.lpush(name, raw)

    assert [raw for _, raw in take(redis_client, 2)] == [sent[1], sent[0]]


def test_a_sweep_sets_aside_what_can_not_be_read_and_brings_back_the_rest(redis_client, sent):
    broken = sent[0].replace(b'"headers": {', b'"headers": {{', 1)
    put(redis_client, broken, sent[1])
    taken = dict(take(redis_client))
    assert list(taken) == [tag_of(sent[0]), tag_of(sent[1])]
    for tag in taken:
        redis_client.zadd(queues.UNACKED_INDEX, {tag: time.time() - 100_000})

    sweep()

    assert redis_client.lrange(queues.QUARANTINE, 0, -1) == [broken]
    (restored,) = redis_client.lrange(QUEUE, 0, -1)
    assert tag_of(restored) == tag_of(sent[1])
    assert queues.in_hand(redis_client) == 0


def test_a_message_larger_than_any_of_ours_is_a_dead_letter_that_keeps_its_beginning(
    redis_client, sent, database
):
    """One of 100 MB was loaded by a reader, again and again."""
    huge = changed(sent[0], correlation_id="x" * MAX_MESSAGE_BYTES)
    put(redis_client, sent[1], huge, sent[2])

    assert take(redis_client) == [(tag_of(raw), raw) for raw in sent[1:]]

    assert redis_client.memory_usage(queues.QUARANTINE) < 10_000
    dead_letters.collect(set(MESSAGES))
    with transaction() as ctx:
        (letter,) = dead_letters_table.list_open(ctx.session, limit=9)
    assert (letter.error, letter.queue) == ("MessageTooLarge", None)
    assert f"{len(huge)} bytes" in letter.reason
    assert letter.raw == huge[:2048]


def test_messages_behind_all_others_are_taken_last_and_only_if_asked_for(redis_client, sent):
    put(redis_client, *sent)
    queues.requeue_last(redis_client, QUEUE, take(redis_client, 2))

    assert take(redis_client, 1) == [(tag_of(sent[2]), sent[2])]
    assert queues.take(redis_client, QUEUE, 9, with_last=False) == []
    assert take(redis_client) == [(tag_of(raw), raw) for raw in sent[:2]]
