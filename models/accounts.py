"""Suspensions of accounts with their reasons, and every change of status."""

import datetime as dt

from sqlalchemy import Index, text
from sqlalchemy.orm import Mapped, mapped_column

from models.base import BigInt, NewId, Ours, partial_index


class Suspension(Ours, table="suspensions"):
    """A reason why an account is suspended; open while `lifted_at` is null."""

    __table_args__ = (
        partial_index(
            "suspensions_open_idx", "account_id", "reason", unique=True, where="lifted_at IS NULL"
        ),
    )

    id: Mapped[NewId]
    account_id: Mapped[BigInt]
    reason: Mapped[str]
    actor: Mapped[str]
    status_before: Mapped[str]
    since: Mapped[dt.datetime]
    lifted_at: Mapped[dt.datetime | None]
    lifted_by: Mapped[str | None]


class StatusChange(Ours, table="status_changes"):
    """A change of an account's status; rows are only added."""

    __table_args__ = (Index(None, "account_id", "id"),)

    id: Mapped[NewId]
    account_id: Mapped[BigInt]
    status_from: Mapped[str]
    status_to: Mapped[str]
    reason: Mapped[str]
    actor: Mapped[str]
    happened_at: Mapped[dt.datetime]


class StatusWrite(Ours, table="status_writes"):
    """A status that somebody else than the worker wrote, until its effects are applied.

    Written by a trigger on the main app's table; `status_before` is the last known status.
    """

    __table_args__ = (Index(None, "account_id", "id"),)

    id: Mapped[NewId]
    account_id: Mapped[BigInt]
    status_before: Mapped[str]
    written_at: Mapped[dt.datetime] = mapped_column(server_default=text("clock_timestamp()"))
