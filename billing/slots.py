"""The timetable's memory: one row per job and due time, so that two beats are as good as one."""

import datetime as dt

from sqlalchemy import delete
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from models.operations import Slot

#: Slots are kept this long for a person to look at; a beat never asks for an older one.
KEPT = dt.timedelta(days=7)


def claim(session: Session, job: str, *, every: dt.timedelta, now: dt.datetime) -> bool:
    """Whether this transaction is the one that runs `job` for the present slot."""
    starts_at = _slot(every, now)
    claimed = session.execute(
        insert(Slot)
        .values(job=job, starts_at=starts_at, claimed_at=now)
        .on_conflict_do_nothing()
        .returning(Slot.job)
    ).first()
    if claimed:
        session.execute(delete(Slot).where(Slot.job == job, Slot.starts_at < now - KEPT))
    return claimed is not None


def is_claimed(session: Session, job: str, *, every: dt.timedelta, now: dt.datetime) -> bool:
    """Whether the present slot of `job` is taken already."""
    return session.get(Slot, (job, _slot(every, now))) is not None


def _slot(every: dt.timedelta, now: dt.datetime) -> dt.datetime:
    epoch = dt.datetime(2000, 1, 1, tzinfo=dt.UTC)
    return epoch + (now - epoch) // every * every
