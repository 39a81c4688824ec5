"""Suspensions of accounts with their reasons, and every change of status."""

import datetime as dt

from sqlalchemy import BigInteger, Identity, Index, Text, text
from sqlalchemy.orm import Mapped, mapped_column

from models.base import SCHEMA, Base, Moment


class Suspension(Base):
    """A reason why an account is suspended; open while `lifted_at` is null."""

    __tablename__ = "suspensions"
    __table_args__ = (
        Index(
            "suspensions_open_idx",
            "account_id",
            "reason",
            unique=True,
            postgresql_where=text("lifted_at IS NULL"),
        ),
        {"schema": SCHEMA},
    )

    id: Mapped[int] = mapped_column(BigInteger, Identity(), primary_key=True)
    account_id: Mapped[int] = mapped_column(BigInteger)
    reason: Mapped[str] = mapped_column(Text)
    actor: Mapped[str] = mapped_column(Text)
    status_before: Mapped[str] = mapped_column(Text)
    since: Mapped[dt.datetime] = mapped_column(Moment)
    lifted_at: Mapped[dt.datetime | None] = mapped_column(Moment)
    lifted_by: Mapped[str | None] = mapped_column(Text)


class StatusChange(Base):
    """A change of an account's status; rows are only added."""

    __tablename__ = "status_changes"
    __table_args__ = (Index(None, "account_id", "id"), {"schema": SCHEMA})

    id: Mapped[int] = mapped_column(BigInteger, Identity(), primary_key=True)
    account_id: Mapped[int] = mapped_column(BigInteger)
    status_from: Mapped[str] = mapped_column(Text)
    status_to: Mapped[str] = mapped_column(Text)
    reason: Mapped[str] = mapped_column(Text)
    actor: Mapped[str] = mapped_column(Text)
    happened_at: Mapped[dt.datetime] = mapped_column(Moment)


class StatusWrite(Base):
    """A status that somebody else than the worker wrote, until its effects are applied.

    Written by a trigger on the main app's table; `status_before` is the last known status.
    """

    __tablename__ = "status_writes"
    __table_args__ = (Index(None, "account_id", "id"), {"schema": SCHEMA})

    id: Mapped[int] = mapped_column(BigInteger, Identity(), primary_key=True)
    account_id: Mapped[int] = mapped_column(BigInteger)
    status_before: Mapped[str] = mapped_column(Text)
    written_at: Mapped[dt.datetime] = mapped_column(
        Moment, server_default=text("clock_timestamp()")
    )
