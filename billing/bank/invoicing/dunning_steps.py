"""The timetable of an unpaid invoice: the bank's days of the one schedule, each with its event."""

import datetime as dt
from typing import NamedTuple

from billing.lifecycle.dunning import schedule as dunning_schedule
from billing.lifecycle.dunning.schedule import DAY, TRANSFER_DUE_AFTER


class Step(NamedTuple):
    """What happens so long after the due day; negative: before it."""

    after: dt.timedelta
    event: str


#: What the main app hears on each day on which something is done about a bank customer.
EVENTS = {
    -7: "invoice.reminder",
    0: "invoice.due",
    7: "invoice.overdue",
    dunning_schedule.SUSPEND_DAY: "invoice.expired",
    dunning_schedule.CANCEL_DAY: "invoice.written_off",
}
STEPS = tuple([Step(s.day * DAY, EVENTS[s.day]) for s in dunning_schedule.of("bank")])
#: How long a new invoice may be paid, and how long before a period's end the next is sent.
DUE_AFTER = TRANSFER_DUE_AFTER
#: One whose payment was taken back has been waiting already.
DUE_AFTER_RETURN = dt.timedelta(days=7)


def first(due_at: dt.datetime, *, now: dt.datetime) -> tuple[int, dt.datetime | None]:
    """How many steps are past, and when the next one is due."""
    past = sum(1 for step in STEPS if due_at + step.after <= now)
    return past, at(due_at, past)


def at(due_at: dt.datetime, done: int) -> dt.datetime | None:
    """When the step after the first `done` is due; None after the last."""
    return due_at + STEPS[done].after if done < len(STEPS) else None
