"""The status changes of an account: which there are, for which reasons, and who may make them.

Only `billing.lifecycle.status` writes a status, and it checks this table first.
"""

from collections.abc import Iterable
from typing import NamedTuple

from billing.errors import StatusChangeRefused
from billing.host.accounts import HostAccount

#: Why an account may be suspended. Each reason is lifted by itself.
SUSPENSION_REASONS = frozenset({"trial_over", "payment_failed", "dispute", "manual"})
#: The reasons for suspension that a payment lifts.
MONEY_REASONS = frozenset({"trial_over", "payment_failed"})

#: The reason recorded for a status that the main app wrote itself, whichever it is.
SET_BY_APP = "set_by_app"

#: The actors that may use a reason, by the part before the colon: `operator` of `operator:jane`.
#: `billing` is a sweep; `stripe` and `bank` are payments that came, or failed.
WHO_MAY = {
    "paid": frozenset({"billing", "stripe", "bank", "operator"}),
    "transfer_announced": frozenset({"bank", "main_app", "operator"}),
    "trial_over": frozenset({"billing", "stripe", "operator"}),
    "payment_failed": frozenset({"billing", "stripe", "bank", "operator"}),
    "trial_started": frozenset({"stripe", "operator"}),
    "dispute": frozenset({"stripe", "operator"}),
    "manual": frozenset({"operator"}),
    "requested": frozenset({"main_app", "stripe", "operator"}),
    "subscription_ended": frozenset({"stripe", "billing", "operator"}),
    "never_paid": frozenset({"billing", "bank", "operator"}),
    "lifted": frozenset({"billing", "stripe", "bank", "main_app", "operator"}),
}


class Transition(NamedTuple):
    """A change of status, the reasons that allow it, and the event that it leaves."""

    status_from: str
    status_to: str
    reasons: frozenset[str]
    event: str


def _transition(status_from: str, status_to: str, event: str, *reasons: str) -> Transition:
    return Transition(status_from, status_to, frozenset(reasons), f"account.{event}")


TRANSITIONS = (
    _transition("trial", "active", "activated", "paid", "manual"),
    _transition("trial", "pending_payment", "awaits_payment", "transfer_announced"),
    _transition("trial", "suspended", "suspended", *SUSPENSION_REASONS),
    _transition("trial", "cancelled", "cancelled", "requested", "subscription_ended", "manual"),
    _transition("active", "suspended", "suspended", *SUSPENSION_REASONS),
    _transition("active", "cancelled", "cancelled", "requested", "subscription_ended", "manual"),
    _transition("pending_payment", "active", "activated", "paid", "manual"),
    _transition("pending_payment", "suspended", "suspended", *SUSPENSION_REASONS),
    _transition("pending_payment", "cancelled", "cancelled", "requested", "never_paid", "manual"),
    _transition("suspended", "active", "reactivated", "lifted", "paid"),
    _transition("suspended", "trial", "reactivated", "lifted"),
    _transition("suspended", "pending_payment", "awaits_payment", "lifted", "transfer_announced"),
    _transition(
        "suspended",
        "cancelled",
        "cancelled",
        *("requested", "subscription_ended", "never_paid", "manual"),
    ),
    _transition("cancelled", "active", "reactivated", "paid", "manual"),
    _transition("cancelled", "trial", "reactivated", "trial_started"),
    _transition("cancelled", "pending_payment", "awaits_payment", "transfer_announced"),
)
BY_STATUSES = {(change.status_from, change.status_to): change for change in TRANSITIONS}

#: The events of changes that only the main app makes, by writing the status itself. A status that
#: we do not know means no access.
EVENTS_OF_THE_APP = {
    "active": "account.reactivated",
    "trial": "account.in_trial",
    "pending_payment": "account.awaits_payment",
    "cancelled": "account.cancelled",
}


def event_of(status_from: str, status_to: str) -> str:
    """Return the type of event that a change of status leaves."""
    transition = BY_STATUSES.get((status_from, status_to))
    if transition is not None:
        return transition.event
    return EVENTS_OF_THE_APP.get(status_to, "account.suspended")


def check(accounts: Iterable[HostAccount], *, to: str, reason: str, actor: str) -> None:
    """Check that the actor may bring all these accounts to a status for this reason.

    A suspended account may be suspended for another reason too. Raises StatusChangeRefused.
    """
    role = actor.partition(":")[0]
    for account in accounts:
        if not _allows(account.status, to, reason):
            raise refused(account, to=to, reason=reason, hint="the status table does not allow it")
        if role not in WHO_MAY.get(reason, ()):
            raise refused(account, to=to, reason=reason, hint=f"{role} may not act for it")


def _allows(status: str, to: str, reason: str) -> bool:
    if status == to == "suspended":
        return reason in SUSPENSION_REASONS
    transition = BY_STATUSES.get((status, to))
    return transition is not None and reason in transition.reasons


def refused(account: HostAccount, *, to: str, reason: str, hint: str) -> StatusChangeRefused:
    """Make the refusal of a status change; `hint` says why, or what to do instead."""
    return StatusChangeRefused(
        account_id=account.id, status=account.status, to=to, reason=reason, hint=hint
    )
