"""Credit cycles: when an account's next lot is due, and from which plan."""

import datetime as dt

from sqlalchemy import BigInteger, CheckConstraint, Index, Integer, text
from sqlalchemy.orm import Mapped, mapped_column

from models.base import SCHEMA, Base, Moment


class CreditCalendar(Base):
    """An account's credit cycle: one row for each account that was ever active here.

    Period n begins n-1 months after `anchor_at`. `period_number` is the current period, `plan_id`
    the plan that its credits come from, `next_plan_id` a smaller plan that begins after it. The
    main app granted the credits of periods before `first_period`. `ended_at` is set while the
    account is not active. Written only under the account's lock.
    """

    __tablename__ = "credit_calendars"
    __table_args__ = (
        CheckConstraint("period_number >= 1", name="period_number"),
        CheckConstraint("next_due_at > anchor_at", name="next_due_at"),
        Index("credit_calendars_due_idx", "next_due_at", postgresql_where=text("ended_at IS NULL")),
        {"schema": SCHEMA},
    )

    account_id: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    anchor_at: Mapped[dt.datetime] = mapped_column(Moment)
    period_number: Mapped[int] = mapped_column(Integer)
    first_period: Mapped[int] = mapped_column(Integer)
    next_due_at: Mapped[dt.datetime] = mapped_column(Moment)
    plan_id: Mapped[int] = mapped_column(BigInteger)
    next_plan_id: Mapped[int | None] = mapped_column(BigInteger)
    ended_at: Mapped[dt.datetime | None] = mapped_column(Moment)
    recorded_at: Mapped[dt.datetime] = mapped_column(Moment)
