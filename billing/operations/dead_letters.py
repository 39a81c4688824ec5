"""Dead letters: messages that could not be handled, kept whole until they are replayed or dropped.

A DeadMessage is what becomes a dead letter; `models.operations.DeadLetter` is the row.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass

from sqlalchemy import func, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from billing.context import Context
from billing.errors import BillingError
from models.operations import DeadLetter

#: A reason longer than this is cut: a traceback belongs into the log.
MAX_REASON_CHARACTERS = 1000


class UnknownDeadLetter(BillingError):
    """No open dead letter has the id {id}."""


@dataclass(frozen=True, slots=True)
class DeadMessage:
    """A message as it came, and why it could not be handled.

    Attributes:
        message_id: Its id; one message has one dead letter.
        error: The name of the error.
        reason: The error's sentence.
        queue: The queue to which a replay sends it.
        task: The name of its task.
        arguments: The task's keyword arguments.
        raw: The bytes of a message whose arguments can't be read or stored.
        attempts: The number of tries.
    """

    message_id: str
    error: str
    reason: str
    queue: str | None = None
    task: str | None = None
    arguments: dict[str, object] | None = None
    raw: bytes | None = None
    attempts: int = 1


def keep(ctx: Context, messages: Sequence[DeadMessage]) -> None:
    """Keep these messages as dead letters; one that exists counts the attempts and opens again."""
    if not messages:
        return
    rows = [
        {
            **asdict(message),
            "reason": _printable(message.reason)[:MAX_REASON_CHARACTERS],
            "task": message.task and _printable(message.task),
            "first_at": ctx.now,
            "last_at": ctx.now,
        }
        for message in {message.message_id: message for message in messages}.values()
    ]
    new = insert(DeadLetter)
    ctx.session.execute(
        new.on_conflict_do_update(
            index_elements=[DeadLetter.message_id],
            set_={
                "error": new.excluded.error,
                "reason": new.excluded.reason,
                "attempts": DeadLetter.attempts + new.excluded.attempts,
                "last_at": new.excluded.last_at,
                "state": "open",
                "closed_by": None,
            },
        ),
        rows,
    )


def _printable(text: str) -> str:
    """Replace what Postgres can't store (NUL) or what would control a terminal by blanks."""
    return "".join([c if c.isprintable() else " " for c in text])


def list_open(session: Session, *, limit: int, task: str | None = None) -> list[DeadLetter]:
    """List the open dead letters, oldest first."""
    rows = select(DeadLetter).where(DeadLetter.state == "open").order_by(DeadLetter.id)
    if task is not None:
        rows = rows.where(DeadLetter.task == task)
    return list(session.scalars(rows.limit(limit)))


def count_open(session: Session) -> int:
    """Count the open dead letters."""
    rows = select(func.count()).select_from(DeadLetter).where(DeadLetter.state == "open")
    return session.execute(rows).scalar_one()


def close(ctx: Context, dead_letter_id: int, *, state: str) -> DeadLetter:
    """Close an open dead letter as `replayed` or `dropped`. Raises UnknownDeadLetter."""
    closed = ctx.session.scalars(
        update(DeadLetter)
        .where(DeadLetter.id == dead_letter_id, DeadLetter.state == "open")
        .values(state=state, closed_by=ctx.actor)
        .returning(DeadLetter)
    ).first()
    if closed is None:
        raise UnknownDeadLetter(id=dead_letter_id)
    return closed
