"""Read more webhooks from the queue: a task that got one message takes the waiting ones, too.

Celery hands a task one message, and handing over and committing one event costs more than applying
it. More messages are popped and registered in one step, as Celery's own are (docs/decisions/0002).
They are acknowledged once they are committed, put back on an error, and come back after their lease
if this process dies. A message of any other form is Celery's, and goes back at once.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple

import redis

from billing.errors import Malformed
from billing.stripe.inbox import WAITING, Outcome
from billing_client import InvalidMessage
from billing_client.messages import ApplyStripeEvent, StripeWebhook
from flows.stripe import apply as stripe_apply
from flows.stripe import receive as stripe_receive
from worker.logs import logger
from worker.settings import settings
from worker.transport import envelope, queues

log = logger(__name__)

QUEUE = StripeWebhook.QUEUE
#: Messages that are fetched at once, and the bytes from which on a batch takes no more: Stripe's
#: bodies have some KiB, and may have 1 MiB.
AT_ONCE, MOST_BYTES = 25, 4 * 1024 * 1024
#: The messages that a batch takes.
KINDS = {kind.TASK: kind for kind in (StripeWebhook, ApplyStripeEvent)}

StripeMessage = StripeWebhook | ApplyStripeEvent


class Taken(NamedTuple):
    """A message that was taken from the queue, as it was and read."""

    tag: str
    raw: bytes
    message: StripeMessage


def work(first: StripeMessage, *, is_alone: bool = False) -> list[Outcome]:
    """Store and apply the event of this message, and those of the messages behind it.

    `is_alone`: without those behind it, because a process may have died of this one. Raises a
    transient error of the database: then all of the messages come again.
    """
    with _more_messages(0 if is_alone else settings().stripe_batch_size - 1) as others:
        messages = [first, *[taken.message for taken in others]]
        webhooks = [item for item in messages if isinstance(item, StripeWebhook)]
        outcomes = stripe_receive.receive(webhooks)
    # From here on all of them are rows, and the sweep takes up what is not applied.
    numbers = [item.number for item in messages if isinstance(item, ApplyStripeEvent)]
    outcomes += [Outcome(number, WAITING) for number in numbers]
    has_open = any(outcome.state == WAITING for outcome in outcomes)
    return stripe_apply.finish(outcomes) if has_open else outcomes


@contextmanager
def _more_messages(count: int) -> Iterator[list[Taken]]:
    """Take waiting messages; acknowledge them at the end, or put them back on an error."""
    taken = list(_take(count))
    try:
        yield taken
    except BaseException:
        _put_back([(message.tag, message.raw) for message in taken])
        raise
    if not taken:
        return
    try:
        queues.acknowledge(queues.connection(), [message.tag for message in taken])
    except redis.RedisError as error:
        # The events are committed; the messages come again, and are recognised.
        log.warning("batch_not_acknowledged", messages=len(taken), error=type(error).__name__)


def _take(count: int) -> Iterator[Taken]:
    """Take up to `count` messages; none while Redis is away."""
    size = 0
    while count > 0 and size < MOST_BYTES:
        try:
            taken = queues.take(queues.connection(), QUEUE, min(count, AT_ONCE))
        except redis.RedisError as error:
            log.warning("batch_not_taken", error=type(error).__name__)
            return
        messages = [(tag, raw, _read(raw)) for tag, raw in taken]
        yield from [Taken(tag, raw, item) for tag, raw, item in messages if item is not None]
        # Celery's messages would only be taken once more.
        others = [(tag, raw) for tag, raw, item in messages if item is None]
        if others:
            _put_back(others)
        if others or len(taken) < AT_ONCE:
            return
        size += sum([len(raw) for _, raw in taken])
        count -= len(taken)


def _put_back(messages: Sequence[tuple[str, bytes]]) -> None:
    """Put messages back as they were; while Redis is away they come back after their lease."""
    if not messages:
        return
    try:
        queues.requeue_front(queues.connection(), QUEUE, reversed(messages))
    except redis.RedisError as error:
        log.warning("batch_not_put_back", messages=len(messages), error=type(error).__name__)


def _read(raw: bytes) -> StripeMessage | None:
    """Read a message; None for one that is Celery's, or that a process may have died of."""
    if queues.is_returned(raw):
        return None
    try:
        opened = envelope.read(raw, known_tasks=KINDS)
        return None if opened.positional else KINDS[opened.task].from_arguments(opened.arguments)
    except (Malformed, InvalidMessage):
        return None


def summary(outcomes: Sequence[Outcome]) -> dict[str, object]:
    """Summarize a batch for the log and Flower: one event by its outcome, many by counts."""
    if len(outcomes) == 1:
        (outcome,) = outcomes
        return {"event": outcome.number, "state": outcome.state, "reason": outcome.reason}
    states = [outcome.state.replace(" ", "_") for outcome in outcomes]
    return {"events": len(states), **{name: states.count(name) for name in sorted({*states})}}
