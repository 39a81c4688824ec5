"""The lifecycle of accounts: trials, dunning cases, exceeded plan limits and closing."""

import datetime as dt

from sqlalchemy import CheckConstraint, Index, text
from sqlalchemy.orm import Mapped, mapped_column

from models.base import BigInt, NewId, Ours, OwnerId, partial_index


class Trial(Ours, table="trials"):
    """The only trial of an account; open while `ended_at` is null.

    The grace period runs from `ends_at` to `suspends_at`. `outcome`: paid, expired, cancelled or
    deleted. Written only under the account's lock.
    """

    __table_args__ = (
        CheckConstraint("ends_at >= started_at", name="ends_at"),
        CheckConstraint("suspends_at >= ends_at", name="suspends_at"),
        CheckConstraint("(ended_at IS NULL) = (outcome IS NULL)", name="outcome"),
        partial_index("trials_due_idx", "suspends_at", "account_id", where="ended_at IS NULL"),
        partial_index(
            "trials_reminder_idx", "next_reminder_at", "account_id", where="ended_at IS NULL"
        ),
    )

    account_id: Mapped[OwnerId]
    started_at: Mapped[dt.datetime]
    ends_at: Mapped[dt.datetime]
    suspends_at: Mapped[dt.datetime]
    next_reminder_at: Mapped[dt.datetime | None]
    ended_at: Mapped[dt.datetime | None]
    outcome: Mapped[str | None]
    recorded_at: Mapped[dt.datetime]


class TrialReminder(Ours, table="trial_reminders"):
    """A reminder before a trial's end; `is_sent` false: the sweep ran too late to send it."""

    account_id: Mapped[OwnerId]
    ends_at: Mapped[dt.datetime] = mapped_column(primary_key=True)
    days_before: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    is_sent: Mapped[bool]
    recorded_at: Mapped[dt.datetime]


class TrialIdentity(Ours, table="trial_identities"):
    """A trial fingerprint: a digest of an e-mail address, its domain, a card or a payer's IBAN.

    `is_repeated`: an earlier account's trial has the same fingerprint; null until the sweep has
    compared it.
    """

    __table_args__ = (
        partial_index(
            "trial_identities_new_idx", "recorded_at", "account_id", where="is_repeated IS NULL"
        ),
    )

    kind: Mapped[str] = mapped_column(primary_key=True)
    digest: Mapped[bytes] = mapped_column(primary_key=True)
    account_id: Mapped[OwnerId] = mapped_column(index=True)
    is_repeated: Mapped[bool | None]
    recorded_at: Mapped[dt.datetime]


class TrialConfirmation(Ours, table="trial_confirmations"):
    """An operator's confirmation that all trials due until then may be suspended."""

    id: Mapped[NewId]
    confirmed_until: Mapped[dt.datetime]
    actor: Mapped[str]
    recorded_at: Mapped[dt.datetime]


class DunningCase(Ours, table="dunning_cases"):
    """A missed payment; open while `closed_at` is null, one open case for each account.

    `schedule`: card or bank. Its days count from `starts_at`, which is before `opened_at` if a
    decline code skips ahead. `done_until`: the last day whose steps were taken, -8 before the
    first. `due_at`: when the next steps are due. `outcome`: paid, billed (an invoice for a bank
    transfer has its own reminders), cancelled, written_off or account_deleted.
    """

    __table_args__ = (
        CheckConstraint("schedule IN ('card', 'bank')", name="schedule"),
        CheckConstraint("(closed_at IS NULL) = (outcome IS NULL)", name="outcome"),
        CheckConstraint("(closed_at IS NULL) = (due_at IS NOT NULL)", name="due_at"),
        partial_index(
            "dunning_cases_open_idx", "account_id", unique=True, where="closed_at IS NULL"
        ),
        partial_index("dunning_cases_due_idx", "due_at", "id", where="closed_at IS NULL"),
        Index(None, "account_id", "id"),
    )

    id: Mapped[NewId]
    account_id: Mapped[BigInt]
    schedule: Mapped[str]
    cause: Mapped[str]
    invoice_id: Mapped[BigInt | None]
    decline_code: Mapped[str | None]
    opened_at: Mapped[dt.datetime]
    starts_at: Mapped[dt.datetime]
    done_until: Mapped[int] = mapped_column(server_default=text("-8"))
    due_at: Mapped[dt.datetime | None]
    retry_at: Mapped[dt.datetime | None]
    closed_at: Mapped[dt.datetime | None]
    outcome: Mapped[str | None]


class DunningStep(Ours, table="dunning_steps"):
    """A dunning step; `is_done` false: skipped, since a later one was due or it did not apply."""

    case_id: Mapped[OwnerId]
    day: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    action: Mapped[str] = mapped_column(primary_key=True)
    is_done: Mapped[bool]
    happened_at: Mapped[dt.datetime]


class LimitBreach(Ours, table="limit_breaches"):
    """An exceeded plan limit of an account; open while `ended_at` is null."""

    __table_args__ = (
        partial_index(
            "limit_breaches_open_idx", "account_id", "what", unique=True, where="ended_at IS NULL"
        ),
    )

    id: Mapped[NewId]
    account_id: Mapped[BigInt]
    what: Mapped[str]
    used: Mapped[BigInt]
    allowed: Mapped[BigInt]
    since: Mapped[dt.datetime]
    ended_at: Mapped[dt.datetime | None]


class Closure(Ours, table="closures"):
    """The final closing of a soft-deleted account whose time to be restored is over."""

    account_id: Mapped[OwnerId]
    restore_until: Mapped[dt.datetime]
    closed_at: Mapped[dt.datetime]
