"""Dead letters of the worker: kept in Postgres, or on a Redis list until Postgres is back.

`collect` moves both Redis lists into the table: the quarantine (messages that no worker could read)
and the parked messages (those that Postgres could not take).
"""

import dataclasses
import hashlib
import json
import re
from collections.abc import Container, Iterable, Sequence
from typing import cast

from billing.errors import Malformed, MessageTooLarge
from billing.operations import dead_letters
from billing.operations.dead_letters import DeadMessage
from billing.postgres.transient import is_transient
from billing.usage.post import Answer
from billing_client.fields import MAX_MESSAGE_BYTES
from worker.database import transaction
from worker.logs import logger
from worker.transport import envelope, queues

log = logger(__name__)

#: The most rows that one transaction of `collect` writes.
COLLECTED_AT_ONCE = 100
#: A NUL as JSON writes it: an odd number of backslashes before u0000.
_NUL = re.compile(r"(?<!\\)(?:\\\\)*\\u0000")


def keep(message: DeadMessage) -> None:
    """Keep a dead message, whatever the state of Postgres.

    Raises redis.RedisError if Redis is away, too. A raw message is still registered in Redis, so
    for one it raises the error of Postgres.
    """
    try:
        _write([storable(message)])
    except Exception as error:
        # Also after a bug: on the list the message is not lost, and an operator sees it.
        if message.raw is not None:
            raise
        queues.connection().lpush(queues.PARKED, json.dumps(dataclasses.asdict(message)))
        because = type(error).__name__
        log.warning("dead_letter_parked", task=message.task, error=message.error, because=because)


def storable(message: DeadMessage) -> DeadMessage:
    """Return the message in a form that Postgres accepts.

    Its jsonb has no NUL, no lone surrogate and no NaN: arguments with these are kept as bytes. No
    replay could succeed, so the dead letter names no queue.
    """
    if message.arguments is None or _fits_jsonb(message.arguments):
        return message
    raw = json.dumps(message.arguments).encode()
    return dataclasses.replace(message, arguments=None, raw=raw, queue=None)


def _fits_jsonb(arguments: dict[str, object]) -> bool:
    try:
        text = json.dumps(arguments, allow_nan=False, ensure_ascii=False)
        text.encode()
    except ValueError:  # a NaN, or a lone surrogate
        return False
    return _NUL.search(text) is None


def from_raw(raw: bytes, problem: str) -> DeadMessage:
    """Return the dead message for these bytes, with task and queue if they can be read."""
    task, queue = _task_and_queue(raw)
    return DeadMessage(
        message_id=f"raw:{hashlib.sha256(raw).hexdigest()[:32]}",
        error="Malformed",
        reason=str(Malformed(problem=problem)),
        queue=queue,
        task=task,
        raw=raw,
    )


def from_rejected(message_ids: Iterable[str], answers: Iterable[Answer]) -> list[DeadMessage]:
    """Return a dead message for each rejected answer, so that each can be replayed by itself."""
    return [
        DeadMessage(
            message_id=message_id,
            error=answer.error.name,
            reason=str(answer.error),
            queue=answer.message.QUEUE,
            task=answer.message.TASK,
            arguments=answer.message.arguments(),
        )
        for message_id, answer in zip(message_ids, answers, strict=True)
        if answer.error is not None and answer.is_rejected
    ]


def _task_and_queue(raw: bytes) -> tuple[str | None, str | None]:
    try:
        message = json.loads(raw)
        task, queue = message["headers"]["task"], message["properties"]["delivery_info"]
        return _valid_name(task), _valid_name(queue["routing_key"])
    except (ValueError, LookupError, TypeError, RecursionError):
        return None, None


def _valid_name(value: object) -> str | None:
    """Return the value if a task or a queue could have it as its name."""
    return value if isinstance(value, str) and value.isprintable() and len(value) < 256 else None


def collect(known_tasks: Container[str]) -> int:
    """Move both Redis lists into the table; return how many. Safe to run twice at once."""
    return sum(_collect(source, known_tasks) for source in (queues.QUARANTINE, queues.PARKED))


def _collect(source: str, known_tasks: Container[str]) -> int:
    client = queues.connection()
    moved = 0
    while raws := cast("list[bytes]", client.lrange(source, -COLLECTED_AT_ONCE, -1)):
        is_parked = source == queues.PARKED
        messages = [_parked(raw) if is_parked else _unread(raw, known_tasks) for raw in raws]
        kept = [raw for raw, is_kept in zip(raws, _kept(messages), strict=True) if is_kept]
        for raw in kept:
            # By value, not by place: another collector may have removed its share.
            client.lrem(source, -1, raw)  # type: ignore[arg-type]
        moved += len(kept)
        if len(kept) < len(raws):
            break
    return moved


def _kept(messages: Sequence[DeadMessage]) -> list[bool]:
    """Write the messages; one that Postgres refuses must not hold up the others."""
    try:
        _write(messages)
        return [True] * len(messages)
    except Exception as error:
        if is_transient(error):
            raise
        if len(messages) == 1:
            name = type(error).__name__
            log.exception("dead_letter_refused", task=messages[0].task, error=name)
            return [False]
    return [is_kept for message in messages for is_kept in _kept([message])]


def _write(messages: Sequence[DeadMessage]) -> None:
    with transaction() as ctx:
        dead_letters.keep(ctx, messages)


def count_in_redis() -> int:
    """Count the messages on both Redis lists."""
    client = queues.connection()
    return client.llen(queues.QUARANTINE) + client.llen(queues.PARKED)


def _parked(raw: bytes) -> DeadMessage:
    try:
        return storable(DeadMessage(**json.loads(raw)))
    except (ValueError, TypeError):
        return from_raw(raw, f"on the list {queues.PARKED}, and no dead letter")


def _unread(raw: bytes, known_tasks: Container[str]) -> DeadMessage:
    if raw.startswith(queues.TOO_LARGE.encode()):
        return _too_large(raw)
    problem = "its delivery tag or delivery info is missing, or another message has the tag"
    try:
        envelope.read(raw, known_tasks=known_tasks)
    except Malformed as error:
        problem = str(error.facts["problem"])
    return from_raw(raw, problem)


def _too_large(kept: bytes) -> DeadMessage:
    """Return the dead message of what the quarantine has of a message that is too large."""
    size, _, beginning = kept.removeprefix(queues.TOO_LARGE.encode()).partition(b":")
    error = MessageTooLarge(bytes=int(size), most=MAX_MESSAGE_BYTES)
    # Without a queue: what is cut can't be replayed.
    dead = from_raw(beginning, "")
    return dataclasses.replace(dead, error=error.name, reason=str(error), queue=None)
