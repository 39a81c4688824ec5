"""The queues in Redis: messages are popped and registered in one step, on a lease.

Stock kombu pops a message and registers it with a second command; a worker killed in between loses
the message. Here one Lua script does both, with the same keys and format (`unacked`,
`unacked_index`), so that a stock worker can take over at any time. The same step moves unreadable
messages to the quarantine.

The registration's time is set back, so that a stock sweep returns the message after the lease
instead of after the whole visibility timeout. The worker that holds a message renews its lease.
"""

import datetime as dt
import json
import time
from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from billing_client.fields import MAX_MESSAGE_BYTES
from worker.settings import settings

if TYPE_CHECKING:
    Redis = redis.Redis[bytes]  # type: ignore[type-arg]

UNACKED = "unacked"
UNACKED_INDEX = "unacked_index"
#: Messages that no worker could read, oldest at the right, until they become dead letters.
QUARANTINE = "billing.poison"
#: What the quarantine has of a message that is too large: this, its size, a colon, its beginning.
TOO_LARGE = "billing.too_large:"
#: Dead messages that Postgres could not take.
PARKED = "billing.parked"
#: kombu has a list for each of these priorities of a queue; that of priority 0 has the plain name.
PRIORITY_STEPS = (0, 3, 6, 9)
_PRIORITY_SEPARATOR = "\x06\x16"
#: What kombu writes into a message that it requeues: its worker may have died of it.
_RETURNED = b'"redelivered": true'
#: How often the work of a message was begun and not ended, by its delivery tag, since it came back.
DEATHS = "billing.deaths"

#: Of every connection to Redis: without them a half-open one would block its process for ever. The
#: longest wait of a command, `wait`, takes one second.
TIMEOUTS: dict[str, Any] = {
    "socket_timeout": 5,
    "socket_connect_timeout": 3,
    "socket_keepalive": True,
    "health_check_interval": 10,
}
#: Each looks at some 1,000 keys.
MOST_SCANS = 100

#: The script that pops and registers; its first lines document it.
POP = (
    Path(__file__)
    .with_name("pop.lua")
    .read_text()
    .replace("@MAX_MESSAGE_BYTES@", str(MAX_MESSAGE_BYTES))
    .replace("@TOO_LARGE@", TOO_LARGE)
)


def lists_of(queue: str) -> list[str]:
    """Return the Redis lists of a queue, one for each priority."""
    return [f"{queue}{_PRIORITY_SEPARATOR}{step}" if step else queue for step in PRIORITY_STEPS]


def queue_of(list_name: str) -> str:
    """Return the queue that a Redis list belongs to."""
    return list_name.split(_PRIORITY_SEPARATOR, 1)[0]


def pop_command(lists: Sequence[str], count: int) -> tuple[str | int | float, ...]:
    """Return the command that pops and registers; `messages_of` reads its answer."""
    keys = (*lists, UNACKED, UNACKED_INDEX, QUARANTINE)
    return ("EVAL", POP, len(keys), *keys, count, lease_score())


def lease_score() -> float:
    """Return the registration time, from which a stock sweep counts the visibility timeout."""
    config = settings()
    return time.time() - config.visibility_timeout_s + config.lease_s


@cache
def connection() -> "Redis":
    """Return the Redis client of this process. Every wait has a timeout."""
    return redis.Redis.from_url(settings().redis_url, retry=Retry(NoBackoff(), 0), **TIMEOUTS)


def take(
    client: "Redis", queue: str, count: int, *, with_last: bool = True
) -> list[tuple[str, bytes]]:
    """Pop and register up to `count` messages of the queue, as (delivery tag, raw message).

    They are leased to the caller: unless renewed or acknowledged, they return to the queue.
    `with_last`: also those that `requeue_last` put behind all others.
    """
    command: Any = client.execute_command
    lists = lists_of(queue)
    answer = command(*pop_command(lists if with_last else lists[:-1], count))
    return [message for _, messages in messages_of(answer) for message in messages]


def messages_of(answer: Sequence[Any]) -> Iterator[tuple[str, list[tuple[str, bytes]]]]:
    """Iterate over an answer: each list with its (delivery tag, raw message) pairs."""
    for name, raws, tags in zip(answer[::3], answer[1::3], answer[2::3], strict=True):
        yield name.decode(), [(tag.decode(), raw) for tag, raw in zip(tags, raws, strict=True)]


def wait(client: "Redis", queue: str, seconds: float) -> None:
    """Wait until the queue has a message of priority 0, at most this long.

    Moving the last message of a list to its own end changes nothing, and blocks on an empty list.
    """
    client.blmove(queue, queue, seconds, "RIGHT", "RIGHT")  # type: ignore[arg-type]


def acknowledge(client: "Redis", tags: Sequence[str]) -> None:
    """Delete these messages, whose work is committed."""
    if tags:
        with client.pipeline() as pipe:
            pipe.zrem(UNACKED_INDEX, *tags)
            pipe.hdel(UNACKED, *tags)
            pipe.execute()


def renew(client: "Redis", tags: Iterable[str]) -> None:
    """Renew the leases of these messages."""
    if scores := dict.fromkeys(tags, lease_score()):
        client.zadd(UNACKED_INDEX, scores, xx=True)


def put_off(client: "Redis", tag: str, *, until: dt.datetime) -> None:
    """Let a registered message return to its queue at a time, as one whose lease ends then."""
    score = until.timestamp() - settings().visibility_timeout_s
    client.zadd(UNACKED_INDEX, {tag: score}, xx=True)


_REQUEUE = """
redis.call('ZREM', KEYS[2], ARGV[1])
if redis.call('HDEL', KEYS[1], ARGV[1]) == 1 then redis.call(ARGV[3], KEYS[3], ARGV[2]) end
"""


def requeue_front(client: "Redis", queue: str, messages: Iterable[tuple[str, bytes]]) -> None:
    """Requeue messages at the front, unchanged."""
    _requeue(client, queue, messages, "RPUSH")


def requeue_last(client: "Redis", queue: str, messages: Iterable[tuple[str, bytes]]) -> None:
    """Requeue messages behind all others, also behind those that are still to come.

    They go to the queue's list of the lowest priority, which any worker reads last.
    """
    _requeue(client, lists_of(queue)[-1], messages, "LPUSH")


def _requeue(
    client: "Redis", list_name: str, messages: Iterable[tuple[str, bytes]], push: str
) -> None:
    with client.pipeline(transaction=False) as pipe:
        for tag, raw in messages:
            pipe.eval(_REQUEUE, 3, UNACKED, UNACKED_INDEX, list_name, tag, raw, push)
        pipe.execute()


def is_returned(raw: bytes) -> bool:
    """Whether the message came back from a worker that may have died of it."""
    return _RETURNED in raw


def deaths(client: "Redis", tags: Sequence[str]) -> list[int]:
    """Return how often the work of each message was begun and not ended."""
    return [int(count or 0) for count in client.hmget(DEATHS, tags)] if tags else []


def begin(client: "Redis", tags: Iterable[str]) -> None:
    """Count a death of each message in advance; `end` takes it back, unless the process dies."""
    with client.pipeline(transaction=False) as pipe:
        for tag in tags:
            pipe.hincrby(DEATHS, tag, 1)
        pipe.execute()


def end(client: "Redis", tags: Sequence[str]) -> None:
    """Forget the deaths of messages whose work has ended."""
    if tags:
        client.hdel(DEATHS, *tags)


def quarantine(client: "Redis", raw: bytes, tag: str) -> None:
    """Move a registered message to the quarantine."""
    with client.pipeline() as pipe:
        pipe.lpush(QUARANTINE, raw)
        pipe.zrem(UNACKED_INDEX, tag)
        pipe.hdel(UNACKED, tag)
        pipe.execute()


def quarantine_held(client: "Redis", tag: str) -> None:
    """Move a registered message, whose bytes only Redis has, to the quarantine."""
    registered: Any = client.hget(UNACKED, tag)
    if registered is not None:
        # Without the brackets, exchange and routing key of the registration.
        quarantine(client, registered[1:].rsplit(b",", 2)[0], tag)


def oldest(client: "Redis", queue: str) -> str | bytes | None:
    """Return the message that has waited longest, without taking it."""
    for name in lists_of(queue):
        if raw := client.lindex(name, -1):
            return raw
    return None


def others(client: "Redis", known: Iterable[str]) -> dict[str, int]:
    """Count the messages in queues that are not `known`, by queue.

    Any app of this broker may have sent them. Lists that hold no messages are left out. Of a Redis
    with very many keys only a part is searched.
    """
    found: dict[str, int] = {}
    cursor = 0
    for _ in range(MOST_SCANS):
        answer: Any = client.scan(cursor, count=1000, _type="list")
        cursor, names = answer
        for raw_name in names:
            queue = queue_of(raw_name.decode("utf-8", "replace"))
            if queue not in {*known, QUARANTINE, PARKED} and _holds_tasks(client, raw_name):
                found[queue] = found.get(queue, 0) + client.llen(raw_name)
        if cursor == 0:
            break
    return found


def _holds_tasks(client: "Redis", name: bytes) -> bool:
    """Whether a list's oldest member is a task of Celery; replies of workers are none."""
    try:
        return "task" in json.loads(client.lindex(name, -1) or "null")["headers"]
    except (redis.ResponseError, ValueError, TypeError, LookupError, RecursionError):
        return False


def in_hand(client: "Redis") -> int:
    """Count the messages that workers have taken and not acknowledged."""
    return client.zcard(UNACKED_INDEX)


def depth(client: "Redis", queue: str) -> int:
    """Count the messages that wait in the queue."""
    with client.pipeline() as pipe:
        for name in lists_of(queue):
            pipe.llen(name)
        return sum(pipe.execute())
