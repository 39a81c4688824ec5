"""Messages that came back: the reader that had them may have died of one of them.

Their deaths are counted in Redis before they are opened. The first time they are tried in small
groups, and after another death each alone, so that a message that kills is found by its third
death, and only it becomes a dead letter.
"""

import dataclasses
from collections.abc import Container, Iterator, Sequence
from contextlib import contextmanager, suppress

import redis

from billing.errors import ProcessKilled
from worker import dead_letters
from worker.debits import batch
from worker.debits.batch import QUEUE, Item
from worker.logs import logger
from worker.transport import queues

log = logger(__name__)

#: Messages that are tried together after their first death.
GROUP = 100
#: Deaths after which a message is a dead letter: in a batch, in a group, and alone.
MOST_DEATHS = 3


def groups(client: "queues.Redis", items: Sequence[Item]) -> Iterator[Sequence[Item]]:
    """Divide messages that came back into the groups to try; set aside those that killed thrice."""
    by_deaths: dict[int, list[Item]] = {0: [], 1: [], 2: []}
    for item, count in zip(items, queues.deaths(client, [i.tag for i in items]), strict=True):
        by_deaths[min(count, 2)].append(item)
    _set_aside(client, by_deaths[2])
    yield from ([item] for item in by_deaths[1])
    for start in range(0, len(by_deaths[0]), GROUP):
        yield by_deaths[0][start : start + GROUP]


@contextmanager
def counting(
    client: "queues.Redis", items: Sequence[Item], known_tasks: Container[str]
) -> Iterator[Sequence[Item]]:
    """Open the messages of a group; if the process dies inside, each of them has one more death."""
    tags = [item.tag for item in items]
    queues.begin(client, tags)
    try:
        yield [batch.open_item(item.tag, item.raw, known_tasks) for item in items]
    finally:
        # If Redis is away, they are merely tried more carefully.
        with suppress(redis.RedisError):
            queues.end(client, tags)


def _set_aside(client: "queues.Redis", items: Sequence[Item]) -> None:
    """Keep messages as dead letters, unopened: opening them may be what kills."""
    tags = [item.tag for item in items]
    for item in items:
        error = ProcessKilled(times=MOST_DEATHS)
        log.error("debit_killed_its_reader", error=error.name)
        dead = dataclasses.replace(
            dead_letters.from_raw(item.raw, ""),
            error=error.name,
            reason=str(error),
            queue=QUEUE,
            attempts=MOST_DEATHS,
        )
        dead_letters.keep(dead)
    queues.acknowledge(client, tags)
    queues.end(client, tags)
