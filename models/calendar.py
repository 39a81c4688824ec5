"""Credit cycles: when an account's next lot is due, and from which plan."""

import datetime as dt

from sqlalchemy import CheckConstraint
from sqlalchemy.orm import Mapped

from models.base import BigInt, Ours, OwnerId, partial_index


class CreditCalendar(Ours, table="credit_calendars"):
    """An account's credit cycle: one row for each account that was ever active here.

    Period n begins n-1 months after `anchor_at`. `period_number` is the current period, `plan_id`
    the plan that its credits come from, `next_plan_id` a smaller plan that begins after it. The
    main app granted the credits of periods before `first_period`. `ended_at` is set while the
    account is not active. Written only under the account's lock.
    """

    __table_args__ = (
        CheckConstraint("period_number >= 1", name="period_number"),
        CheckConstraint("next_due_at > anchor_at", name="next_due_at"),
        partial_index("credit_calendars_due_idx", "next_due_at", where="ended_at IS NULL"),
    )

    account_id: Mapped[OwnerId]
    anchor_at: Mapped[dt.datetime]
    period_number: Mapped[int]
    first_period: Mapped[int]
    next_due_at: Mapped[dt.datetime]
    plan_id: Mapped[BigInt]
    next_plan_id: Mapped[BigInt | None]
    ended_at: Mapped[dt.datetime | None]
    recorded_at: Mapped[dt.datetime]
