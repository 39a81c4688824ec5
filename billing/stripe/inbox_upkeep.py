"""Upkeep of the inbox of Stripe's events: due events, lists, replay, ignore and pruning."""

import datetime as dt
from collections.abc import Iterable, Sequence

from sqlalchemy import func, select, update
from sqlalchemy.orm import Session

from billing.context import Context
from billing.errors import BillingError
from billing.stripe import inbox
from billing.stripe.errors import ByHand
from billing.stripe.inbox import OPEN, TAKEN_UP_AGAIN, OpenEvent
from models.stripe import StripeEvent


class UnknownEvent(BillingError):
    """No event in the inbox has the number {number}, or its state does not allow this."""


def payloads(session: Session, numbers: Iterable[int]) -> dict[int, dict[str, object]]:
    """Read the payloads of those of these events that are open, without locking them."""
    rows = select(StripeEvent.id, StripeEvent.payload).where(
        StripeEvent.id.in_(list(numbers)), StripeEvent.state.in_(OPEN)
    )
    return {number: payload for number, payload in session.execute(rows) if payload is not None}


def due(ctx: Context, *, limit: int) -> list[int]:
    """The numbers of due events, the longest overdue first."""
    rows = select(StripeEvent.id).where(StripeEvent.due_at <= ctx.now)
    return list(ctx.session.scalars(rows.order_by(StripeEvent.due_at, StripeEvent.id).limit(limit)))


def postpone(ctx: Context, numbers: Iterable[int]) -> None:
    """Let these events wait for a moment without counting an attempt, so that others go first."""
    later = update(StripeEvent).where(
        StripeEvent.id.in_(list(numbers)), StripeEvent.due_at <= ctx.now
    )
    ctx.session.execute(later.values(due_at=ctx.now + TAKEN_UP_AGAIN))


def wake_foreign(ctx: Context, price: str) -> int:
    """Reopen events that were ignored because this price was not ours; return how many."""
    is_named = StripeEvent.facts["prices"].contains([price])
    rows = select(StripeEvent.id).where(
        StripeEvent.state == "ignored", StripeEvent.reason == "ForeignProduct", is_named
    )
    woken = update(StripeEvent).where(StripeEvent.id.in_(rows))
    woken = woken.values(state="received", due_at=ctx.now, finished_at=None)
    return len(ctx.session.execute(woken.returning(StripeEvent.id)).all())


def listed(
    session: Session, *, states: Sequence[str], limit: int, reason: str | None = None
) -> list[StripeEvent]:
    """List events in these states, newest first."""
    rows = select(StripeEvent).where(StripeEvent.state.in_(states))
    if reason is not None:
        rows = rows.where(StripeEvent.reason == reason)
    return list(session.scalars(rows.order_by(StripeEvent.id.desc()).limit(limit)))


def counts(session: Session) -> dict[str, int]:
    """Count the events that wait or failed, by state."""
    rows = session.execute(
        select(StripeEvent.state, func.count())
        .where(StripeEvent.state.in_(("parked", "failed", "received")))
        .group_by(StripeEvent.state)
    )
    return {state: number for state, number in rows}  # noqa: C416 - Row is no pair to mypy


def replay(ctx: Context, number: int) -> StripeEvent:
    """Make an event due again in any state; effects that it had are not repeated.

    Raises UnknownEvent for an unknown number, a refused body, or a payload that was pruned.
    """
    row = ctx.session.get(StripeEvent, number, with_for_update=True)
    if row is None or row.payload is None:
        raise UnknownEvent(number=number)
    row.state, row.due_at, row.attempts, row.finished_at = "received", ctx.now, 0, None
    return row


def ignore(ctx: Context, number: int) -> None:
    """Ignore an open event on an operator's word. Raises UnknownEvent."""
    row = ctx.session.get(StripeEvent, number, with_for_update=True)
    if row is None or row.state not in OPEN:
        raise UnknownEvent(number=number)
    event = OpenEvent(row.id, row.payload or {}, row.attempts, row.recorded_at)
    with inbox.handle(ctx, [event]) as handling:
        handling.results[event.id] = ByHand(actor=ctx.actor, was=row.reason)


def prune(session: Session, *, before: dt.datetime, limit: int) -> int:
    """Delete the payloads of up to `limit` finished events; the rows still recognise repeats."""
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
