"""What a change of status does to the rest: who is let in gets periods, who leaves gets no more.

Called by `billing.lifecycle.status`, in the transaction and under the locks of the change.
"""

import datetime as dt
from collections.abc import Mapping, Sequence
from contextlib import suppress

from sqlalchemy.orm import Session

from billing import policy
from billing.errors import NoPlan
from billing.host import accounts, coverage
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


def leaves_active(session: Session, account_id: int, *, now: dt.datetime) -> None:
    """Before the change: the account gets what was due to the moment, and its calendar ends."""
    cycles.end(session, account_id, now=now)


def ends_trial(
    session: Session, account_ids: Sequence[int], *, outcome: str, now: dt.datetime
) -> None:
    """The accounts' trials are over, whatever their status, and what is left of their credits."""
    trial_rows.end(session, account_ids, outcome=outcome, now=now)
    if policy.of(session).trial_credits_lapse:
        expiry.end_trial_credits(session, account_ids, now=now)


def have_reached(
    session: Session, status: str, *, came_from: Mapping[int, str], now: dt.datetime
) -> None:
    """After the change. `came_from`: each account's last status before, less a suspension."""
    if status in ENDS_TRIAL and came_from:
        ends_trial(session, list(came_from), outcome=ENDS_TRIAL[status], now=now)
    if status == "cancelled":
        dunning_rows.close(session, came_from, outcome="cancelled", now=now)
    if status == "active":
        awaited = [id for id, before in came_from.items() if before == BEGINS_DUNNING]
        dunning_rows.close(session, awaited, outcome="paid", now=now)
        _let_in(session, came_from, now=now)
    if status == BEGINS_DUNNING:
        # An invoice asks for itself.
        for account_id in came_from.keys() - dunning_rows.billed(session, came_from):
            dunning_rows.open_case(session, account_id, cause="transfer_announced", now=now)


def _let_in(session: Session, came_from: Mapping[int, str], *, now: dt.datetime) -> None:
    known = cycle_rows.read(session, came_from) if came_from else {}
    first = [id for id, before in came_from.items() if id not in known and before != "active"]
    # Who pays for his credits has no calendar to begin.
    paying = coverage.covered(session, first, now=now) if first else set()
    for account_id, before in came_from.items():
        if account_id in known:
            cycles.take_up(session, account_id, now=now)
        elif before == "active":
            # It was active before we knew it: the main app may have given its credits.
            with suppress(NoPlan):
                signup_grant.seed(session, account_id, now=now)
        elif account_id not in paying:
            # Its first period begins, with the subscription if there is one.
            began_at, _ = accounts.anchors(session, account_id)
            cycles.begin(session, account_id, anchor_at=began_at or now, now=now)
