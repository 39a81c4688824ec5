"""Taking messages out of Redis without losing one: popped and registered in one step, on a lease.

Stock kombu pops a message and registers it in a second command; a worker killed in between has
lost it. Here one Lua script does both, into the same keys and in the same form (`unacked`,
`unacked_index`), so that a stock worker can take over at any time. What no worker could read goes
to the list of poison in the same step.

A registration's time is set back so that a stock sweep brings the message back after the lease
instead of after the whole visibility timeout; whoever holds a message renews its lease.
"""

import time
from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import redis

from worker.settings import settings

if TYPE_CHECKING:
    Redis = redis.Redis[bytes]  # type: ignore[type-arg]

UNACKED = "unacked"
UNACKED_INDEX = "unacked_index"
#: Messages that no worker could read, oldest at the right, until they are dead letters.
QUARANTINE = "billing.poison"
#: Dead letters that Postgres could not take when they died.
PARKED = "billing.parked"
#: kombu keeps a list for each of these priorities of a queue; 0 is the plain name.
PRIORITY_STEPS = (0, 3, 6, 9)
_PRIORITY_SEPARATOR = "\x06\x16"

#: Pops and registers; its first lines say how.
POP = Path(__file__).with_name("pop.lua").read_text()


def lists_of(queue: str) -> list[str]:
    """The Redis lists of a queue, one a priority."""
    return [f"{queue}{_PRIORITY_SEPARATOR}{step}" if step else queue for step in PRIORITY_STEPS]


def queue_of(list_name: str) -> str:
    """The queue that a Redis list belongs to."""
    return list_name.split(_PRIORITY_SEPARATOR, 1)[0]


def pop_command(lists: Sequence[str], count: int) -> tuple[str | int | float, ...]:
    """The command that pops and registers messages; `messages_of` reads its answer."""
    keys = (*lists, UNACKED, UNACKED_INDEX, QUARANTINE)
    return ("EVAL", POP, len(keys), *keys, count, lease_score())


def lease_score() -> float:
    """The registration time from which a stock sweep counts the visibility timeout."""
    config = settings()
    return time.time() - config.visibility_timeout_s + config.lease_s


@cache
def connection() -> "Redis":
    """This process's own Redis client, with timeouts on everything."""
    return redis.Redis.from_url(
        settings().redis_url,
        socket_timeout=10,
        socket_connect_timeout=5,
        socket_keepalive=True,
        health_check_interval=10,
    )


def take(client: "Redis", queue: str, count: int) -> list[tuple[str, bytes]]:
    """Pop and register up to `count` messages of the queue, as (delivery tag, raw message).

    They stay ours for the lease, and come back unless renewed or acknowledged.
    """
    command: Any = client.execute_command
    answer = command(*pop_command(lists_of(queue), count))
    return [message for _, messages in messages_of(answer) for message in messages]


def messages_of(answer: Sequence[Any]) -> Iterator[tuple[str, list[tuple[str, bytes]]]]:
    """What `pop_command` took: each list with its messages, as (delivery tag, raw message)."""
    for name, raws, tags in zip(answer[::3], answer[1::3], answer[2::3], strict=True):
        yield name.decode(), [(tag.decode(), raw) for tag, raw in zip(tags, raws, strict=True)]


def wait(client: "Redis", queue: str, seconds: float) -> None:
    """Wait until the queue has a message of plain priority, or so long.

    Moving the last message of a list onto its own end changes nothing; it blocks while empty.
    """
    client.blmove(queue, queue, seconds, "RIGHT", "RIGHT")  # type: ignore[arg-type]


def acknowledge(client: "Redis", tags: Sequence[str]) -> None:
    """Forget these messages: what they asked for is committed."""
    if tags:
        with client.pipeline() as pipe:
            pipe.zrem(UNACKED_INDEX, *tags)
            pipe.hdel(UNACKED, *tags)
            pipe.execute()


def renew(client: "Redis", tags: Iterable[str]) -> None:
    """Keep these messages for another lease."""
    if scores := dict.fromkeys(tags, lease_score()):
        client.zadd(UNACKED_INDEX, scores, xx=True)


_REQUEUE_FRONT = """
local raw = redis.call('HGET', KEYS[1], ARGV[1])
redis.call('ZREM', KEYS[2], ARGV[1])
redis.call('HDEL', KEYS[1], ARGV[1])
if raw then redis.call('RPUSH', KEYS[3], ARGV[2]) end
"""


def requeue_front(client: "Redis", queue: str, messages: Iterable[tuple[str, bytes]]) -> None:
    """Put messages that were not handled back to the front of the queue, as they were."""
    for tag, raw in messages:
        client.eval(_REQUEUE_FRONT, 3, UNACKED, UNACKED_INDEX, queue, tag, raw)


_REQUEUE_BACK = """
redis.call('ZREM', KEYS[2], ARGV[1])
if redis.call('HDEL', KEYS[1], ARGV[1]) == 1 then redis.call('LPUSH', KEYS[3], ARGV[2]) end
"""


def requeue_back(client: "Redis", queue: str, tag: str, raw: bytes) -> None:
    """Put a message that can't be handled yet to the end of the queue: others go first."""
    client.eval(_REQUEUE_BACK, 3, UNACKED, UNACKED_INDEX, queue, tag, raw)


def quarantine(client: "Redis", raw: bytes, tag: str) -> None:
    """Move a registered message to the poison."""
    with client.pipeline() as pipe:
        pipe.lpush(QUARANTINE, raw)
        pipe.zrem(UNACKED_INDEX, tag)
        pipe.hdel(UNACKED, tag)
        pipe.execute()


def quarantine_held(client: "Redis", tag: str) -> None:
    """Move a registered message to the poison, whose bytes only Redis has."""
    held: Any = client.hget(UNACKED, tag)
    if held is not None:
        # Without the brackets, exchange and routing key that it was registered with.
        quarantine(client, held[1:].rsplit(b",", 2)[0], tag)


def oldest(client: "Redis", queue: str) -> str | bytes | None:
    """The message that has waited longest in the queue, left where it is."""
    for name in lists_of(queue):
        if raw := client.lindex(name, -1):
            return raw
    return None


def in_hand(client: "Redis") -> int:
    """Messages that workers hold and have not acknowledged."""
    return client.zcard(UNACKED_INDEX)


def depth(client: "Redis", queue: str) -> int:
    """Messages that wait in the queue."""
    with client.pipeline() as pipe:
        for name in lists_of(queue):
            pipe.llen(name)
        return sum(pipe.execute())
