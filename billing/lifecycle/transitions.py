"""The life of an account as a table: every change of status there is, why, and who may.

No other module decides on a status, and none writes one but `billing.lifecycle.status`.
"""

from typing import NamedTuple

#: Why an account may be suspended; each has a cure of its own.
SUSPENSION_REASONS = frozenset({"trial_over", "payment_failed", "dispute", "manual"})
#: Those that money cures.
MONEY_REASONS = frozenset({"trial_over", "payment_failed"})

#: Who may act for a reason: the part of the actor before the colon, as in `operator:jane`.
#: `billing` is a sweep, `stripe` and `bank` are money that came, or did not.
WHO_MAY = {
    "paid": frozenset({"billing", "stripe", "bank", "operator"}),
    "transfer_announced": frozenset({"bank", "main_app", "operator"}),
    "trial_over": frozenset({"billing", "stripe", "operator"}),
    "payment_failed": frozenset({"billing", "stripe", "bank", "operator"}),
    "dispute": frozenset({"stripe", "operator"}),
    "manual": frozenset({"operator"}),
    "requested": frozenset({"main_app", "stripe", "operator"}),
    "subscription_ended": frozenset({"stripe", "billing", "operator"}),
    "never_paid": frozenset({"billing", "bank", "operator"}),
    "lifted": frozenset({"billing", "stripe", "bank", "main_app", "operator"}),
}


class Step(NamedTuple):
    """A change of status, the reasons that allow it, and the event it leaves."""

    status_from: str
    status_to: str
    reasons: frozenset[str]
    event: str


def _step(status_from: str, status_to: str, event: str, *reasons: str) -> Step:
    return Step(status_from, status_to, frozenset(reasons), f"account.{event}")


STEPS = (
    _step("trial", "active", "activated", "paid", "manual"),
    _step("trial", "pending_payment", "awaits_payment", "transfer_announced"),
    _step("trial", "suspended", "suspended", *SUSPENSION_REASONS),
    _step("trial", "cancelled", "cancelled", "requested", "subscription_ended", "manual"),
    _step("active", "suspended", "suspended", *SUSPENSION_REASONS),
    _step("active", "cancelled", "cancelled", "requested", "subscription_ended", "manual"),
    _step("pending_payment", "active", "activated", "paid", "manual"),
    _step("pending_payment", "suspended", "suspended", *SUSPENSION_REASONS),
    _step("pending_payment", "cancelled", "cancelled", "requested", "never_paid", "manual"),
    _step("suspended", "active", "reactivated", "lifted", "paid"),
    _step("suspended", "trial", "reactivated", "lifted"),
    _step("suspended", "pending_payment", "awaits_payment", "lifted", "transfer_announced"),
    _step(
        "suspended",
        "cancelled",
        "cancelled",
        *("requested", "subscription_ended", "never_paid", "manual"),
    ),
    _step("cancelled", "active", "reactivated", "paid", "manual"),
    _step("cancelled", "pending_payment", "awaits_payment", "transfer_announced"),
)
TABLE = {(step.status_from, step.status_to): step for step in STEPS}


def may(actor: str, reason: str) -> bool:
    """Whether the actor, such as `billing` or `operator:jane`, may act for the reason."""
    return actor.partition(":")[0] in WHO_MAY.get(reason, ())
