"""The dunning schedule: which step runs on which day after a missed payment.

Reminders, retries and suspension are rows of one table, for card and bank, so that they can't
disagree. Days count from the day on which the payment was due.
"""

import datetime as dt
from typing import NamedTuple

DAY = dt.timedelta(days=1)


class ScheduledStep(NamedTuple):
    """A step on a day after the due day. `action`: remind, retry, suspend or cancel."""

    day: int
    action: str
    card: bool
    bank: bool


# Stripe retries cards itself, where that is switched on; `retry` asks for a retry where none is
# planned. A transfer can't be retried and takes a day or two, so its first reminder comes before
# the due day. The invoices of bank customers take their days from here
# (`billing.bank.invoicing.dunning_steps`).
SCHEDULE = (
    ScheduledStep(-7, "remind", card=False, bank=True),
    ScheduledStep(0, "remind", card=True, bank=True),
    ScheduledStep(3, "retry", card=True, bank=False),
    ScheduledStep(3, "remind", card=True, bank=False),
    ScheduledStep(7, "retry", card=True, bank=False),
    ScheduledStep(7, "remind", card=True, bank=True),
    ScheduledStep(12, "remind", card=True, bank=False),
    ScheduledStep(14, "suspend", card=True, bank=True),
    ScheduledStep(21, "retry", card=True, bank=False),
    ScheduledStep(21, "remind", card=True, bank=False),
    ScheduledStep(30, "cancel", card=True, bank=True),
)
#: A day before the first step.
BEFORE_ALL = min(step.day for step in SCHEDULE) - 1
SUSPEND_DAY = 14
CANCEL_DAY = 30

#: Decline codes after which a retry is pointless: the card, or the customer's consent, is gone
#: (docs.stripe.com/declines/codes, docs.stripe.com/billing/revenue-recovery/smart-retries).
HARD_DECLINES = frozenset(
    {
        "authentication_required",
        "expired_card",
        "highest_risk_level",
        "incorrect_number",
        "invalid_account",
        "lost_card",
        "pickup_card",
        "restricted_card",
        "revocation_of_all_authorizations",
        "revocation_of_authorization",
        "stolen_card",
        "transaction_not_allowed",
    }
)
#: The days that a hard decline skips: those of retries and of waiting for them.
SKIPPED = 7 * DAY


def of(schedule: str) -> list[ScheduledStep]:
    """List the steps for `card` or `bank`, by day."""
    return [step for step in SCHEDULE if getattr(step, schedule)]


def next_due(schedule: str, starts_at: dt.datetime, *, done_until: int) -> dt.datetime | None:
    """Return when the first step after day `done_until` is due; None after the last."""
    days = [step.day for step in of(schedule) if step.day > done_until]
    return starts_at + min(days) * DAY if days else None


class Cause(NamedTuple):
    """A cause of dunning: its schedule, and how long after the cause the payment is due."""

    schedule: str
    due_after: dt.timedelta


#: Time that a transfer may take; the invoice is sent that long before a period's end.
TRANSFER_DUE_AFTER = dt.timedelta(days=14)
CAUSES = {
    "card_failed": Cause("card", dt.timedelta(0)),
    "invoice_overdue": Cause("bank", dt.timedelta(0)),
    "transfer_announced": Cause("bank", TRANSFER_DUE_AFTER),
}
