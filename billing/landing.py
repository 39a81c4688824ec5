"""Money has landed: what that does to an account's status, in the transaction that records it."""

import datetime as dt

from sqlalchemy.orm import Session

from billing import accounts, status

#: Suspensions that money cures; a dispute's and a person's are lifted by their own.
CURED_BY_MONEY = ("payment_failed", "trial_over")
#: Statuses that a payment for a plan turns into active.
LET_IN_BY_MONEY = frozenset({"trial", "pending_payment", "cancelled"})


def money_landed(session: Session, account_id: int, *, actor: str, now: dt.datetime) -> None:
    """Let the account in: its plan is paid for. Nothing changes for one that is in already.

    A system account is let in anyway, and left alone. Raises UnknownAccount or AccountDeleted.
    """
    account = accounts.lock(session, [account_id])[account_id]
    if account.is_system:
        return
    if account.status == "suspended":
        for reason in CURED_BY_MONEY:
            status.lift(session, account_id, reason=reason, to="active", actor=actor, now=now)
    elif account.status in LET_IN_BY_MONEY:
        status.change(session, account_id, to="active", reason="paid", actor=actor, now=now)
