"""Batches of the debit queue: popped, opened, and the next one fetched ahead."""

import time
from collections.abc import Container, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import redis

from billing.errors import Malformed
from billing.operations.dead_letters import DeadMessage
from billing.usage.post import Message
from billing_client import InvalidMessage
from billing_client.message import Message as AnyMessage
from billing_client.messages import Capture, Debit, DebitMany, DrainInbox, Release, Reverse
from worker import dead_letters
from worker.settings import settings
from worker.transport import envelope, queues
from worker.transport.envelope import Envelope

QUEUE = Debit.QUEUE
#: Seconds between two reads of the messages of locked accounts, which `requeue_last` put there.
READ_LAST_EVERY_S = 0.5
#: The messages that the queue may contain, by task.
KINDS: dict[str, type[AnyMessage]] = {
    kind.TASK: kind for kind in (Debit, DebitMany, Reverse, Capture, Release, DrainInbox)
}


@dataclass(slots=True)
class Item:
    """A Celery message of a batch."""

    tag: str  # of its delivery
    raw: bytes
    envelope: Envelope | None = None  # if it could be opened
    messages: Sequence[Message] = ()  # one, or many of `credits.debit_many`
    is_doorbell: bool = False  # it only says that rows wait in the inbox
    dead: DeadMessage | None = None  # of an item that could not be read
    is_returned: bool = False  # a reader may have died of it: not opened with the others


def open_item(tag: str, raw: bytes, known_tasks: Container[str]) -> Item:
    """Open a Celery message; one that can't be read gets its dead message."""
    try:
        opened = envelope.read(raw, known_tasks=known_tasks)
    except Malformed as error:
        return Item(tag, raw, dead=dead_letters.from_raw(raw, error.facts["problem"]))
    try:
        kind = KINDS.get(opened.task)
        if kind is None:
            raise Malformed(problem=f"{opened.task} does not belong in the queue {QUEUE}")
        if opened.positional:
            raise InvalidMessage("args", f"must be empty: {kind.TASK} takes keyword arguments only")
        try:
            message: Any = kind(**opened.arguments)
        except TypeError:  # a field is missing or unknown; this names it
            message = kind.from_arguments(opened.arguments)
    except (Malformed, InvalidMessage) as error:
        return Item(tag, raw, opened, dead=dead_message(opened, error))
    if isinstance(message, DebitMany):
        return Item(tag, raw, opened, message.debits)
    if isinstance(message, DrainInbox):
        return Item(tag, raw, opened, is_doorbell=True)
    return Item(tag, raw, opened, (message,))


def ids(items: Sequence[Item]) -> list[str]:
    """Return an id for each message: the envelope's, with a number if the envelope has many."""
    return [
        item.envelope.message_id
        if item.envelope.task != DebitMany.TASK
        else f"{item.envelope.message_id}:{number}"
        for item in items
        if item.envelope is not None
        for number, _ in enumerate(item.messages)
    ]


def dead_message(opened: Envelope, error: Exception) -> DeadMessage:
    """Return the dead message for an envelope that could be opened."""
    return DeadMessage(
        message_id=opened.message_id,
        error=type(error).__name__,
        reason=str(error),
        queue=QUEUE,
        task=opened.task,
        arguments=opened.arguments,
        attempts=opened.retries + 1,
    )


class Prefetch:
    """The batches of the queue.

    While a full batch is applied, which mostly waits for Postgres, a thread takes the next one.
    Both are leased, so the messages of a killed reader return to the queue.
    """

    def __init__(self, client: "queues.Redis", known_tasks: Container[str]) -> None:
        self._redis, self._known_tasks = client, known_tasks
        self._limit = self._fetch = settings().debit_batch_size
        self._was_full = False
        self._last_at = 0.0
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="debit-prefetch")
        self._ahead: Future[Sequence[Item]] | None = None

    def next(self) -> Sequence[Item]:
        """Return the batch that was taken ahead, or take one now; empty if nothing waits."""
        if self._ahead is None:
            return self.take()
        ahead, self._ahead = self._ahead, None
        return ahead.result()

    def take(self) -> Sequence[Item]:
        """Take a batch now.

        A message of many debits counts as many: hundreds of such messages in one transaction would
        lock accounts for longer than others wait for them, and for longer than a lease lasts.
        """
        with_last = time.monotonic() >= self._last_at
        popped = queues.take(self._redis, QUEUE, self._fetch, with_last=with_last)
        if with_last:
            self._last_at = time.monotonic() + READ_LAST_EVERY_S
        self._was_full = len(popped) >= self._fetch
        items = [
            Item(tag, raw, is_returned=True)
            if queues.is_returned(raw)
            else open_item(tag, raw, self._known_tasks)
            for tag, raw in popped
        ]
        size = kept = 0
        for item in items:
            size += max(len(item.messages), 1)
            kept += size <= self._limit or kept == 0
        if items[kept:]:
            self._requeue(items[kept:])
        if items:
            # At most doubled: where large and small messages alternate, the reader would otherwise
            # fetch messages and requeue them.
            self._fetch = max(min(self._limit * len(items) // size, self._fetch * 2), 1)
        return items[:kept]

    def take_ahead(self) -> None:
        """Begin to take the next batch if the last was full; a short queue is left to others."""
        if self._was_full and self._ahead is None:
            self._ahead = self._thread.submit(self.take)

    def tags_ahead(self) -> list[str]:
        """Return the delivery tags of the batch that was taken ahead."""
        ahead = self._ahead
        if ahead is None or not ahead.done() or ahead.exception() is not None:
            return []
        return [item.tag for item in ahead.result()]

    def close(self) -> None:
        """Requeue the batch that was taken ahead."""
        ahead, self._ahead = self._ahead, None
        self._thread.shutdown()
        # If Redis is away, the messages return after their lease.
        if ahead is not None and ahead.exception() is None:
            with suppress(redis.RedisError):
                self._requeue(ahead.result())

    def _requeue(self, items: Sequence[Item]) -> None:
        queues.requeue_front(self._redis, QUEUE, [(i.tag, i.raw) for i in reversed(items)])
