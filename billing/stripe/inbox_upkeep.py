"""Upkeep of the inbox of Stripe's events: due events, lists, replay, ignore and pruning."""

import datetime as dt
from collections.abc import Iterable, Sequence

from sqlalchemy import func, or_, select, text, update
from sqlalchemy.orm import Session

from billing.context import Context
from billing.errors import BillingError
from billing.stripe import inbox
from billing.stripe.errors import ByHand
from billing.stripe.inbox import OPEN, TAKEN_UP_AGAIN, OpenEvent
from models.stripe import StripeEvent

#: Payments of known accounts that ended without their effect, each with the command that shows it.
#: One that has bought something by another of its objects is answered.
UNANSWERED = """
SELECT 'payment ' || min(e.facts ->> 'payment'),
       jsonb_build_object('account_id', min((e.facts ->> 'account_id')::bigint),
                          'currency', min(e.facts ->> 'currency'),
                          'amount_minor', min((e.facts ->> 'amount_minor')::bigint),
                          'reason', min(e.reason), 'event', min(e.id),
                          'command', 'billing stripe show ' || min(e.id))
FROM billing.stripe_events AS e
WHERE e.state IN ('ignored', 'failed') AND e.facts ->> 'amount_minor' IS NOT NULL
  AND (e.state = 'failed' OR NOT EXISTS (
      SELECT FROM billing.purchases AS p
      WHERE p.origin IN (SELECT jsonb_array_elements_text(e.facts -> 'objects'))))
GROUP BY e.facts ->> 'payment'
"""


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


#: Reasons that a link of a price may end: the price had no meaning, or a wrong one.
_OF_PRICES = ("UnknownPlan", "LineWithoutPeriod", "AbsurdPeriod", "AbsurdCredits", "BadObject")


def wake_price(ctx: Context, price: str) -> int:
    """Make due the events that this price, or product, may free; return how many.

    Those that wait for a price; that were ignored, or given up, because this one was not ours; and
    that failed on a line.
    """
    is_named = StripeEvent.facts["prices"].contains([price])
    is_ignored = StripeEvent.reason.in_(("ForeignProduct", "NeverLinked")) & is_named
    rows = select(StripeEvent.id).where(
        or_(
            (StripeEvent.state == "ignored") & is_ignored,
            (StripeEvent.state == "failed") & StripeEvent.reason.in_(_OF_PRICES),
            (StripeEvent.state == "parked") & (StripeEvent.reason == "UnknownPrice"),
        ),
        StripeEvent.payload.is_not(None),
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


def unanswered(session: Session) -> int:
    """Count the payments of known accounts that ended without their effect."""
    return len(session.execute(text(UNANSWERED)).all())


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
    """Ignore an open event, or money without an effect, on an operator's word.

    Raises UnknownEvent.
    """
    row = ctx.session.get(StripeEvent, number, with_for_update=True)
    is_money = row is not None and row.state == "ignored" and "amount_minor" in (row.facts or {})
    if row is None or not (row.state in OPEN or is_money):
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
    # Read first: in a subquery, a plan may ask for the limit more than once.
    ids = session.scalars(rows).all()
    session.execute(
        update(StripeEvent).where(StripeEvent.id.in_(ids)).values(payload=None, raw=None)
    )
    return len(ids)
