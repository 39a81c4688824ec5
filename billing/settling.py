"""Money came for an account: what that means for its status, whatever it is."""

import datetime as dt

from sqlalchemy.orm import Session

from billing import accounts, dunning_rows, status, status_rows, trial_rows
from billing.steps import MONEY_REASONS


def has_paid(session: Session, account_id: int, *, actor: str, now: dt.datetime) -> bool:
    """Let the account in; whether it is. Call it in the transaction in which the money lands.

    Closes its dunning case, ends its trial, and lifts the reasons that money cures. While another
    reason stands, the account stays out, and is active once that is lifted: it has paid, and must
    not be asked again. Raises UnknownAccount, AccountDeleted, SystemAccount or
    StatusChangeRefused.
    """
    accounts.lock(session, [account_id])
    for reason in status.suspension_reasons(session, account_id):
        if reason in MONEY_REASONS:
            how = {"reason": reason, "actor": actor}
            status.lift(session, account_id, **how, to="active", now=now)
    dunning_rows.close(session, [account_id], outcome="paid", now=now)
    if status.suspension_reasons(session, account_id):
        status_rows.set_before(session, account_id, "active")
        trial_rows.end(session, [account_id], outcome="paid", now=now)
        return False
    if accounts.lock(session, [account_id])[account_id].status == "suspended":
        # Suspended by the main app itself, for a reason that nobody knows: not ours to undo.
        return False
    how = {"to": "active", "reason": "paid", "actor": actor}
    status.change(session, account_id, **how, now=now)
    return True
