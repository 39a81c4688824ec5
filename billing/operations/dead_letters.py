"""Messages that could not be handled, kept whole until a person replays or drops them."""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import func, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from billing.context import Context
from billing.errors import BillingError
from models.operations import DeadLetter

#: A reason longer than this is cut: a traceback belongs into the log.
MAX_REASON_CHARACTERS = 1000


class UnknownDeadLetter(BillingError):
    """No open dead letter has this id."""


@dataclass(frozen=True, slots=True)
class Letter:
    """A message as it came, and why it could not be handled.

    `arguments` are a task's keyword arguments; `raw` the bytes of what could not even be read.
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
    """Keep these messages; one that is kept already counts another attempt and is open again."""
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
        for letter in {each.message_id: each for each in letters}.values()
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
    """Postgres keeps no NUL, and a terminal should not be steered by a message."""
    return "".join([c if c.isprintable() else " " for c in text])


def open_letters(session: Session, *, limit: int, task: str | None = None) -> list[DeadLetter]:
    """The open dead letters, oldest first."""
    rows = select(DeadLetter).where(DeadLetter.state == "open").order_by(DeadLetter.id)
    if task is not None:
        rows = rows.where(DeadLetter.task == task)
    return list(session.scalars(rows.limit(limit)))


def count_open(session: Session) -> int:
    """How many dead letters wait for a person."""
    rows = select(func.count()).select_from(DeadLetter).where(DeadLetter.state == "open")
    return session.execute(rows).scalar_one()


def close(ctx: Context, letter_id: int, *, state: str) -> DeadLetter:
    """Take an open letter off the list, as `replayed` or `dropped`. Raises UnknownDeadLetter."""
    closed = ctx.session.scalars(
        update(DeadLetter)
        .where(DeadLetter.id == letter_id, DeadLetter.state == "open")
        .values(state=state, closed_by=ctx.actor)
        .returning(DeadLetter)
    ).first()
    if closed is None:
        raise UnknownDeadLetter(id=letter_id)
    return closed
