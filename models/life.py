"""An account's life as rows: its trial, what it owes, what is too much, how it was closed."""

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
    """The one trial of an account; open while `ended_at` is null.

    From `ends_at` to `suspends_at` is the grace. `outcome`: paid, expired, cancelled or deleted.
    Written only under the account's lock.
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
    """A reminder of one end of a trial; `is_sent` false: the sweep came when it was too late."""

    __tablename__ = "trial_reminders"
    __table_args__ = ({"schema": SCHEMA},)

    account_id: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    ends_at: Mapped[dt.datetime] = mapped_column(Moment, primary_key=True)
    days_before: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=False)
    is_sent: Mapped[bool] = mapped_column(Boolean)
    recorded_at: Mapped[dt.datetime] = mapped_column(Moment)


class TrialIdentity(Base):
    """Who had a trial: a digest of an e-mail address, its domain, a card, or a payer's IBAN.

    `is_repeated`: another account had a trial under it before; null until the sweep has compared.
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
    """A person's word that trials which were to be suspended until then may be, however many."""

    __tablename__ = "trial_confirmations"
    __table_args__ = ({"schema": SCHEMA},)

    id: Mapped[int] = mapped_column(BigInteger, Identity(), primary_key=True)
    confirmed_until: Mapped[dt.datetime] = mapped_column(Moment)
    actor: Mapped[str] = mapped_column(Text)
    recorded_at: Mapped[dt.datetime] = mapped_column(Moment)


class DunningCase(Base):
    """Money that did not come; open while `closed_at` is null, one an account.

    `schedule`: card or bank. The days of the schedule count from `starts_at`, which lies before
    `opened_at` where a decline code skips ahead. `done_until` is the last day whose steps were
    taken, -8 before the first; `due_at`, when the next are. `outcome`: paid, billed
    (an invoice for a transfer asks for itself), cancelled, written_off, account_deleted.
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
    """A step that was taken; `is_done` false: a later one had overtaken it, or it made no sense."""

    __tablename__ = "dunning_steps"
    __table_args__ = ({"schema": SCHEMA},)

    case_id: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    day: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=False)
    action: Mapped[str] = mapped_column(Text, primary_key=True)
    is_done: Mapped[bool] = mapped_column(Boolean)
    happened_at: Mapped[dt.datetime] = mapped_column(Moment)


class LimitBreach(Base):
    """An account that uses more of something than its plan has; open while `ended_at` is null."""

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
    """A soft-deleted account whose time to be restored is over, and which was closed for good."""

    __tablename__ = "closures"
    __table_args__ = ({"schema": SCHEMA},)

    account_id: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    restore_until: Mapped[dt.datetime] = mapped_column(Moment)
    closed_at: Mapped[dt.datetime] = mapped_column(Moment)
