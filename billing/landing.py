"""Money has landed: what that does to an account's status, in the transaction that records it."""

import datetime as dt
from collections.abc import Iterable

from sqlalchemy.orm import Session

from billing import accounts, arrays, dunning_rows, status, status_rows, trial_rows
from billing.accounts import HostAccount
from billing.steps import MONEY_REASONS

#: Statuses that a payment for a plan turns into active. One that the main app suspended by itself,
#: for a reason that nobody knows, is not among them.
LET_IN_BY_MONEY = frozenset({"trial", "pending_payment", "cancelled"})


_ASKED_OR_OUT = """
SELECT account_id FROM billing.suspensions
WHERE account_id = ANY(%(ids)s::bigint[]) AND lifted_at IS NULL
UNION
SELECT account_id FROM billing.dunning_cases
WHERE account_id = ANY(%(ids)s::bigint[]) AND closed_at IS NULL
"""


def paid_already(session: Session, locked: Iterable[HostAccount]) -> set[int]:
    """Those of these locked accounts for which money that lands changes nothing."""
    quiet = {each.id for each in locked if each.is_system or each.status not in LET_IN_BY_MONEY}
    if not quiet:
        return quiet
    asked = {"ids": arrays.numbers(quiet)}
    rows = session.connection().exec_driver_sql(_ASKED_OR_OUT, asked)
    return quiet - {row[0] for row in rows.all()}


def money_landed(session: Session, account_id: int, *, actor: str, now: dt.datetime) -> None:
    """Let the account in: its plan is paid for. Nothing changes for one that is in already.

    Closes its dunning case, ends its trial, and lifts the suspensions that money cures. While
    another stands, a dispute's or a person's, the account stays out, and is active once that is
    lifted: it has paid, and is not asked again. A system account is let in anyway, and left alone.
    Raises UnknownAccount, AccountDeleted or StatusChangeRefused.
    """
    account = accounts.lock(session, [account_id])[account_id]
    if account.is_system:
        return
    for reason in status.suspension_reasons(session, account_id):
        if reason in MONEY_REASONS:
            status.lift(session, account_id, reason=reason, to="active", actor=actor, now=now)
    dunning_rows.close(session, [account_id], outcome="paid", now=now)
    if status.suspension_reasons(session, account_id):
        status_rows.set_before(session, account_id, "active")
        trial_rows.end(session, [account_id], outcome="paid", now=now)
    elif account.status in LET_IN_BY_MONEY:
        status.change(session, account_id, to="active", reason="paid", actor=actor, now=now)
