"""How a message dies: into Postgres, or onto a list in Redis until Postgres is back.

`collect` brings both lists of Redis (poison that no worker could read, letters that Postgres could
not take) into the table of dead letters.
"""

import dataclasses
import hashlib
import json
import re
from collections.abc import Container, Sequence
from typing import cast

from billing.errors import Malformed
from billing.operations import dead_letters
from billing.operations.dead_letters import Letter
from worker.database import is_transient, transaction
from worker.logs import logger
from worker.transport import envelope, queues

log = logger(__name__)

#: Rows that one transaction of `collect` writes at most.
COLLECTED_AT_ONCE = 100
#: A NUL as JSON writes it: an odd number of backslashes before u0000.
_NUL = re.compile(r"(?<!\\)(?:\\\\)*\\u0000")


def keep(letter: Letter) -> None:
    """Keep a dead letter, whatever the state of Postgres.

    Raises redis.RedisError if Redis is away, too. For what came as bytes it raises what Postgres
    says, for that is still registered in Redis.
    """
    try:
        _write([storable(letter)])
    except Exception as error:
        # Also for a bug: a letter on the list is not lost, and a person sees it there.
        if letter.raw is not None:
            raise
        queues.connection().lpush(queues.PARKED, json.dumps(dataclasses.asdict(letter)))
        log.warning(
            "dead_letter_parked",
            task=letter.task,
            error=letter.error,
            because=type(error).__name__,
        )


def storable(letter: Letter) -> Letter:
    """The letter in a form that Postgres takes.

    Its jsonb knows no NUL, no half of a surrogate pair and no NaN: arguments with such are kept as
    bytes. No replay could succeed, so the letter names no queue to send them to.
    """
    if letter.arguments is None or _fits_jsonb(letter.arguments):
        return letter
    raw = json.dumps(letter.arguments).encode()
    return dataclasses.replace(letter, arguments=None, raw=raw, queue=None)


def _fits_jsonb(arguments: dict[str, object]) -> bool:
    try:
        text = json.dumps(arguments, allow_nan=False, ensure_ascii=False)
        text.encode()
    except ValueError:  # a NaN, or a surrogate alone
        return False
    return _NUL.search(text) is None


def of_raw(raw: bytes, problem: str) -> Letter:
    """The dead letter of a message as it lay in Redis; its task and queue if they can be read."""
    task, queue = _task_and_queue(raw)
    return Letter(
        message_id=f"raw:{hashlib.sha256(raw).hexdigest()[:32]}",
        error="Malformed",
        reason=problem,
        queue=queue,
        task=task,
        raw=raw,
    )


def _task_and_queue(raw: bytes) -> tuple[str | None, str | None]:
    try:
        message = json.loads(raw)
        task, queue = message["headers"]["task"], message["properties"]["delivery_info"]
        return _printable(task), _printable(queue["routing_key"])
    except (ValueError, LookupError, TypeError, RecursionError):
        return None, None


def _printable(value: object) -> str | None:
    """A name as Celery's are; None for one that no queue and no task could have."""
    return value if isinstance(value, str) and value.isprintable() and len(value) < 256 else None


def collect(known_tasks: Container[str]) -> int:
    """Move what waits in Redis into the table; returns how many. Safe to run twice at once."""
    return sum(_empty(source, known_tasks) for source in (queues.QUARANTINE, queues.PARKED))


def _empty(source: str, known_tasks: Container[str]) -> int:
    client = queues.connection()
    moved = 0
    while raws := cast("list[bytes]", client.lrange(source, -COLLECTED_AT_ONCE, -1)):
        letters = [
            _parked(raw) if source == queues.PARKED else of_raw(raw, _fault(raw, known_tasks))
            for raw in raws
        ]
        kept = [raw for raw, is_kept in zip(raws, _kept(letters), strict=True) if is_kept]
        for raw in kept:
            # By value, not by place: another collector may have taken its share already.
            client.lrem(source, -1, raw)  # type: ignore[arg-type]
        moved += len(kept)
        if len(kept) < len(raws):
            break
    return moved


def _kept(letters: Sequence[Letter]) -> list[bool]:
    """Write the letters; one that Postgres does not take must not hold up the others."""
    try:
        _write(letters)
        return [True] * len(letters)
    except Exception as error:
        if is_transient(error):
            raise
    return [_wrote(letter) for letter in letters]


def _wrote(letter: Letter) -> bool:
    try:
        _write([letter])
    except Exception as error:
        if is_transient(error):
            raise
        log.exception("dead_letter_refused", task=letter.task, error=type(error).__name__)
        return False
    return True


def _write(letters: Sequence[Letter]) -> None:
    with transaction() as ctx:
        dead_letters.keep(ctx, letters)


def waiting() -> int:
    """How many dead letters are still in Redis."""
    client = queues.connection()
    return client.llen(queues.QUARANTINE) + client.llen(queues.PARKED)


def _parked(raw: bytes) -> Letter:
    try:
        return storable(Letter(**json.loads(raw)))
    except (ValueError, TypeError):
        return of_raw(raw, f"on the list {queues.PARKED}, and no letter")


def _fault(raw: bytes, known_tasks: Container[str]) -> str:
    try:
        envelope.read(raw, known_tasks=known_tasks)
    except Malformed as error:
        return str(error.facts["problem"])
    return "its delivery tag or delivery info is missing or in use by another message"
