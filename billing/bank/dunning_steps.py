"""The timetable of an unpaid invoice: one table, counted from the day on which it is due."""

import datetime as dt
from typing import NamedTuple


class Step(NamedTuple):
    """What happens so long after the due day; negative: before it."""

    after: dt.timedelta
    event: str


#: A bank transfer takes a day or two, and people pay on the last day: the end comes two weeks late.
STEPS = (
    Step(dt.timedelta(days=-7), "invoice.reminder"),
    Step(dt.timedelta(days=0), "invoice.due"),
    Step(dt.timedelta(days=7), "invoice.overdue"),
    Step(dt.timedelta(days=14), "invoice.expired"),
)
#: How long a new invoice may be paid, and how long before a period's end the next is sent.
DUE_AFTER = dt.timedelta(days=14)
#: One whose payment was taken back has been waiting already.
DUE_AFTER_RETURN = dt.timedelta(days=7)


def first(due_at: dt.datetime, *, now: dt.datetime) -> tuple[int, dt.datetime | None]:
    """How many steps are past, and when the next one is due."""
    past = sum(1 for step in STEPS if due_at + step.after <= now)
    return past, at(due_at, past)


def at(due_at: dt.datetime, done: int) -> dt.datetime | None:
    """When the step after the first `done` is due; None after the last."""
    return due_at + STEPS[done].after if done < len(STEPS) else None
