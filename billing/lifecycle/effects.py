"""What a change of status does to the rest: who is let in gets periods, who leaves gets no more.

Called by `billing.lifecycle.status`, in the transaction and under the locks of the change.
"""

from collections.abc import Mapping, Sequence
from contextlib import suppress

from billing.context import Context
from billing.errors import NoPlan
from billing.host import accounts, funding
from billing.lifecycle.dunning import rows as dunning_rows
from billing.lifecycle.trials import rows as trial_rows
from billing.renewal import cycle_rows, cycles, expiry, signup_grant

#: Reaching one of these ends a trial, and its credits with it: with which outcome.
#: `pending_payment` does not: the transfer is on its way, and the customer goes on trying.
ENDS_TRIAL = {"active": "paid", "cancelled": "cancelled"}
#: Nor does a suspension, but for this reason: a dispute may be settled within the trial.
ENDS_TRIAL_BY_SUSPENSION = "trial_over"
#: Reaching it begins the asking for money: a transfer was announced, and may never come. Going
#: from there to active ends it; any other money says so itself (`dunning.cases.stop`).
BEGINS_DUNNING = "pending_payment"


def leaves_active(ctx: Context, account_id: int) -> None:
    """Before the change: the account gets what was due to the moment, and its calendar ends."""
    cycles.end(ctx, account_id)


def ends_trial(ctx: Context, account_ids: Sequence[int], *, outcome: str) -> None:
    """The accounts' trials are over, whatever their status, and what is left of their credits."""
    trial_rows.end(ctx, account_ids, outcome=outcome)
    if ctx.policy.trial_credits_lapse:
        expiry.end_trial_credits(ctx, account_ids)


def have_reached(ctx: Context, status: str, *, came_from: Mapping[int, str]) -> None:
    """After the change. `came_from`: each account's last status before, less a suspension."""
    if status in ENDS_TRIAL and came_from:
        ends_trial(ctx, list(came_from), outcome=ENDS_TRIAL[status])
    if status == "cancelled":
        dunning_rows.close(ctx, came_from, outcome="cancelled")
    if status == "active":
        awaited = [id for id, before in came_from.items() if before == BEGINS_DUNNING]
        dunning_rows.close(ctx, awaited, outcome="paid")
        _let_in(ctx, came_from)
    if status == BEGINS_DUNNING:
        # An invoice asks for itself.
        for account_id in came_from.keys() - dunning_rows.billed(ctx.session, came_from):
            dunning_rows.open_case(ctx, account_id, cause="transfer_announced")


def _let_in(ctx: Context, came_from: Mapping[int, str]) -> None:
    known = cycle_rows.read(ctx.session, came_from) if came_from else {}
    first = [id for id, before in came_from.items() if id not in known and before != "active"]
    # Who pays for his credits has no calendar to begin.
    paying = funding.funded_accounts(ctx, first) if first else set()
    for account_id, before in came_from.items():
        if account_id in known:
            cycles.take_up(ctx, account_id)
        elif before == "active":
            # It was active before we knew it: the main app may have given its credits.
            with suppress(NoPlan):
                signup_grant.seed(ctx, account_id)
        elif account_id not in paying:
            # Its first period begins, with the subscription if there is one.
            began_at, _ = accounts.anchors(ctx.session, account_id)
            cycles.begin(ctx, account_id, anchor_at=began_at or ctx.now)
