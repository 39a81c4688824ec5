"""The context of an act: its transaction, its time, its actor and the operator's policy."""

import datetime as dt
from dataclasses import dataclass, field, replace
from typing import Literal

from sqlalchemy.orm import Session


@dataclass(frozen=True, slots=True)
class Policy:
    """The operator's choices about trials and closed accounts; defaults as in the settings.

    Attributes:
        trial_days: Length of a trial, in days.
        grace_days: Days between the end of a trial and the suspension.
        trial_credits_lapse: Whether a trial's credits expire when it ends.
        suspended_at_once: Trials that one run may suspend without a confirmation.
        repeated_trials: A second trial of one trial fingerprint: `allow` with a warning, or
            `refuse`.
        closes_deleted: Whether deleted accounts are closed when they can't be restored any more.
        bridge_percent: The part of a month's credits that comes ahead of a renewal's payment.
        bridge_hours: Hours after the period's start in which it may be spent.
        shortfall_minor: The most that may be missing of a transfer, where the plan does not say.
        uses_unapplied_cash: Whether unapplied cash pays an invoice of its account that is due.
    """

    trial_days: int = 14
    grace_days: int = 3
    trial_credits_lapse: bool = True
    suspended_at_once: int = 100
    repeated_trials: Literal["allow", "refuse"] = "allow"
    closes_deleted: bool = False
    bridge_percent: int = 25
    bridge_hours: int = 72
    shortfall_minor: int = 0
    uses_unapplied_cash: bool = True

    @property
    def bridge(self) -> dt.timedelta:
        """The time after a period's start in which its bridge may be spent."""
        return dt.timedelta(hours=self.bridge_hours)

    @property
    def grace(self) -> dt.timedelta:
        """The time between the end of a trial and the suspension."""
        return dt.timedelta(days=self.grace_days)


@dataclass(frozen=True, slots=True)
class Context:
    """Everything that an act needs beside its own arguments.

    Attributes:
        session: The transaction. Acts never commit it.
        now: The time of the act, in UTC.
        actor: The name recorded as the cause of a change: `main_app`, `stripe`, `bank`,
            `billing`, or the operator's.
        policy: The operator's choices.
        ledger_key: The secret of the hash chain; None makes plain hashes.
        checkout_secrets: The secrets that sign the app's references in Checkout sessions.
    """

    session: Session
    now: dt.datetime
    actor: str = "billing"
    policy: Policy = field(default_factory=Policy)
    ledger_key: bytes | None = None
    checkout_secrets: tuple[str, ...] = ()

    def at(self, now: dt.datetime) -> "Context":
        """The same context at another time."""
        return replace(self, now=now)

    def by(self, actor: str) -> "Context":
        """The same context for another actor."""
        return replace(self, actor=actor)
