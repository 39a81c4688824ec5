"""Takes debits off the queue in sets, the next one already while the last is being applied."""

from collections.abc import Container, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress

import redis

from worker.debits import items as debit_items
from worker.debits.items import QUEUE, Item
from worker.settings import settings
from worker.transport import queues


class SetTaker:
    """Takes sets, and opens their messages.

    While a full set is applied, which mostly waits for Postgres, a thread takes the next one. Both
    are on a lease: what a killed reader had taken comes back.
    """

    def __init__(self, client: "queues.Redis", known_tasks: Container[str]) -> None:
        self._redis, self._known_tasks = client, known_tasks
        self._limit = self._fetch = settings().debit_set_size
        self._was_full = False
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="debit-taker")
        self._coming: Future[Sequence[Item]] | None = None

    def next(self) -> Sequence[Item]:
        """The set that was taken ahead, or one taken now; empty if nothing waits."""
        if self._coming is None:
            return self.take()
        coming, self._coming = self._coming, None
        return coming.result()

    def take(self) -> Sequence[Item]:
        """A set, taken now.

        A message of many debits is a set by itself: hundreds of them in one transaction would keep
        accounts locked for longer than others wait, and a lease lasts.
        """
        taken = queues.take(self._redis, QUEUE, self._fetch)
        self._was_full = len(taken) >= self._fetch
        items = [debit_items.read(tag, raw, self._known_tasks) for tag, raw in taken]
        size = kept = 0
        for item in items:
            size += item.size
            kept += size <= self._limit or kept == 0
        self._give_back(items[kept:])
        if items:
            # Twice as many at most: large and small by turns would else be fetched and given back.
            self._fetch = max(min(self._limit * len(items) // size, self._fetch * 2), 1)
        return items[:kept]

    def take_ahead(self) -> None:
        """Begin to take the next set, if the last one was full; a shorter queue is for others."""
        if self._was_full and self._coming is None:
            self._coming = self._thread.submit(self.take)

    def tags_ahead(self) -> list[str]:
        """The delivery tags of what was taken ahead."""
        coming = self._coming
        if coming is None or not coming.done() or coming.exception() is not None:
            return []
        return [item.tag for item in coming.result()]

    def close(self) -> None:
        """Give back what was taken ahead."""
        coming, self._coming = self._coming, None
        self._thread.shutdown()
        # Where Redis is away, they come back after their lease.
        if coming is not None and coming.exception() is None:
            with suppress(redis.RedisError):
                self._give_back(coming.result())

    def _give_back(self, items: Sequence[Item]) -> None:
        queues.give_back(self._redis, QUEUE, [(i.tag, i.raw) for i in reversed(items)])
