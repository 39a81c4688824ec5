"""The status changes of an account: the reasons and actors that may make each, and its effects.

Only `billing.lifecycle.status` writes a status: it checks this table first, and applies the effects
on trials, dunning and credit cycles in the transaction and under the locks of the change.
"""

from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from typing import NamedTuple

from billing.context import Context
from billing.errors import NoPlan, StatusChangeRefused
from billing.events import outbox
from billing.events.outbox import NewEvent
from billing.host import accounts
from billing.host.accounts import HostAccount
from billing.host.funding import FUNDED_NOW
from billing.lifecycle.dunning import rows as dunning_rows
from billing.lifecycle.trials import rows as trial_rows
from billing.postgres import sql
from billing.renewal import cycles, expiry, signup_grant

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


def check(changing: Iterable[HostAccount], *, to: str, reason: str, actor: str) -> None:
    """Check that the actor may bring all these accounts to a status for this reason.

    A suspended account may be suspended for another reason too. Raises StatusChangeRefused.
    """
    role = actor.partition(":")[0]
    for account in changing:
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


class Situation(NamedTuple):
    """The rows of an account that a change of its status may end, resume or begin.

    `is_billed`: it has an open invoice for a bank transfer.
    """

    in_trial: bool
    has_trial_credits: bool
    in_dunning: bool
    is_billed: bool
    has_cycle: bool
    is_funded: bool


_SITUATIONS = f"""
SELECT a.id,
    EXISTS (SELECT FROM billing.trials AS t WHERE t.account_id = a.id AND t.ended_at IS NULL),
    EXISTS (SELECT FROM billing.lots AS l
            WHERE l.account_id = a.id AND l.is_open AND l.source = 'trial'),
    EXISTS (SELECT FROM billing.dunning_cases AS d
            WHERE d.account_id = a.id AND d.closed_at IS NULL),
    EXISTS (SELECT FROM billing.transfer_invoices AS i
            WHERE i.account_id = a.id AND i.state = 'open'),
    EXISTS (SELECT FROM billing.credit_calendars AS c WHERE c.account_id = a.id),
    {FUNDED_NOW}
FROM igny8_tenants AS a WHERE a.id = ANY(%(ids)s::bigint[])
"""  # noqa: S608 - our own condition

Situations = Mapping[int, Situation]


def _situations(ctx: Context, account_ids: Iterable[int]) -> Situations:
    """Read the situations of these accounts, by account. Call it under their locks."""
    values = {"ids": list(account_ids), "now": ctx.now}
    rows = ctx.session.connection().exec_driver_sql(_SITUATIONS, values)
    return {account_id: Situation(*columns) for account_id, *columns in rows}


def end_trials(ctx: Context, account_ids: Iterable[int], *, outcome: str) -> None:
    """End the trials of these accounts, and expire what is left of their trial credits."""
    _end_trials(ctx, _situations(ctx, account_ids), outcome=outcome)


def _end_trials(ctx: Context, situations: Situations, *, outcome: str) -> None:
    if in_trial := [id for id, situation in situations.items() if situation.in_trial]:
        trial_rows.end(ctx, in_trial, outcome=outcome)
    with_credits = [id for id, situation in situations.items() if situation.has_trial_credits]
    if with_credits and ctx.policy.trial_credits_lapse:
        expiry.end_trial_credits(ctx, with_credits)


def _close_cases(ctx: Context, situations: Situations, ids: Iterable[int], *, outcome: str) -> None:
    if in_dunning := [id for id in ids if situations[id].in_dunning]:
        dunning_rows.close(ctx, in_dunning, outcome=outcome)


def _activated(ctx: Context, came_from: Mapping[int, str], situations: Situations) -> None:
    """End the trials, close the cases of announced transfers, and start the monthly credits.

    Acts that record other payments close their cases themselves.
    """
    _end_trials(ctx, situations, outcome="paid")
    announced = [id for id, before in came_from.items() if before == "pending_payment"]
    _close_cases(ctx, situations, announced, outcome="paid")
    for account_id, before in came_from.items():
        if situations[account_id].has_cycle:
            cycles.resume(ctx, account_id)
        elif before == "active":
            # It was active before we knew it: the main app may have given its credits.
            with suppress(NoPlan):
                signup_grant.give(ctx, account_id)
        elif not situations[account_id].is_funded:
            # Its first period begins, with the subscription if there is one. A purchase brings its
            # own credits, so a funded account begins no cycle.
            began_at, _ = accounts.anchors(ctx.session, account_id)
            cycles.begin(ctx, account_id, anchor_at=began_at or ctx.now)


def _cancelled(ctx: Context, came_from: Mapping[int, str], situations: Situations) -> None:
    """End the trials and close the dunning cases."""
    _end_trials(ctx, situations, outcome="cancelled")
    _close_cases(ctx, situations, came_from, outcome="cancelled")


def _awaits_payment(ctx: Context, came_from: Mapping[int, str], situations: Situations) -> None:
    """Open a case for an announced transfer, which may never come.

    Accounts with an open invoice get no case: the invoice has reminders of its own.
    """
    for account_id in came_from:
        if not situations[account_id].is_billed:
            dunning_rows.open_case(ctx, account_id, cause="transfer_announced")


#: The effects of reaching a status. They get the status that each account had before, not counting
#: a suspension. `pending_payment` does not end a trial, for the customer goes on trying until the
#: transfer comes; nor does a suspension, except for the reason `trial_over` (`status.suspend_all`),
#: for a dispute may be settled within the trial.
EFFECTS: Mapping[str, Callable[[Context, Mapping[int, str], Situations], None]] = {
    "active": _activated,
    "cancelled": _cancelled,
    "pending_payment": _awaits_payment,
}


def apply(ctx: Context, statuses_before: Mapping[int, str], *, to: str) -> None:
    """Apply the effects of reaching a status, under the locks of the change."""
    if follow := EFFECTS.get(to):
        follow(ctx, statuses_before, _situations(ctx, statuses_before))


def record(
    ctx: Context, statuses_before: Iterable[tuple[int, str]], *, to: str, reason: str
) -> None:
    """Record that these accounts, each with its status before, went to a status."""
    changed = list(statuses_before)
    facts = {"status_to": to, "reason": reason, "actor": ctx.actor}
    events = [
        NewEvent(event_of(before, to), account_id, {"status_from": before, **facts})
        for account_id, before in changed
    ]
    sql.insert(
        ctx.session,
        "billing.status_changes",
        {"account_id": "bigint", "status_from": "text"},
        changed,
        constants={"status_to": to, "reason": reason, "actor": ctx.actor, "happened_at": ctx.now},
    )
    outbox.leave_all(ctx, events)
