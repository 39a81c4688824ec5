"""Backfill: the cursor in Stripe's list of events, and the events that the inbox lacks.

The list is read in slices, oldest first. The cursor moves past a slice when all of it is stored.
"""

import datetime as dt
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from sqlalchemy import case, func, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from billing.context import Context
from billing.stripe import inbox
from billing.stripe.events import Event
from billing.stripe.inbox import Received
from models.stripe import StripeCursor, StripeEvent

#: An event has the time at which it happened, and is listed later; clocks differ, too. Stripe
#: delivers "in near real time", so an event that is not listed within an hour is an accident there.
OVERLAP = dt.timedelta(hours=1)
#: Stripe retries a webhook for so long: docs.stripe.com/webhooks#automatic-retries
FIRST_LOOK = dt.timedelta(days=3)
#: Stripe lists no older events: docs.stripe.com/api/events/list
LISTED_FOR = dt.timedelta(days=30)
#: The cursor moves after each slice, so an interrupted run repeats one slice at most. A task reads
#: some 40,000 events in its time, more than most shops have in a quarter of a day.
SLICE = dt.timedelta(hours=6)
#: The precision of Stripe's times.
SECOND = dt.timedelta(seconds=1)
#: Events that one transaction stores: one page of Stripe's.
AT_ONCE = 100

CURSOR = "events"


class Window(NamedTuple):
    """A part of Stripe's list. `lost`: the time before it that Stripe no longer lists."""

    since: dt.datetime
    until: dt.datetime
    lost: dt.timedelta = dt.timedelta(0)

    @property
    def slices(self) -> Iterator["Window"]:
        """The window in parts, oldest first. Each second is in one part."""
        start, end = self.since.replace(microsecond=0), self.until.replace(microsecond=0)
        while start <= end:
            part = Window(start, min(start + SLICE, end))
            yield part
            start = part.until + SECOND


def window(ctx: Context, *, is_live: bool, since: dt.datetime | None = None) -> Window:
    """The window to read now: from `since`, else from the cursor less the overlap."""
    cursor = _cursor(ctx.session, is_live=is_live)
    wanted = since or (cursor.read_until - OVERLAP if cursor else ctx.now - FIRST_LOOK)
    oldest = ctx.now - LISTED_FOR
    return Window(max(wanted, oldest), ctx.now, max(oldest - wanted, dt.timedelta(0)))


def unknown(session: Session, events: Sequence[Event]) -> list[Event]:
    """Return the events that the inbox does not have.

    Events are compared by id, type and time: a listed event has another shape than the posted one
    if the endpoint has an API version of its own.
    """
    rows = session.execute(
        select(StripeEvent.event_id, StripeEvent.type, StripeEvent.happened_at).where(
            StripeEvent.event_id.in_({event.id for event in events}),
        )
    )
    stored = {tuple(row) for row in rows}
    return [item for item in events if (item.id, item.type, item.happened_at) not in stored]


def store(ctx: Context, events: Iterable[Event]) -> list[int]:
    """Store events that the inbox lacks; return the numbers of those that were new even now."""
    listed = [Received(event, ctx.now) for event in events]
    rows = inbox.store_all(ctx, listed, source="gap_fill")
    return [row.id for row in rows if row is not None]


def move_cursor(ctx: Context, until: dt.datetime, *, since: dt.datetime, is_live: bool) -> bool:
    """Note that all events from `since` to `until` are stored; whether that moved the cursor.

    The cursor never moves back, nor over a part of the list that nobody has read.
    """
    cursor = _cursor(ctx.session, is_live=is_live)
    first = ctx.now - (LISTED_FOR if cursor else FIRST_LOOK)
    reached = max(cursor.read_until, first) if cursor else first
    if not since <= reached + SECOND or until <= reached:
        return False
    new = insert(StripeCursor).values(
        name=CURSOR, read_until=until, is_live=is_live, recorded_at=ctx.now
    )
    furthest = case(
        (
            StripeCursor.is_live == new.excluded.is_live,
            func.greatest(StripeCursor.read_until, new.excluded.read_until),
        ),
        else_=new.excluded.read_until,
    )
    ctx.session.execute(
        new.on_conflict_do_update(
            index_elements=[StripeCursor.name],
            set_={
                "read_until": furthest,
                "is_live": new.excluded.is_live,
                "recorded_at": new.excluded.recorded_at,
            },
        )
    )
    return True


def _cursor(session: Session, *, is_live: bool) -> StripeCursor | None:
    """The cursor; that of the other mode belongs to another list."""
    cursor = session.get(StripeCursor, CURSOR, populate_existing=True)
    return cursor if cursor is not None and cursor.is_live == is_live else None
