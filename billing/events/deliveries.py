"""How events leave the outbox: claimed in order, tried again later, dead when no try is left.

claim → (send, no transaction open) → record. A claim is a lease in `due_at`: if its process dies,
the event is due again. An account's event is claimed only when none before it waits for later.
"""

import datetime as dt
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from sqlalchemy import delete, func, select, text, update
from sqlalchemy.orm import Session

from billing.context import Context
from billing.errors import BillingError
from billing.host import recipients
from billing_client.events import Event
from models.operations import OutboxEvent

#: Pauses before the second try, the third, …: a receiver may be away for a day, as the example
#: schedule of the Standard Webhooks specification has it. After the last, the event is dead.
PAUSES = (
    dt.timedelta(seconds=5),
    dt.timedelta(minutes=5),
    dt.timedelta(minutes=30),
    dt.timedelta(hours=2),
    dt.timedelta(hours=5),
    dt.timedelta(hours=10),
    dt.timedelta(hours=10),
)
#: A claimed event is nobody else's for so long; a run that is slower stops before.
LEASE = dt.timedelta(seconds=120)
#: Events that one claim takes: with a time-out of seconds each, a lease is enough for a slow one.
AT_ONCE = 100
#: Delivered events are kept so long for a person to look at.
KEPT = dt.timedelta(days=90)
#: Old ones that a run removes at once.
REMOVED_AT_ONCE = 1000
#: Of an error's words so many are kept.
MAX_ERROR = 500


class UnknownEvent(BillingError):
    """No event of the outbox has this id and may be replayed or dropped."""


@dataclass(slots=True)
class Outgoing:
    """A claimed event; `sent_to` are the ways that have taken it, `error` why one did not.

    `is_tried` false: it was claimed, and not sent, because one before it could not be.
    """

    event: Event
    attempts: int
    sent_to: set[str] = field(default_factory=set)
    error: str | None = None
    is_tried: bool = False


# One claim at a time: a second one could skip a locked event, and take the next of its account.
_ONE_CLAIM = "SELECT pg_try_advisory_xact_lock(hashtext('billing.outbox'))"
_CLAIM = """
WITH due AS (
    SELECT o.id FROM billing.outbox AS o
    WHERE o.state = 'waiting' AND o.due_at <= :now AND NOT EXISTS (
        SELECT FROM billing.outbox AS before
        WHERE before.state = 'waiting' AND before.account_id = o.account_id
          AND before.id < o.id AND before.due_at > :now)
    ORDER BY o.id LIMIT :limit FOR UPDATE
)
UPDATE billing.outbox SET due_at = :now + :lease FROM due WHERE outbox.id = due.id
RETURNING outbox.id, outbox.type, outbox.account_id, outbox.happened_at, outbox.payload,
          outbox.attempts, outbox.sent_to
"""


def claim(ctx: Context, *, limit: int = AT_ONCE) -> list[Outgoing]:
    """Claim events that are due, oldest first; none if another process is at it."""
    if not ctx.session.execute(text(_ONE_CLAIM)).scalar():
        return []
    rows = ctx.session.execute(text(_CLAIM), {"now": ctx.now, "limit": limit, "lease": LEASE}).all()
    to = recipients.of(ctx.session, {row.account_id for row in rows if row.account_id is not None})
    return [
        Outgoing(
            event=Event(
                id=row.id,
                type=row.type,
                account_id=row.account_id,
                happened_at=row.happened_at,
                recipient=to.get(row.account_id),
                data=row.payload,
            ),
            attempts=row.attempts,
            sent_to=set(row.sent_to),
        )
        for row in sorted(rows, key=lambda row: row.id)
    ]


def record(ctx: Context, tried: Iterable[Outgoing]) -> None:
    """Keep what became of claimed events: delivered, due again, or dead.

    What a slower process has claimed since, or a person has dropped, is left as it is.
    """
    for each in tried:
        to = each.event.recipient
        ctx.session.execute(
            update(OutboxEvent)
            .where(OutboxEvent.id == each.event.id, OutboxEvent.state == "waiting")
            .values(
                sent_to=sorted(each.sent_to),
                recipient=to.source if to else "no recipient",
                error=each.error and each.error[:MAX_ERROR],
                **_outcome(each, ctx.now),
            )
        )


def _outcome(each: Outgoing, now: dt.datetime) -> dict[str, object]:
    if not each.is_tried:
        return {"due_at": now}
    attempts = each.attempts + 1
    if each.error is None:
        return {"state": "delivered", "delivered_at": now, "attempts": attempts}
    if attempts > len(PAUSES):
        return {"state": "dead", "attempts": attempts}
    return {"due_at": now + PAUSES[attempts - 1], "attempts": attempts}


def remove_old(ctx: Context) -> int:
    """Remove events that were delivered long ago; returns how many."""
    old = select(OutboxEvent.id).where(
        OutboxEvent.state == "delivered", OutboxEvent.delivered_at < ctx.now - KEPT
    )
    old = old.order_by(OutboxEvent.delivered_at).limit(REMOVED_AT_ONCE)
    removed = delete(OutboxEvent).where(OutboxEvent.id.in_(old)).returning(OutboxEvent.id)
    return len(ctx.session.execute(removed).all())


def dead(session: Session, *, limit: int, event_type: str | None = None) -> Sequence[OutboxEvent]:
    """Events that no try is left for, oldest first; only those of a type if given."""
    rows = select(OutboxEvent).where(OutboxEvent.state == "dead").order_by(OutboxEvent.id)
    if event_type:
        rows = rows.where(OutboxEvent.type == event_type)
    return session.scalars(rows.limit(limit)).all()


def waiting(session: Session, *, limit: int) -> Sequence[OutboxEvent]:
    """Events that wait, oldest first."""
    rows = select(OutboxEvent).where(OutboxEvent.state == "waiting").order_by(OutboxEvent.id)
    return session.scalars(rows.limit(limit)).all()


def count(session: Session) -> tuple[int, dt.datetime | None, int]:
    """How many events wait, since when the oldest does, and how many are dead."""
    waits = select(func.count(), func.min(OutboxEvent.happened_at))
    number, oldest = session.execute(waits.where(OutboxEvent.state == "waiting")).one()
    died = select(func.count()).where(OutboxEvent.state == "dead")
    return number, oldest, session.execute(died).scalar_one()


def replay(ctx: Context, event_id: int) -> None:
    """Let a dead or delivered event be sent again, to every way, with all its tries.

    It may then come after later ones of its account. Raises UnknownEvent.
    """
    fresh = {
        "state": "waiting",
        "due_at": ctx.now,
        "attempts": 0,
        "sent_to": [],
        "delivered_at": None,
    }
    _close(ctx.session, event_id, {**fresh, "closed_by": ctx.actor}, states=("dead", "delivered"))


def drop(ctx: Context, event_id: int) -> None:
    """Never send an event that waits or is dead; the row stays. Raises UnknownEvent."""
    _close(
        ctx.session,
        event_id,
        {"state": "dropped", "closed_by": ctx.actor},
        states=("dead", "waiting"),
    )


def _close(
    session: Session, event_id: int, values: dict[str, object], *, states: tuple[str, ...]
) -> None:
    changed = session.execute(
        update(OutboxEvent)
        .where(OutboxEvent.id == event_id, OutboxEvent.state.in_(states))
        .values(**values)
        .returning(OutboxEvent.id)
    ).first()
    if changed is None:
        raise UnknownEvent(event_id=event_id)
