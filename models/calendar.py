"""The calendar of credits: when an account's next lot is due, and from which plan."""

import datetime as dt

from sqlalchemy import BigInteger, CheckConstraint, Index, Integer, text
from sqlalchemy.orm import Mapped, mapped_column

from models.base import SCHEMA, Base, Moment


class CreditCalendar(Base):
    """One row per account that was ever active under us; ended while it is not.

    Period n begins n-1 months after `anchor_at`. `period_number` is the running one, `plan_id` the
    plan it was given from, `next_plan_id` a smaller plan that waits for its end. Periods before
    `first_period` were the main app's to give. Written only under the account's lock.
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
