"""The slots of the timetable: one row for each job and due time, so that two beats do no harm."""

import datetime as dt

from sqlalchemy import delete
from sqlalchemy.dialects.postgresql import insert

from billing.context import Context
from models.operations import Slot

#: Time for which slots are kept, for operators; beat never needs an older one.
KEPT = dt.timedelta(days=7)


def claim(ctx: Context, job: str, *, every: dt.timedelta) -> bool:
    """Claim the present slot of `job`; returns whether this transaction got it."""
    starts_at = _slot(every, ctx.now)
    claimed = ctx.session.execute(
        insert(Slot)
        .values(job=job, starts_at=starts_at, claimed_at=ctx.now)
        .on_conflict_do_nothing()
        .returning(Slot.job)
    ).first()
    if claimed:
        ctx.session.execute(delete(Slot).where(Slot.job == job, Slot.starts_at < ctx.now - KEPT))
    return claimed is not None


def is_claimed(ctx: Context, job: str, *, every: dt.timedelta) -> bool:
    """Whether the present slot of `job` is taken already."""
    return ctx.session.get(Slot, (job, _slot(every, ctx.now))) is not None


def _slot(every: dt.timedelta, now: dt.datetime) -> dt.datetime:
    epoch = dt.datetime(2000, 1, 1, tzinfo=dt.UTC)
    return epoch + (now - epoch) // every * every
