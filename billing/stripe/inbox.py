"""The inbox of Stripe's events: each is a row before anything follows from it, and stays one.

received → applied | ignored | parked | failed, and `refused` for what is no event of ours at all.
"Seen" means applied: a row that was received and not finished is taken up again.
"""

import datetime as dt
import random
from collections.abc import Iterable, Sequence

from sqlalchemy import func, select, update
from sqlalchemy.orm import Session

from billing.context import Context
from billing.errors import BillingError
from billing.postgres import arrays
from models.stripe import StripeEvent

#: A row that is being worked on comes up again after this, if its worker has died.
TAKEN_UP_AGAIN = dt.timedelta(seconds=30)
#: The pauses of what failed or waits: doubled from the first to the longest.
FIRST_PAUSE, LONGEST_PAUSE = dt.timedelta(seconds=30), dt.timedelta(hours=6)
#: What failed so often waits for a person; what is parked gives up after so long.
MAX_ATTEMPTS = 10
PARKED_FOR = dt.timedelta(days=30)

#: States from which an event is taken up.
OPEN = ("received", "parked", "failed")


class UnknownEvent(BillingError):
    """No event in the inbox has this number, or none that may be changed so."""


def claim(session: Session, number: int) -> StripeEvent | None:
    """The open event with this number, locked; None if it is done, or another worker has it."""
    return session.scalars(
        select(StripeEvent)
        .where(StripeEvent.id == number, StripeEvent.state.in_(OPEN))
        .with_for_update(skip_locked=True)
    ).first()


def claim_all(session: Session, numbers: Iterable[int]) -> list[StripeEvent]:
    """As `claim`, for many; the rows are of no session any more, and `write_all` writes them."""
    rows = session.scalars(
        select(StripeEvent)
        .where(StripeEvent.id.in_(list(numbers)), StripeEvent.state.in_(OPEN))
        .order_by(StripeEvent.id)
        .with_for_update(skip_locked=True)
    ).all()
    for row in rows:
        session.expunge(row)
    return list(rows)


def payloads(session: Session, numbers: Iterable[int]) -> dict[int, dict[str, object]]:
    """What those of these events carry that are open, by number, without locking them."""
    rows = select(StripeEvent.id, StripeEvent.payload).where(
        StripeEvent.id.in_(list(numbers)), StripeEvent.state.in_(OPEN)
    )
    return {number: payload for number, payload in session.execute(rows) if payload is not None}


def due(ctx: Context, *, limit: int) -> list[int]:
    """The numbers of events that are to be taken up, the longest overdue first."""
    rows = select(StripeEvent.id).where(StripeEvent.due_at <= ctx.now)
    return list(ctx.session.scalars(rows.order_by(StripeEvent.due_at, StripeEvent.id).limit(limit)))


def postpone(ctx: Context, numbers: Iterable[int]) -> None:
    """Let these events wait for a moment, though nothing is wrong with them: others go first."""
    later = update(StripeEvent).where(
        StripeEvent.id.in_(list(numbers)), StripeEvent.due_at <= ctx.now
    )
    ctx.session.execute(later.values(due_at=ctx.now + TAKEN_UP_AGAIN))


def finish(
    row: StripeEvent,
    state: str,
    *,
    now: dt.datetime,
    reason: str | None = None,
    facts: dict[str, object] | None = None,
) -> None:
    """Say what became of an event: applied or ignored; it is not taken up again."""
    row.state, row.reason, row.facts = state, reason, facts
    row.due_at, row.finished_at = None, now
    row.attempts += 1


def park(row: StripeEvent, error: BillingError, *, now: dt.datetime) -> None:
    """Let an event wait for what it misses; after `PARKED_FOR` it is ignored as never linked."""
    if now - row.recorded_at > PARKED_FOR:
        finish(row, "ignored", now=now, reason="NeverLinked", facts=error.facts)
        return
    row.state, row.reason, row.facts = "parked", error.name, error.facts
    row.attempts += 1
    row.due_at = now + _pause(row.attempts)


def fail(
    row: StripeEvent,
    reason: str,
    *,
    now: dt.datetime,
    facts: dict[str, object] | None = None,
    may_pass: bool = False,
) -> None:
    """Mark an event as failed; one that `may_pass` is tried again, others wait for a person."""
    row.state, row.reason, row.facts = "failed", reason, facts
    row.attempts += 1
    is_over = not may_pass or row.attempts >= MAX_ATTEMPTS
    row.due_at = None if is_over else now + _pause(row.attempts)


def _pause(attempts: int) -> dt.timedelta:
    doubled = FIRST_PAUSE * int(2 ** min(attempts - 1, 20))
    return min(doubled, LONGEST_PAUSE) * random.uniform(0.5, 1.0)  # noqa: S311 - no secret


_WRITE = """
UPDATE billing.stripe_events AS e
SET state = new.state, reason = new.reason, facts = new.facts, attempts = new.attempts,
    due_at = new.due_at, finished_at = new.finished_at,
    account_id = COALESCE(new.account_id, e.account_id)
FROM unnest(%(ids)s::bigint[], %(states)s::text[], %(reasons)s::text[], %(facts)s::jsonb[],
            %(attempts)s::int[], %(due_at)s::timestamptz[], %(finished_at)s::timestamptz[],
            %(accounts)s::bigint[])
    AS new (id, state, reason, facts, attempts, due_at, finished_at, account_id)
WHERE e.id = new.id
"""


def write_all(session: Session, rows: Sequence[StripeEvent]) -> None:
    """Write what became of these events."""
    if rows:
        session.connection().exec_driver_sql(
            _WRITE,
            {
                "ids": arrays.numbers([row.id for row in rows]),
                "states": arrays.texts([row.state for row in rows]),
                "reasons": arrays.texts([row.reason for row in rows]),
                "facts": arrays.objects([row.facts for row in rows]),
                "attempts": arrays.numbers([row.attempts for row in rows]),
                "due_at": arrays.moments([row.due_at for row in rows]),
                "finished_at": arrays.moments([row.finished_at for row in rows]),
                "accounts": arrays.numbers([row.account_id for row in rows]),
            },
        )


_WAKE = """
UPDATE billing.stripe_events SET due_at = %(now)s
WHERE id IN (SELECT id FROM billing.stripe_events
             WHERE state = 'parked' AND (object_id = ANY(%(objects)s::text[])
                                         OR customer = ANY(%(customers)s::text[])
                                         OR reason = %(reason)s)
             FOR UPDATE SKIP LOCKED)
"""


def wake(
    ctx: Context,
    *,
    customers: Iterable[str] = (),
    object_ids: Iterable[str] = (),
    reason: str | None = None,
) -> int:
    """Have parked events taken up at once, and say how many.

    Those of these customers, of these objects, or that wait for this reason.
    """
    woken = ctx.session.connection().exec_driver_sql(
        _WAKE,
        {
            "objects": arrays.texts(object_ids),
            "customers": arrays.texts(customers),
            "reason": reason,
            "now": ctx.now,
        },
    )
    return woken.rowcount


def wake_foreign(ctx: Context, price: str) -> int:
    """Have events taken up again that were ignored since this price meant nothing; how many."""
    named = StripeEvent.facts["prices"].contains([price])
    rows = select(StripeEvent.id).where(
        StripeEvent.state == "ignored", StripeEvent.reason == "ForeignProduct", named
    )
    woken = update(StripeEvent).where(StripeEvent.id.in_(rows))
    woken = woken.values(state="received", due_at=ctx.now, finished_at=None)
    return len(ctx.session.execute(woken.returning(StripeEvent.id)).all())


def listed(
    session: Session, *, states: Sequence[str], limit: int, reason: str | None = None
) -> list[StripeEvent]:
    """Events in these states, the newest first."""
    rows = select(StripeEvent).where(StripeEvent.state.in_(states))
    if reason is not None:
        rows = rows.where(StripeEvent.reason == reason)
    return list(session.scalars(rows.order_by(StripeEvent.id.desc()).limit(limit)))


def counts(session: Session) -> dict[str, int]:
    """How many events wait or failed, by state."""
    rows = session.execute(
        select(StripeEvent.state, func.count())
        .where(StripeEvent.state.in_(("parked", "failed", "received")))
        .group_by(StripeEvent.state)
    )
    return {state: number for state, number in rows}  # noqa: C416 - Row is no pair to mypy


def oldest_due(ctx: Context) -> dt.datetime | None:
    """Since when the event is due that has been so for longest; None if none is."""
    return ctx.session.scalar(
        select(func.min(StripeEvent.due_at)).where(StripeEvent.due_at <= ctx.now)
    )


def replay(ctx: Context, number: int) -> StripeEvent:
    """Have an event taken up again, whatever became of it: what it did is not done twice.

    Raises UnknownEvent for a number that is none, or a body that was refused or is no longer kept.
    """
    row = ctx.session.get(StripeEvent, number, with_for_update=True)
    if row is None or row.payload is None:
        raise UnknownEvent(number=number)
    row.state, row.due_at, row.attempts, row.finished_at = "received", ctx.now, 0, None
    return row


def ignore(ctx: Context, number: int) -> StripeEvent:
    """Take an open event off the list by a person's word. Raises UnknownEvent."""
    row = ctx.session.get(StripeEvent, number, with_for_update=True)
    if row is None or row.state not in OPEN:
        raise UnknownEvent(number=number)
    finish(
        row, "ignored", now=ctx.now, reason="ByHand", facts={"actor": ctx.actor, "was": row.reason}
    )
    return row


def prune(session: Session, *, before: dt.datetime, limit: int) -> int:
    """Forget the payloads of up to `limit` finished events; the rows still keep repeats out."""
    rows = (
        select(StripeEvent.id)
        .where(
            StripeEvent.recorded_at < before,
            StripeEvent.state.in_(("applied", "ignored", "refused")),
            StripeEvent.payload.is_not(None) | StripeEvent.raw.is_not(None),
        )
        .limit(limit)
        .with_for_update(skip_locked=True)
    )
    emptied = update(StripeEvent).where(StripeEvent.id.in_(rows)).values(payload=None, raw=None)
    return len(session.execute(emptied.returning(StripeEvent.id)).all())
