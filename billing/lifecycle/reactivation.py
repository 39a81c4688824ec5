"""Reactivation after a payment: called in the transaction that records the payment."""

from collections.abc import Iterable, Sequence

from sqlalchemy import update
from sqlalchemy.orm import Session

from billing.context import Context
from billing.errors import UnknownAccount
from billing.host import accounts
from billing.host.accounts import HostAccount
from billing.lifecycle import status
from billing.lifecycle.dunning import rows as dunning_rows
from billing.lifecycle.transitions import MONEY_REASONS
from billing.lifecycle.trials import rows as trial_rows
from models.accounts import Suspension

#: Statuses that a payment for a plan turns into active. `suspended` is not one of them: where the
#: main app suspended an account itself, nobody knows for which reason.
REACTIVATED_BY_PAYMENT = frozenset({"trial", "pending_payment", "cancelled"})

_SUSPENDED_OR_DUNNED = """
SELECT account_id FROM billing.suspensions
WHERE account_id = ANY(%(ids)s::bigint[]) AND lifted_at IS NULL
UNION
SELECT account_id FROM billing.dunning_cases
WHERE account_id = ANY(%(ids)s::bigint[]) AND closed_at IS NULL
"""


def payment_received(ctx: Context, account_ids: Sequence[int]) -> None:
    """Activate accounts whose plans were paid for; active accounts stay as they are.

    Closes their dunning cases, ends their trials, and lifts the suspensions that a payment lifts.
    While another reason stands, such as a dispute or an operator's, the account stays suspended; it
    becomes active once that is lifted. System accounts are left alone. Raises UnknownAccount,
    AccountDeleted or StatusChangeRefused.
    """
    locked = accounts.lock(ctx.session, account_ids)
    missing = [id for id in account_ids if id not in locked]
    if missing:
        raise UnknownAccount(account_id=missing[0])
    billable = [id for id, account in locked.items() if not account.is_system]
    encumbered = suspended_or_dunned(ctx.session, billable)
    for account_id in sorted(encumbered):
        _relieve(ctx, locked[account_id])
    waiting = [
        id
        for id in billable
        if id not in encumbered and locked[id].status in REACTIVATED_BY_PAYMENT
    ]
    status.change_all(ctx, waiting, to="active", reason="paid", locked=locked)


def reactivate(ctx: Context, account_ids: Iterable[int]) -> None:
    """Activate accounts as `payment_received`, knowing that none is suspended or in dunning."""
    locked = accounts.lock(ctx.session, account_ids)
    waiting = [
        id
        for id, account in locked.items()
        if account.status in REACTIVATED_BY_PAYMENT and not account.is_system
    ]
    status.change_all(ctx, waiting, to="active", reason="paid", locked=locked)


def suspended_or_dunned(session: Session, account_ids: Iterable[int]) -> set[int]:
    """Return those of these accounts that have a reason for suspension or an open dunning case."""
    ids = {"ids": list(account_ids)}
    return {row[0] for row in session.connection().exec_driver_sql(_SUSPENDED_OR_DUNNED, ids)}


def _relieve(ctx: Context, account: HostAccount) -> None:
    """Lift what a payment lifts, and close the dunning case; activate unless a reason is left."""
    for reason in status.suspension_reasons(ctx.session, account.id):
        if reason in MONEY_REASONS:
            status.lift(ctx, account.id, reason=reason, to="active")
    dunning_rows.close(ctx, [account.id], outcome="paid")
    if status.suspension_reasons(ctx.session, account.id):
        open_reasons = update(Suspension).where(
            Suspension.account_id == account.id, Suspension.lifted_at.is_(None)
        )
        ctx.session.execute(open_reasons.values(status_before="active"))
        trial_rows.end(ctx, [account.id], outcome="paid")
    elif account.status in REACTIVATED_BY_PAYMENT:
        status.change(ctx, account.id, to="active", reason="paid")
