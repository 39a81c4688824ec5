"""The deliveries of the outbox: events are claimed in order, retried, and dead after the last try.

claim → (send, no transaction open) → record. A claim is a lease in `due_at`: if its process dies,
the event is due again. An account's event is claimed only if no earlier one of it waits for later.
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

#: Pauses before the second try, the third, …: a receiver may be unavailable for a day, as in the
#: example schedule of the Standard Webhooks specification. After the last try, the event is dead.
PAUSES = (
    dt.timedelta(seconds=5),
    dt.timedelta(minutes=5),
    dt.timedelta(minutes=30),
    dt.timedelta(hours=2),
    dt.timedelta(hours=5),
    dt.timedelta(hours=10),
    dt.timedelta(hours=10),
)
#: Time for which a claim keeps an event from other processes; a run stops before its end.
LEASE = dt.timedelta(seconds=120)
#: Events that one claim takes: few enough to be sent within the lease, at a second or so each.
AT_ONCE = 100
#: Time for which delivered events are kept, for operators.
KEPT = dt.timedelta(days=90)
#: Old events that a run removes at once.
REMOVED_AT_ONCE = 1000
#: Characters of an error that are kept.
MAX_ERROR = 500


class UnknownEvent(BillingError):
    """No event of the outbox with the id {event_id} can be replayed or dropped."""


@dataclass(slots=True)
class Outgoing:
    """A claimed event; `sent_to`: the channels that took it; `error`: why one did not.

    `is_tried` is false if it was not sent because an earlier event could not be.
    """

    event: Event
    attempts: int
    sent_to: set[str] = field(default_factory=set)
    error: str | None = None
    is_tried: bool = False
    is_dead: bool = False

    def kill(self, error: BillingError) -> None:
        """Let the event be dead at once: another try would only do harm."""
        self.is_tried = self.is_dead = True
        self.error = f"{error.name}: {error}"


# One claim at a time: a second one could skip a locked event and take the account's next one.
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
    """Claim events that are due, oldest first; none while another process claims."""
    if not ctx.session.execute(text(_ONE_CLAIM)).scalar():
        return []
    rows = ctx.session.execute(text(_CLAIM), {"now": ctx.now, "limit": limit, "lease": LEASE}).all()
    recipient_of = recipients.of(
        ctx.session, {row.account_id for row in rows if row.account_id is not None}
    )
    return [
        Outgoing(
            event=Event(
                id=row.id,
                type=row.type,
                account_id=row.account_id,
                happened_at=row.happened_at,
                recipient=recipient_of.get(row.account_id),
                data=row.payload,
            ),
            attempts=row.attempts,
            sent_to=set(row.sent_to),
        )
        for row in sorted(rows, key=lambda row: row.id)
    ]


def record(ctx: Context, claimed: Iterable[Outgoing]) -> None:
    """Record the outcome of claimed events: delivered, due again, or dead.

    Events that were dropped meanwhile stay as they are.
    """
    for outgoing in claimed:
        recipient = outgoing.event.recipient
        ctx.session.execute(
            update(OutboxEvent)
            .where(OutboxEvent.id == outgoing.event.id, OutboxEvent.state == "waiting")
            .values(
                sent_to=sorted(outgoing.sent_to),
                recipient=recipient.source if recipient else "no recipient",
                error=outgoing.error and outgoing.error[:MAX_ERROR],
                **_outcome(outgoing, ctx.now),
            )
        )


def _outcome(outgoing: Outgoing, now: dt.datetime) -> dict[str, object]:
    if not outgoing.is_tried:
        return {"due_at": now}
    attempts = outgoing.attempts + 1
    if outgoing.error is None:
        return {"state": "delivered", "delivered_at": now, "attempts": attempts}
    if outgoing.is_dead or attempts > len(PAUSES):
        return {"state": "dead", "attempts": attempts}
    return {"due_at": now + PAUSES[attempts - 1], "attempts": attempts}


def remove_old(ctx: Context) -> int:
    """Remove events that were delivered long ago; returns the number of them."""
    old = select(OutboxEvent.id).where(
        OutboxEvent.state == "delivered", OutboxEvent.delivered_at < ctx.now - KEPT
    )
    old = old.order_by(OutboxEvent.delivered_at).limit(REMOVED_AT_ONCE)
    removed = delete(OutboxEvent).where(OutboxEvent.id.in_(old)).returning(OutboxEvent.id)
    return len(ctx.session.execute(removed).all())


def dead(session: Session, *, limit: int, event_type: str | None = None) -> Sequence[OutboxEvent]:
    """List dead events, oldest first; with `event_type` only those of this type."""
    rows = select(OutboxEvent).where(OutboxEvent.state == "dead").order_by(OutboxEvent.id)
    if event_type:
        rows = rows.where(OutboxEvent.type == event_type)
    return session.scalars(rows.limit(limit)).all()


def waiting(session: Session, *, limit: int) -> Sequence[OutboxEvent]:
    """List waiting events, oldest first."""
    rows = select(OutboxEvent).where(OutboxEvent.state == "waiting").order_by(OutboxEvent.id)
    return session.scalars(rows.limit(limit)).all()


def count(session: Session) -> tuple[int, dt.datetime | None, int]:
    """Count waiting and dead events; returns (waiting, time of the oldest, dead)."""
    waiting = select(func.count(), func.min(OutboxEvent.happened_at))
    number, oldest = session.execute(waiting.where(OutboxEvent.state == "waiting")).one()
    dead = select(func.count()).where(OutboxEvent.state == "dead")
    return number, oldest, session.execute(dead).scalar_one()


def replay(ctx: Context, event_id: int) -> None:
    """Send a dead or delivered event again, by every channel, with all its tries.

    It may then come after later events of its account. Raises UnknownEvent.
    """
    unsent = {
        "state": "waiting",
        "due_at": ctx.now,
        "attempts": 0,
        "sent_to": [],
        "delivered_at": None,
    }
    _close(ctx.session, event_id, {**unsent, "closed_by": ctx.actor}, states=("dead", "delivered"))


def drop(ctx: Context, event_id: int) -> None:
    """Drop a waiting or dead event, so that it is never sent. Raises UnknownEvent."""
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
