"""The schedule of dunning: what happens on which day to whom who does not pay, in one table.

Access and retries stand in the same rows, for card and bank, so that they can't disagree. Days
count from the day on which the money was due.
"""

import datetime as dt
from typing import NamedTuple

DAY = dt.timedelta(days=1)


class Step(NamedTuple):
    """What is done so many days after the due day. `action`: remind, retry, suspend or cancel."""

    day: int
    action: str
    card: bool
    bank: bool


# A card is tried again by whoever holds it (Stripe's own retries, where they are on); `retry` asks
# for a try where none is planned. A transfer can't be tried again, takes a day or two, and is asked
# for before it is due; the invoices of bank customers take their days from here
# (`billing.bank.invoicing.dunning_steps`).
SCHEDULE = (
    Step(-7, "remind", card=False, bank=True),
    Step(0, "remind", card=True, bank=True),
    Step(3, "retry", card=True, bank=False),
    Step(3, "remind", card=True, bank=False),
    Step(7, "retry", card=True, bank=False),
    Step(7, "remind", card=True, bank=True),
    Step(12, "remind", card=True, bank=False),
    Step(14, "suspend", card=True, bank=True),
    Step(21, "retry", card=True, bank=False),
    Step(21, "remind", card=True, bank=False),
    Step(30, "cancel", card=True, bank=True),
)
#: A day before the first step of all.
BEFORE_ALL = min(step.day for step in SCHEDULE) - 1
SUSPEND_DAY = 14
CANCEL_DAY = 30

#: A retry of a charge declined so is pointless: the card, or the customer's consent, is gone. As
#: Stripe's documentation of declines and of automatic retries has them.
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
#: So many days of retries and of waiting for them are left out then.
SKIPPED = 7 * DAY


def of(schedule: str) -> list[Step]:
    """The steps for `card` or `bank`, by day."""
    return [step for step in SCHEDULE if getattr(step, schedule)]


def next_due(schedule: str, starts_at: dt.datetime, *, done_until: int) -> dt.datetime | None:
    """When the first step after day `done_until` is due; None after the last."""
    days = [step.day for step in of(schedule) if step.day > done_until]
    return starts_at + min(days) * DAY if days else None


class Cause(NamedTuple):
    """Why money is missing: whose schedule, and how long after the news of it the money is due."""

    schedule: str
    due_after: dt.timedelta


#: How long a transfer may be under way, and how long before a period's end the invoice is sent.
TRANSFER_DUE_AFTER = dt.timedelta(days=14)
CAUSES = {
    "card_failed": Cause("card", dt.timedelta(0)),
    "transfer_announced": Cause("bank", TRANSFER_DUE_AFTER),
}
