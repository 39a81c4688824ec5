"""The lifecycle of accounts: trials, dunning cases, exceeded plan limits and closing."""

import datetime as dt

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Identity,
    Index,
    Integer,
    LargeBinary,
    Text,
    text,
)
from sqlalchemy.orm import Mapped, mapped_column

from models.base import SCHEMA, Base, Moment


class Trial(Base):
    """The only trial of an account; open while `ended_at` is null.

    The grace period runs from `ends_at` to `suspends_at`. `outcome`: paid, expired, cancelled or
    deleted. Written only under the account's lock.
    """

    __tablename__ = "trials"
    __table_args__ = (
        CheckConstraint("ends_at >= started_at", name="ends_at"),
        CheckConstraint("suspends_at >= ends_at", name="suspends_at"),
        CheckConstraint("(ended_at IS NULL) = (outcome IS NULL)", name="outcome"),
        Index(
            "trials_due_idx",
            "suspends_at",
            "account_id",
            postgresql_where=text("ended_at IS NULL"),
        ),
        Index(
            "trials_reminder_idx",
            "next_reminder_at",
            "account_id",
            postgresql_where=text("ended_at IS NULL"),
        ),
        {"schema": SCHEMA},
    )

    account_id: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    started_at: Mapped[dt.datetime] = mapped_column(Moment)
    ends_at: Mapped[dt.datetime] = mapped_column(Moment)
    suspends_at: Mapped[dt.datetime] = mapped_column(Moment)
    next_reminder_at: Mapped[dt.datetime | None] = mapped_column(Moment)
    ended_at: Mapped[dt.datetime | None] = mapped_column(Moment)
    outcome: Mapped[str | None] = mapped_column(Text)
    recorded_at: Mapped[dt.datetime] = mapped_column(Moment)


class TrialReminder(Base):
    """A reminder before a trial's end; `is_sent` false: the sweep ran too late to send it."""

    __tablename__ = "trial_reminders"
    __table_args__ = ({"schema": SCHEMA},)

    account_id: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    ends_at: Mapped[dt.datetime] = mapped_column(Moment, primary_key=True)
    days_before: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=False)
    is_sent: Mapped[bool] = mapped_column(Boolean)
    recorded_at: Mapped[dt.datetime] = mapped_column(Moment)


class TrialIdentity(Base):
    """A trial fingerprint: a digest of an e-mail address, its domain, a card or a payer's IBAN.

    `is_repeated`: an earlier account's trial has the same fingerprint; null until the sweep has
    compared it.
    """

    __tablename__ = "trial_identities"
    __table_args__ = (
        Index(None, "account_id"),
        Index(
            "trial_identities_new_idx",
            "recorded_at",
            "account_id",
            postgresql_where=text("is_repeated IS NULL"),
        ),
        {"schema": SCHEMA},
    )

    kind: Mapped[str] = mapped_column(Text, primary_key=True)
    digest: Mapped[bytes] = mapped_column(LargeBinary, primary_key=True)
    account_id: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    is_repeated: Mapped[bool | None] = mapped_column(Boolean)
    recorded_at: Mapped[dt.datetime] = mapped_column(Moment)


class TrialConfirmation(Base):
    """An operator's confirmation that all trials due until then may be suspended."""

    __tablename__ = "trial_confirmations"
    __table_args__ = ({"schema": SCHEMA},)

    id: Mapped[int] = mapped_column(BigInteger, Identity(), primary_key=True)
    confirmed_until: Mapped[dt.datetime] = mapped_column(Moment)
    actor: Mapped[str] = mapped_column(Text)
    recorded_at: Mapped[dt.datetime] = mapped_column(Moment)


class DunningCase(Base):
    """A missed payment; open while `closed_at` is null, one open case for each account.

    `schedule`: card or bank. Its days count from `starts_at`, which is before `opened_at` if a
    decline code skips ahead. `done_until`: the last day whose steps were taken, -8 before the
    first. `due_at`: when the next steps are due. `outcome`: paid, billed (an invoice for a bank
    transfer has its own reminders), cancelled, written_off or account_deleted.
    """

    __tablename__ = "dunning_cases"
    __table_args__ = (
        CheckConstraint("schedule IN ('card', 'bank')", name="schedule"),
        CheckConstraint("(closed_at IS NULL) = (outcome IS NULL)", name="outcome"),
        CheckConstraint("(closed_at IS NULL) = (due_at IS NOT NULL)", name="due_at"),
        Index(
            "dunning_cases_open_idx",
            "account_id",
            unique=True,
            postgresql_where=text("closed_at IS NULL"),
        ),
        Index("dunning_cases_due_idx", "due_at", "id", postgresql_where=text("closed_at IS NULL")),
        Index(None, "account_id", "id"),
        {"schema": SCHEMA},
    )

    id: Mapped[int] = mapped_column(BigInteger, Identity(), primary_key=True)
    account_id: Mapped[int] = mapped_column(BigInteger)
    schedule: Mapped[str] = mapped_column(Text)
    cause: Mapped[str] = mapped_column(Text)
    invoice_id: Mapped[int | None] = mapped_column(BigInteger)
    decline_code: Mapped[str | None] = mapped_column(Text)
    opened_at: Mapped[dt.datetime] = mapped_column(Moment)
    starts_at: Mapped[dt.datetime] = mapped_column(Moment)
    done_until: Mapped[int] = mapped_column(Integer, server_default=text("-8"))
    due_at: Mapped[dt.datetime | None] = mapped_column(Moment)
    retry_at: Mapped[dt.datetime | None] = mapped_column(Moment)
    closed_at: Mapped[dt.datetime | None] = mapped_column(Moment)
    outcome: Mapped[str | None] = mapped_column(Text)


class DunningStep(Base):
    """A dunning step; `is_done` false: skipped, since a later one was due or it did not apply."""

    __tablename__ = "dunning_steps"
    __table_args__ = ({"schema": SCHEMA},)

    case_id: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    day: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=False)
    action: Mapped[str] = mapped_column(Text, primary_key=True)
    is_done: Mapped[bool] = mapped_column(Boolean)
    happened_at: Mapped[dt.datetime] = mapped_column(Moment)


class LimitBreach(Base):
    """An exceeded plan limit of an account; open while `ended_at` is null."""

    __tablename__ = "limit_breaches"
    __table_args__ = (
        Index(
            "limit_breaches_open_idx",
            "account_id",
            "what",
            unique=True,
            postgresql_where=text("ended_at IS NULL"),
        ),
        {"schema": SCHEMA},
    )

    id: Mapped[int] = mapped_column(BigInteger, Identity(), primary_key=True)
    account_id: Mapped[int] = mapped_column(BigInteger)
    what: Mapped[str] = mapped_column(Text)
    used: Mapped[int] = mapped_column(BigInteger)
    allowed: Mapped[int] = mapped_column(BigInteger)
    since: Mapped[dt.datetime] = mapped_column(Moment)
    ended_at: Mapped[dt.datetime | None] = mapped_column(Moment)


class Closure(Base):
    """The final closing of a soft-deleted account whose time to be restored is over."""

    __tablename__ = "closures"
    __table_args__ = ({"schema": SCHEMA},)

    account_id: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    restore_until: Mapped[dt.datetime] = mapped_column(Moment)
    closed_at: Mapped[dt.datetime] = mapped_column(Moment)
