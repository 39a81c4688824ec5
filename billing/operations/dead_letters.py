"""Dead letters: messages that could not be handled, until an operator replays or drops them."""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import func, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from billing.context import Context
from billing.errors import BillingError
from models.operations import DeadLetter

#: Longer reasons are cut; a traceback belongs in the log.
MAX_REASON_CHARACTERS = 1000


class UnknownDeadLetter(BillingError):
    """No open dead letter has the id {id}."""


@dataclass(frozen=True, slots=True)
class Letter:
    """A message as it came, and why it could not be handled.

    `arguments` are the task's keyword arguments; `raw` the bytes of an unreadable message.
    """

    message_id: str
    error: str
    reason: str
    queue: str | None = None
    task: str | None = None
    arguments: dict[str, object] | None = None
    raw: bytes | None = None
    attempts: int = 1


def keep(ctx: Context, letters: Sequence[Letter]) -> None:
    """Store these messages; one that is stored already is open again, with one more attempt."""
    if not letters:
        return
    rows = [
        {
            "message_id": letter.message_id,
            "error": letter.error,
            "reason": _clean(letter.reason)[:MAX_REASON_CHARACTERS],
            "queue": letter.queue,
            "task": letter.task and _clean(letter.task),
            "arguments": letter.arguments,
            "raw": letter.raw,
            "attempts": letter.attempts,
            "first_at": ctx.now,
            "last_at": ctx.now,
        }
        for letter in {letter.message_id: letter for letter in letters}.values()
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


def _clean(text: str) -> str:
    """Replace what Postgres can't store (NUL) and what would control a terminal."""
    return "".join([c if c.isprintable() else " " for c in text])


def open_letters(session: Session, *, limit: int, task: str | None = None) -> list[DeadLetter]:
    """List the open dead letters, oldest first."""
    rows = select(DeadLetter).where(DeadLetter.state == "open").order_by(DeadLetter.id)
    if task is not None:
        rows = rows.where(DeadLetter.task == task)
    return list(session.scalars(rows.limit(limit)))


def count_open(session: Session) -> int:
    """Count the open dead letters."""
    rows = select(func.count()).select_from(DeadLetter).where(DeadLetter.state == "open")
    return session.execute(rows).scalar_one()


def close(ctx: Context, letter_id: int, *, state: str) -> DeadLetter:
    """Close an open dead letter as `replayed` or `dropped`. Raises UnknownDeadLetter."""
    closed = ctx.session.scalars(
        update(DeadLetter)
        .where(DeadLetter.id == letter_id, DeadLetter.state == "open")
        .values(state=state, closed_by=ctx.actor)
        .returning(DeadLetter)
    ).first()
    if closed is None:
        raise UnknownDeadLetter(id=letter_id)
    return closed
