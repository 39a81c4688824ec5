"""Stripe's messages in sets: a task that got one takes along what else waits in the queue.

Celery hands a task one message, and an event costs more to hand over and to commit by itself than
to apply. What was taken along is popped and registered in one step, as Celery's own messages are
(docs/decisions/0002): it is acknowledged once it is committed, put back on an error, and comes back
after its lease if this process dies. Whatever is no plain message about an event is Celery's to
deal with, and goes back at once.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple

import redis

from billing.errors import Malformed
from billing_client import InvalidMessage
from billing_client.messages import ApplyStripeEvent, StripeWebhook
from flows.stripe import apply as stripe_apply
from flows.stripe import receive as stripe_receive
from flows.stripe.apply import WAITING, Outcome
from worker.logs import logger
from worker.settings import settings
from worker.transport import envelope, queues

log = logger(__name__)

QUEUE = StripeWebhook.QUEUE
#: So many messages are fetched at once, and no more once a set has so many bytes: Stripe's bodies
#: are of some KiB, and may be of 1 MiB.
AT_ONCE, MOST_BYTES = 25, 4 * 1024 * 1024
#: What is taken along.
KINDS = {kind.TASK: kind for kind in (StripeWebhook, ApplyStripeEvent)}

StripeMessage = StripeWebhook | ApplyStripeEvent


class Along(NamedTuple):
    """A message that was taken along."""

    tag: str
    raw: bytes
    message: StripeMessage


def work(first: StripeMessage) -> list[Outcome]:
    """Keep and apply the event of this message, and those of the messages behind it.

    Raises a passing fault of the database: then the message comes again, and so do the others.
    """
    with _others() as others:
        messages = [first, *[each.message for each in others]]
        hooks = [each for each in messages if isinstance(each, StripeWebhook)]
        kept = stripe_receive.take_in(hooks)
    # From here on all of them are rows: what is left undone, the sweep takes up.
    told = [each.number for each in messages if isinstance(each, ApplyStripeEvent)]
    return stripe_apply.finish([*kept, *[Outcome(number, WAITING) for number in told]])


@contextmanager
def _others() -> Iterator[list[Along]]:
    """The messages that wait; acknowledged at the end, and put back on an error."""
    along = list(_take(settings().stripe_batch_size - 1))
    try:
        yield along
    except BaseException:
        _give_back([(each.tag, each.raw) for each in along])
        raise
    try:
        queues.acknowledge(queues.connection(), [each.tag for each in along])
    except redis.RedisError as error:
        # What is committed stays so: each comes again, and was seen before.
        log.warning("set_not_acknowledged", messages=len(along), error=type(error).__name__)


def _take(count: int) -> Iterator[Along]:
    """Take up to so many messages; without Redis, none."""
    size = 0
    while count > 0 and size < MOST_BYTES:
        try:
            taken = queues.take(queues.connection(), QUEUE, min(count, AT_ONCE))
        except redis.RedisError as error:
            log.warning("set_not_taken", error=type(error).__name__)
            return
        found = [(tag, raw, _read(raw)) for tag, raw in taken]
        yield from [Along(tag, raw, message) for tag, raw, message in found if message is not None]
        # These would only be taken once more.
        others = [(tag, raw) for tag, raw, message in found if message is None]
        _give_back(others)
        if others or len(taken) < AT_ONCE:
            return
        size += sum([len(raw) for _, raw in taken])
        count -= len(taken)


def _give_back(messages: Sequence[tuple[str, bytes]]) -> None:
    """Put messages back as they were; without Redis they come back after their lease."""
    try:
        queues.requeue_front(queues.connection(), QUEUE, reversed(messages))
    except redis.RedisError as error:
        log.warning("set_not_given_back", messages=len(messages), error=type(error).__name__)


def _read(raw: bytes) -> StripeMessage | None:
    """The message, or None for what Celery should see."""
    try:
        opened = envelope.read(raw, known_tasks=KINDS)
        return None if opened.positional else KINDS[opened.task].from_arguments(opened.arguments)
    except (Malformed, InvalidMessage):
        return None


def told(outcomes: Sequence[Outcome]) -> dict[str, object]:
    """What is said of a set in the log and in Flower: of one event which, of many how many."""
    if len(outcomes) == 1:
        (one,) = outcomes
        return {"event": one.number, "state": one.state, "reason": one.reason}
    states = [each.state.replace(" ", "_") for each in outcomes]
    return {"events": len(states), **{name: states.count(name) for name in sorted({*states})}}
