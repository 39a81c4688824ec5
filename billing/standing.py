"""What a change of status does to credits: who is let in gets periods, who leaves gets no more.

Called by `billing.status`, in the transaction and under the lock of the change.
"""

import datetime as dt
from contextlib import suppress

from sqlalchemy.orm import Session

from billing import accounts, calendar_rows, calendars, expiry, seeding
from billing.errors import NoPlan

#: Reaching one of these ends a trial, and its credits with it. `pending_payment` does not: the
#: transfer is on its way, and the customer goes on trying.
ENDS_TRIAL = frozenset({"active", "cancelled"})
#: Nor does a suspension, but for this reason: a dispute may be settled within the trial.
ENDS_TRIAL_BY_SUSPENSION = "trial_over"


def leaves_active(session: Session, account_id: int, *, now: dt.datetime) -> None:
    """Before the change: the account gets what was due to the moment, and its calendar ends."""
    calendars.end(session, account_id, now=now)


def ends_trial(session: Session, account_id: int, *, now: dt.datetime) -> None:
    """The account's trial is over, whatever its status: what is left of its credits expires."""
    expiry.end_trial_credits(session, account_id, now=now)


def has_reached(
    session: Session, account_id: int, status: str, *, came_from: str, now: dt.datetime
) -> None:
    """After the change. `came_from`: the last status before, less a suspension."""
    if status in ENDS_TRIAL:
        ends_trial(session, account_id, now=now)
    if status == "active":
        _let_in(session, account_id, came_from=came_from, now=now)


def _let_in(session: Session, account_id: int, *, came_from: str, now: dt.datetime) -> None:
    if calendar_rows.read(session, [account_id]):
        calendars.take_up(session, account_id, now=now)
    elif came_from != "active":
        # It has just been paid for: its first period begins, with the subscription if there is one.
        began_at, _ = accounts.anchors(session, account_id)
        calendars.begin(session, account_id, anchor_at=began_at or now, now=now)
    else:
        # It was active before we knew it: the main app may have given its credits.
        with suppress(NoPlan):
            seeding.seed(session, account_id, now=now)
