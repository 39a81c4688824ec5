"""Money has landed: what that does to an account's status, in the transaction that records it."""

from collections.abc import Iterable

from sqlalchemy.orm import Session

from billing.context import Context
from billing.host import accounts
from billing.lifecycle import status, status_rows
from billing.lifecycle.dunning import rows as dunning_rows
from billing.lifecycle.transitions import MONEY_REASONS
from billing.lifecycle.trials import rows as trial_rows
from billing.postgres import sql

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


def asked_or_out(session: Session, account_ids: Iterable[int]) -> set[int]:
    """Those of these accounts that are suspended, or asked for money."""
    asked = {"ids": sql.numbers(account_ids)}
    return {row[0] for row in session.connection().exec_driver_sql(_ASKED_OR_OUT, asked)}


def let_in(ctx: Context, account_ids: Iterable[int]) -> None:
    """As `money_landed`, for many that are neither suspended nor asked for money, locked."""
    found = accounts.lock(ctx.session, account_ids).values()
    waiting = [each.id for each in found if each.status in LET_IN_BY_MONEY and not each.is_system]
    status.change_all(ctx, waiting, to="active", reason="paid")


def money_landed(ctx: Context, account_id: int) -> None:
    """Let the account in: its plan is paid for. Nothing changes for one that is in already.

    Closes its dunning case, ends its trial, and lifts the suspensions that money cures. While
    another stands, a dispute's or a person's, the account stays out, and is active once that is
    lifted: it has paid, and is not asked again. A system account is let in anyway, and left alone.
    Raises UnknownAccount, AccountDeleted or StatusChangeRefused.
    """
    account = accounts.lock(ctx.session, [account_id])[account_id]
    if account.is_system:
        return
    for reason in status.suspension_reasons(ctx.session, account_id):
        if reason in MONEY_REASONS:
            status.lift(ctx, account_id, reason=reason, to="active")
    dunning_rows.close(ctx, [account_id], outcome="paid")
    if status.suspension_reasons(ctx.session, account_id):
        status_rows.set_before(ctx.session, account_id, "active")
        trial_rows.end(ctx, [account_id], outcome="paid")
    elif account.status in LET_IN_BY_MONEY:
        status.change(ctx, account_id, to="active", reason="paid")
