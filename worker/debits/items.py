"""One message of a set of debits: what it asks for, or why it could not be read."""

from collections.abc import Container, Sequence
from dataclasses import dataclass

from billing.errors import Malformed
from billing.operations.dead_letters import Letter
from billing.usage.post import Message
from billing_client import InvalidMessage
from billing_client.messages import Capture, Debit, DebitMany, DrainInbox, Release, Reverse
from worker import dead_letters
from worker.transport import envelope
from worker.transport.envelope import Envelope

QUEUE = Debit.QUEUE
#: What the queue may hold.
KINDS = {kind.TASK: kind for kind in (Debit, DebitMany, Reverse, Capture, Release, DrainInbox)}


@dataclass(slots=True)
class Item:
    """A message of a set: opened, or why it could not be."""

    tag: str
    raw: bytes
    envelope: Envelope | None = None
    messages: Sequence[Message] = ()
    fault: Letter | None = None

    @property
    def size(self) -> int:
        """How much of a set it makes."""
        return max(len(self.messages), 1)

    @property
    def is_doorbell(self) -> bool:
        """Whether it says no more than that rows wait in the inbox."""
        return self.envelope is not None and self.envelope.task == DrainInbox.TASK


def read(tag: str, raw: bytes, known_tasks: Container[str]) -> Item:
    """Open a message; one that can't be read has its letter as `fault`."""
    try:
        opened = envelope.read(raw, known_tasks=known_tasks)
    except Malformed as error:
        return Item(tag, raw, fault=dead_letters.of_raw(raw, str(error.facts["problem"])))
    item = Item(tag, raw, opened)
    try:
        item.messages = _messages(opened)
    except (Malformed, InvalidMessage) as error:
        item.fault = letter_of(opened, error)
    return item


def _messages(opened: Envelope) -> Sequence[Message]:
    """What an envelope asks for. Raises Malformed or InvalidMessage."""
    kind = KINDS.get(opened.task)
    if kind is None:
        raise Malformed(problem=f"{opened.task} has no business in the queue {QUEUE}")
    if opened.positional:
        raise InvalidMessage("args", f"{opened.task} takes keyword arguments only")
    message = kind.from_arguments(opened.arguments)
    if isinstance(message, DebitMany):
        return message.debits
    return () if isinstance(message, DrainInbox) else (message,)


def ids(items: Sequence[Item]) -> list[str]:
    """An id for each message: its own, or its envelope's and its number where that holds many."""
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
