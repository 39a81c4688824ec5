"""What never came by webhook: how far Stripe's list of events has been read, and what of it is new.

The list is read in slices, the oldest first; the cursor moves past a slice when all of it is kept.
"""

import datetime as dt
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from sqlalchemy import case, func, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from billing.context import Context
from billing.stripe import store_event
from billing.stripe.events import Event
from billing.stripe.store_event import Arrived
from models.stripe import StripeCursor, StripeEvent

#: An event is dated when it happened, and is listed some time later; clocks differ too. Stripe
#: delivers "in near real time", so that what is not listed after an hour is an accident at Stripe.
OVERLAP = dt.timedelta(hours=1)
#: Stripe itself tries a webhook for so long: docs.stripe.com/webhooks#automatic-retries
FIRST_LOOK = dt.timedelta(days=3)
#: Stripe lists no older events: docs.stripe.com/api/events/list
LISTED_FOR = dt.timedelta(days=30)
#: So much is read before the cursor moves, so that what breaks off reads no more than that again.
#: In a task's time some 40,000 events are read, which few shops have in a quarter of a day.
SLICE = dt.timedelta(hours=6)
#: As precise as Stripe's times are.
SECOND = dt.timedelta(seconds=1)
#: Events that one transaction keeps: one page of Stripe's.
AT_ONCE = 100

CURSOR = "events"


class Window(NamedTuple):
    """What is to be read of Stripe's list. `lost`: what came before that is no longer listed."""

    since: dt.datetime
    until: dt.datetime
    lost: dt.timedelta = dt.timedelta(0)

    @property
    def slices(self) -> Iterator["Window"]:
        """The window in parts, the oldest first; each event, dated by the second, is in one."""
        start, end = self.since.replace(microsecond=0), self.until.replace(microsecond=0)
        while start <= end:
            part = Window(start, min(start + SLICE, end))
            yield part
            start = part.until + SECOND


def window(ctx: Context, *, is_live: bool, since: dt.datetime | None = None) -> Window:
    """What is to be read now: from the cursor, less the overlap; or `since` a time of one's own."""
    cursor = _cursor(ctx.session, is_live=is_live)
    wanted = since or (cursor.read_until - OVERLAP if cursor else ctx.now - FIRST_LOOK)
    oldest = ctx.now - LISTED_FOR
    return Window(max(wanted, oldest), ctx.now, max(oldest - wanted, dt.timedelta(0)))


def unknown(session: Session, events: Sequence[Event]) -> list[Event]:
    """Those of these events that the inbox has not.

    An event is known by id, type and time: what Stripe lists has another shape than what it posted,
    if the endpoint has an API version of its own.
    """
    rows = session.execute(
        select(StripeEvent.event_id, StripeEvent.type, StripeEvent.happened_at).where(
            StripeEvent.event_id.in_({event.id for event in events}),
        )
    )
    known = {tuple(row) for row in rows}
    return [each for each in events if (each.id, each.type, each.happened_at) not in known]


def keep(ctx: Context, events: Iterable[Event]) -> list[int]:
    """Keep events that the inbox had not; the numbers there of those that it still had not."""
    listed = [Arrived(event, ctx.now) for event in events]
    rows = store_event.keep_all(ctx, listed, source="gap_fill")
    return [row.id for row in rows if row is not None]


def move_cursor(ctx: Context, until: dt.datetime, *, since: dt.datetime, is_live: bool) -> bool:
    """Note that all from `since` to `until` is kept; whether that moved the cursor.

    It moves on only: not back, and not over what can be read and nobody has.
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


def lag(ctx: Context, *, is_live: bool) -> dt.timedelta | None:
    """How far the reading of Stripe's list is behind; None if it was never read."""
    cursor = _cursor(ctx.session, is_live=is_live)
    return ctx.now - cursor.read_until if cursor else None


def _cursor(session: Session, *, is_live: bool) -> StripeCursor | None:
    """Our place in the list; one of the other mode is of another list."""
    found = session.get(StripeCursor, CURSOR, populate_existing=True)
    return found if found is not None and found.is_live == is_live else None
