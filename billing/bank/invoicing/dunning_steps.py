"""The dunning schedule of an unpaid invoice: the bank's days of the one schedule, with events."""

import datetime as dt
from typing import NamedTuple

from billing.lifecycle.dunning import schedule as dunning_schedule
from billing.lifecycle.dunning.schedule import DAY, TRANSFER_DUE_AFTER


class InvoiceStep(NamedTuple):
    """An event so long after the due day, or before it if negative."""

    after: dt.timedelta
    event: str


#: Days after the due day -> the event that the main app gets.
EVENTS = {
    -7: "invoice.reminder",
    0: "invoice.due",
    7: "invoice.overdue",
    dunning_schedule.SUSPEND_DAY: "invoice.expired",
    dunning_schedule.CANCEL_DAY: "invoice.written_off",
}
STEPS = tuple(InvoiceStep(s.day * DAY, EVENTS[s.day]) for s in dunning_schedule.of("bank"))
#: Time to pay a new invoice, and how long before a period's end the next invoice is sent.
DUE_AFTER = TRANSFER_DUE_AFTER
#: Time to pay an invoice again after its payment was returned.
DUE_AFTER_RETURN = dt.timedelta(days=7)


def first(due_at: dt.datetime, *, now: dt.datetime) -> tuple[int, dt.datetime | None]:
    """The number of steps that are past, and when the next one is due (None: never)."""
    past = sum(1 for step in STEPS if due_at + step.after <= now)
    return past, due_at + STEPS[past].after if past < len(STEPS) else None
