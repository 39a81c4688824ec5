"""The months of a credit cycle: boundaries and periods counted from an anchor, in UTC.

The n-th boundary is always computed from the anchor, never from the boundary before, so that an
anchor on the 31st falls on the last day of a shorter month and is the 31st again after it. Stripe
anchors its monthly billing in the same way (docs.stripe.com/billing/subscriptions/billing-cycle).
"""

import datetime as dt
from calendar import monthrange

MONTHS = 12


def boundary(anchor: dt.datetime, number: int) -> dt.datetime:
    """Return the moment `number` months after the anchor; 0 is the anchor itself.

    The day of the month is the anchor's, or the month's last; the time of day is kept.
    """
    assert number >= 0, "time before the anchor has no boundaries"
    anchor = anchor.astimezone(dt.UTC)
    years, month = divmod(anchor.month - 1 + number, MONTHS)
    year = anchor.year + years
    day = min(anchor.day, monthrange(year, month + 1)[1])
    return anchor.replace(year=year, month=month + 1, day=day)


def period_at(anchor: dt.datetime, moment: dt.datetime) -> int:
    """Return the number, from 1, of the period that holds `moment`, at or after the anchor.

    Period n begins at boundary n-1 and ends just before boundary n.
    """
    anchor, moment = anchor.astimezone(dt.UTC), moment.astimezone(dt.UTC)
    assert moment >= anchor, "no period holds a moment before the anchor"
    months = (moment.year - anchor.year) * MONTHS + moment.month - anchor.month
    return months + 1 if boundary(anchor, months) <= moment else months
