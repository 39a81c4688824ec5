"""The effects of a status change on trials, dunning and credit cycles, and its history.

`billing.lifecycle.status` calls them in the transaction and under the locks of the change.
"""

from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from functools import partial

from billing.context import Context
from billing.errors import NoPlan
from billing.events import outbox
from billing.events.outbox import NewEvent
from billing.host import accounts, funding
from billing.lifecycle import transitions
from billing.lifecycle.dunning import rows as dunning_rows
from billing.lifecycle.trials import rows as trial_rows
from billing.postgres import sql
from billing.renewal import cycle_rows, cycles, expiry, signup_grant


def leave_active(ctx: Context, account_id: int) -> None:
    """Before an account leaves `active`: give what was due until now, and end its credit cycle."""
    cycles.end(ctx, account_id)


def end_trials(ctx: Context, account_ids: Iterable[int], *, outcome: str) -> None:
    """End the trials of these accounts, and expire what is left of their trial credits."""
    ids = list(account_ids)
    trial_rows.end(ctx, ids, outcome=outcome)
    if ctx.policy.trial_credits_lapse:
        expiry.end_trial_credits(ctx, ids)


def _close_announced(ctx: Context, came_from: Mapping[int, str]) -> None:
    """Close the cases of announced transfers; acts that record other payments close theirs."""
    announced = [id for id, before in came_from.items() if before == "pending_payment"]
    if announced:
        dunning_rows.close(ctx, announced, outcome="paid")


def _open_announced(ctx: Context, came_from: Mapping[int, str]) -> None:
    """Open a case for an announced transfer, which may never come.

    Accounts with an open invoice get no case: the invoice has reminders of its own.
    """
    for account_id in came_from.keys() - dunning_rows.billed(ctx.session, came_from):
        dunning_rows.open_case(ctx, account_id, cause="transfer_announced")


def _start_cycles(ctx: Context, came_from: Mapping[int, str]) -> None:
    """Begin or resume the monthly credits of accounts that become active."""
    cycle_by_account = cycle_rows.read(ctx.session, came_from)
    new = [
        id for id, before in came_from.items() if id not in cycle_by_account and before != "active"
    ]
    # A purchase brings its own credits, so a funded account begins no cycle.
    funded = funding.funded_accounts(ctx, new) if new else set()
    for account_id, before in came_from.items():
        if account_id in cycle_by_account:
            cycles.resume(ctx, account_id)
        elif before == "active":
            # It was active before we knew it: the main app may have given its credits.
            with suppress(NoPlan):
                signup_grant.give(ctx, account_id)
        elif account_id not in funded:
            # Its first period begins, with the subscription if there is one.
            began_at, _ = accounts.anchors(ctx.session, account_id)
            cycles.begin(ctx, account_id, anchor_at=began_at or ctx.now)


#: The effects of reaching a status. An effect gets the status that each account had
#: before, not counting a suspension. `pending_payment` does not end a trial, for the customer goes
#: on trying until the transfer comes; nor does a suspension, except for the reason `trial_over`
#: (`status.suspend_all`), for a dispute may be settled within the trial.
EFFECTS: Mapping[str, tuple[Callable[[Context, Mapping[int, str]], object], ...]] = {
    "active": (partial(end_trials, outcome="paid"), _close_announced, _start_cycles),
    "cancelled": (
        partial(end_trials, outcome="cancelled"),
        partial(dunning_rows.close, outcome="cancelled"),
    ),
    "pending_payment": (_open_announced,),
}


def apply(ctx: Context, statuses_before: Mapping[int, str], *, to: str) -> None:
    """Apply the effects of reaching a status, under the locks of the change."""
    for effect in EFFECTS.get(to, ()):
        effect(ctx, statuses_before)


def record(
    ctx: Context, statuses_before: Iterable[tuple[int, str]], *, to: str, reason: str
) -> None:
    """Record that these accounts, each with its status before, went to a status."""
    changed = list(statuses_before)
    sql.insert(
        ctx.session,
        "billing.status_changes",
        {"account_id": "bigint", "status_from": "text"},
        changed,
        constants={"status_to": to, "reason": reason, "actor": ctx.actor, "happened_at": ctx.now},
    )
    facts = {"status_to": to, "reason": reason, "actor": ctx.actor}
    events = [
        NewEvent(transitions.event_of(before, to), account_id, {"status_from": before, **facts})
        for account_id, before in changed
    ]
    outbox.leave_all(ctx, events)
