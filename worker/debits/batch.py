"""Batches of the debit queue: taken, opened, and the next one fetched ahead."""

from collections.abc import Container, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass

import redis

from billing.errors import Malformed
from billing.operations.dead_letters import Letter
from billing.usage.post import Message
from billing_client import InvalidMessage
from billing_client.messages import Capture, Debit, DebitMany, DrainInbox, Release, Reverse
from worker import dead_letters
from worker.settings import settings
from worker.transport import envelope, queues
from worker.transport.envelope import Envelope

QUEUE = Debit.QUEUE
#: The messages that the queue may contain, by task.
KINDS = {kind.TASK: kind for kind in (Debit, DebitMany, Reverse, Capture, Release, DrainInbox)}


@dataclass(slots=True)
class Item:
    """A Celery message of a batch.

    Attributes:
        tag: Its delivery tag.
        raw: Its bytes.
        envelope: Its envelope, if it could be opened.
        messages: The messages that it carries: one, or many of `credits.debit_many`.
        is_doorbell: Whether it only says that rows wait in the inbox.
        fault: The dead letter of an item that could not be read.
    """

    tag: str
    raw: bytes
    envelope: Envelope | None = None
    messages: Sequence[Message] = ()
    is_doorbell: bool = False
    fault: Letter | None = None


def open_item(tag: str, raw: bytes, known_tasks: Container[str]) -> Item:
    """Open a Celery message; one that can't be read has its dead letter as `fault`."""
    try:
        opened = envelope.read(raw, known_tasks=known_tasks)
    except Malformed as error:
        return Item(tag, raw, fault=dead_letters.of_raw(raw, str(error.facts["problem"])))
    try:
        kind = KINDS.get(opened.task)
        if kind is None:
            raise Malformed(problem=f"{opened.task} does not belong into the queue {QUEUE}")
        if opened.positional:
            raise InvalidMessage("args", f"{opened.task} takes keyword arguments only")
        message = _message(kind, opened.arguments)
    except (Malformed, InvalidMessage) as error:
        return Item(tag, raw, opened, fault=letter_of(opened, error))
    if isinstance(message, DebitMany):
        return Item(tag, raw, opened, message.debits)
    if isinstance(message, DrainInbox):
        return Item(tag, raw, opened, is_doorbell=True)
    return Item(tag, raw, opened, (message,))


def _message(kind: type[ClientMessage], arguments: dict[str, Any]) -> ClientMessage:
    """Build the message. Raises InvalidMessage, which names the field."""
    try:
        return kind(**arguments)
    except TypeError:  # a field is missing, or is none of the message's
        return kind.from_arguments(arguments)


def ids(items: Sequence[Item]) -> list[str]:
    """The id of each message: its envelope's, with a number where that carries many."""
    return [
        item.envelope.message_id
        if item.envelope.task != DebitMany.TASK
        else f"{item.envelope.message_id}:{number}"
        for item in items
        if item.envelope is not None
        for number, _ in enumerate(item.messages)
    ]


def letter_of(opened: Envelope, error: Exception) -> Letter:
    """The dead letter of a message that could be opened."""
    return Letter(
        message_id=opened.message_id,
        error=type(error).__name__,
        reason=str(error),
        queue=QUEUE,
        task=opened.task,
        arguments=opened.arguments,
        attempts=opened.retries + 1,
    )


class Prefetch:
    """Takes batches off the queue.

    While a full batch is applied, which mostly waits for Postgres, a thread takes the next one.
    Both are leased: what a killed reader had taken comes back.
    """

    def __init__(self, client: "queues.Redis", known_tasks: Container[str]) -> None:
        self._redis, self._known_tasks = client, known_tasks
        self._limit = self._fetch = settings().debit_set_size
        self._was_full = False
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="debit-prefetch")
        self._ahead: Future[Sequence[Item]] | None = None

    def next(self) -> Sequence[Item]:
        """The batch that was taken ahead, or one taken now; empty if nothing waits."""
        if self._ahead is None:
            return self.take()
        ahead, self._ahead = self._ahead, None
        return ahead.result()

    def take(self) -> Sequence[Item]:
        """Take a batch now.

        A message of many debits counts as many: hundreds of such messages in one transaction would
        keep accounts locked for longer than others wait, and than a lease lasts.
        """
        taken = queues.take(self._redis, QUEUE, self._fetch)
        self._was_full = len(taken) >= self._fetch
        items = [open_item(tag, raw, self._known_tasks) for tag, raw in taken]
        size = kept = 0
        for item in items:
            size += max(len(item.messages), 1)
            kept += size <= self._limit or kept == 0
        if items[kept:]:
            self._requeue(items[kept:])
        if items:
            # At most twice as many: where large and small messages take turns, they would otherwise
            # be fetched and given back.
            self._fetch = max(min(self._limit * len(items) // size, self._fetch * 2), 1)
        return items[:kept]

    def take_ahead(self) -> None:
        """Begin to take the next batch, if the last one was full; a short queue is for others."""
        if self._was_full and self._ahead is None:
            self._ahead = self._thread.submit(self.take)

    def tags_ahead(self) -> list[str]:
        """The delivery tags of the batch that was taken ahead."""
        ahead = self._ahead
        if ahead is None or not ahead.done() or ahead.exception() is not None:
            return []
        return [item.tag for item in ahead.result()]

    def close(self) -> None:
        """Give back the batch that was taken ahead."""
        ahead, self._ahead = self._ahead, None
        self._thread.shutdown()
        # Where Redis is away, they come back after their lease.
        if ahead is not None and ahead.exception() is None:
            with suppress(redis.RedisError):
                self._requeue(ahead.result())

    def _requeue(self, items: Sequence[Item]) -> None:
        queues.requeue_front(self._redis, QUEUE, [(i.tag, i.raw) for i in reversed(items)])
