"""Changes of an account's status, for one account or many: lock, check the table, write.

A suspension has reasons; lifting one reactivates the account only when none is left. A payment
activates its account, in the transaction that records the payment.
"""

from collections.abc import Iterable, Mapping, Sequence

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from billing.context import Context
from billing.errors import UnknownAccount
from billing.host import accounts
from billing.host.accounts import HostAccount, Locked
from billing.lifecycle import app_writes, transitions
from billing.lifecycle.dunning import rows as dunning_rows
from billing.lifecycle.trials import rows as trial_rows
from billing.postgres import sql
from billing.renewal import cycles
from models.accounts import Suspension

#: Statuses that a payment for a plan turns into active. `suspended` is not one of them: where the
#: main app suspended an account itself, nobody knows for which reason.
REACTIVATED_BY_PAYMENT = frozenset({"trial", "pending_payment", "cancelled"})


def change(ctx: Context, account_id: int, *, to: str, reason: str) -> bool:
    """Change an account's status; False if it has that status already.

    `suspended` is reached by `suspend` and left by `lift` alone, except that a suspended account
    may be cancelled. An account that leaves `cancelled`, or that the main app reactivated itself,
    loses the reasons for suspension that a payment lifts. Raises UnknownAccount, AccountDeleted,
    SystemAccount or StatusChangeRefused.
    """
    (account,) = _lock(ctx, [account_id])
    if "suspended" in (to, account.status) and to != "cancelled":
        raise transitions.refused(account, to=to, reason=reason, hint="use suspend or lift")
    if account.status == to:
        return False
    transitions.check([account], to=to, reason=reason, actor=ctx.actor)
    if to != "cancelled":
        _lift(ctx, account_id, transitions.MONEY_REASONS)
        if account.status == "cancelled" and suspension_reasons(ctx.session, account_id):
            hint = "lift its suspension first"
            raise transitions.refused(account, to=to, reason=reason, hint=hint)
    _write(ctx, [account], to=to, reason=reason)
    return True


def suspend(ctx: Context, account_id: int, *, reason: str) -> bool:
    """Suspend an account for a reason; False if it is suspended for that reason already.

    `reason`: trial_over, payment_failed, dispute or manual. Raises as `change`.
    """
    return bool(suspend_all(ctx, [account_id], reason=reason))


def suspend_all(
    ctx: Context, account_ids: Iterable[int], *, reason: str, locked: Locked | None = None
) -> list[int]:
    """Suspend accounts for one reason; returns those for which this changed something.

    An account that has the reason already, and that the main app reactivated itself, is suspended
    again. `locked`: the accounts, if the caller has locked and read them in this transaction.
    Raises as `change`, for the first that can't be suspended.
    """
    billable = _lock(ctx, account_ids, locked=locked)
    transitions.check(billable, to="suspended", reason=reason, actor=ctx.actor)
    ids = [account.id for account in billable]
    reasons = _open_reasons(ctx.session, ids)
    before = {
        account.id: _status_before(account, reasons.get(account.id, {}))
        for account in billable
        if reason not in reasons.get(account.id, {})
    }
    sql.insert(
        ctx.session,
        "billing.suspensions",
        {"account_id": "bigint", "status_before": "text"},
        list(before.items()),
        constants={"reason": reason, "actor": ctx.actor, "since": ctx.now},
    )
    moving = [account for account in billable if account.status != "suspended"]
    _write(ctx, moving, to="suspended", reason=reason)
    if reason == "trial_over":
        transitions.end_trials(ctx, ids, outcome="expired")
    return sorted(before.keys() | {account.id for account in moving})


def lift(ctx: Context, account_id: int, *, reason: str, to: str | None = None) -> bool:
    """Lift one reason for suspension; False if the account does not have it.

    With no reason left, the account goes `to` this status, by default to the one before. Raises
    UnknownAccount, AccountDeleted, SystemAccount or StatusChangeRefused.
    """
    (account,) = _lock(ctx, [account_id])
    statuses_before = _lift(ctx, account_id, [reason])
    if not statuses_before:
        return False
    if account.status == "suspended" and not suspension_reasons(ctx.session, account_id):
        before = statuses_before[0]
        transitions.check([account], to=to or before, reason="lifted", actor=ctx.actor)
        _write(ctx, [account], to=to or before, reason="lifted", came_from={account_id: before})
    return True


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
    billable = {id: account for id, account in locked.items() if not account.is_system}
    burdened = burdened_accounts(ctx.session, billable)
    for account_id in sorted(burdened):
        _relieve(ctx, locked[account_id])
    waiting = [
        id
        for id, account in billable.items()
        if id not in burdened and account.status in REACTIVATED_BY_PAYMENT
    ]
    activate(ctx, accounts.lock_all_billable(ctx.session, waiting, locked=locked))


def activate(ctx: Context, waiting: Sequence[HostAccount]) -> None:
    """Activate accounts that were paid for, in one batch; system accounts are left alone.

    They are locked, not deleted, not burdened (`burdened_accounts`), and of a status that a payment
    changes. Raises StatusChangeRefused.
    """
    waiting = [account for account in waiting if not account.is_system]
    transitions.check(waiting, to="active", reason="paid", actor=ctx.actor)
    _write(ctx, waiting, to="active", reason="paid")


_BURDENED = """
SELECT account_id FROM billing.suspensions
WHERE account_id = ANY(%(ids)s::bigint[]) AND lifted_at IS NULL
UNION
SELECT account_id FROM billing.dunning_cases
WHERE account_id = ANY(%(ids)s::bigint[]) AND closed_at IS NULL
UNION
SELECT account_id FROM billing.status_writes WHERE account_id = ANY(%(ids)s::bigint[])
"""


def burdened_accounts(session: Session, account_ids: Iterable[int]) -> set[int]:
    """Return those of these accounts for which a payment changes more than the status.

    They have a reason for suspension, an open dunning case, or a status that the main app wrote and
    that has no effects yet. Call it under their locks.
    """
    ids = {"ids": list(account_ids)}
    return {row[0] for row in session.connection().exec_driver_sql(_BURDENED, ids)}


def _relieve(ctx: Context, account: HostAccount) -> None:
    """Lift what a payment lifts, and close the dunning case; activate unless a reason is left."""
    for reason in suspension_reasons(ctx.session, account.id):
        if reason in transitions.MONEY_REASONS:
            lift(ctx, account.id, reason=reason, to="active")
    dunning_rows.close(ctx, [account.id], outcome="paid")
    if suspension_reasons(ctx.session, account.id):
        open_reasons = update(Suspension).where(
            Suspension.account_id == account.id, Suspension.lifted_at.is_(None)
        )
        ctx.session.execute(open_reasons.values(status_before="active"))
        trial_rows.end(ctx, [account.id], outcome="paid")
    elif account.status in REACTIVATED_BY_PAYMENT:
        change(ctx, account.id, to="active", reason="paid")


def suspension_reasons(session: Session, account_id: int) -> list[str]:
    """List why the account is suspended, oldest reason first; empty if it is not."""
    rows = select(Suspension.reason).where(
        Suspension.account_id == account_id, Suspension.lifted_at.is_(None)
    )
    return list(session.scalars(rows.order_by(Suspension.id)))


def _lock(
    ctx: Context, account_ids: Iterable[int], *, locked: Locked | None = None
) -> list[HostAccount]:
    """Lock accounts, and apply the statuses that the main app wrote before this change."""
    billable = accounts.lock_all_billable(ctx.session, account_ids, locked=locked)
    app_writes.follow(ctx, billable)
    return billable


_OPEN_REASONS = """
SELECT account_id, reason, status_before FROM billing.suspensions
WHERE account_id = ANY(%(ids)s::bigint[]) AND lifted_at IS NULL ORDER BY id
"""


def _open_reasons(session: Session, account_ids: Sequence[int]) -> dict[int, dict[str, str]]:
    """Read each account's open reasons, oldest first, with the status before them."""
    reasons: dict[int, dict[str, str]] = {}
    rows = session.connection().exec_driver_sql(_OPEN_REASONS, {"ids": sql.numbers(account_ids)})
    for account_id, reason, status_before in rows:
        reasons.setdefault(account_id, {})[reason] = status_before
    return reasons


def _status_before(account: HostAccount, reasons: Mapping[str, str]) -> str:
    """Return the status to go back to: a second reason inherits it from the first."""
    if account.status != "suspended":
        return account.status
    # Suspended by the main app itself: it was active before, as far as we can know.
    return next(iter(reasons.values()), "active")


def _lift(ctx: Context, account_id: int, reasons: Iterable[str]) -> list[str]:
    """Lift those of these reasons that are open; returns the statuses before them."""
    lifted = (
        update(Suspension)
        .where(
            Suspension.account_id == account_id,
            Suspension.reason.in_(list(reasons)),
            Suspension.lifted_at.is_(None),
        )
        .values(lifted_at=ctx.now, lifted_by=ctx.actor)
        .returning(Suspension.status_before)
    )
    return list(ctx.session.scalars(lifted))


def _write(
    ctx: Context,
    moving: Sequence[HostAccount],
    *,
    to: str,
    reason: str,
    came_from: Mapping[int, str] | None = None,
) -> None:
    """Write a checked status change with its effects, its history and an event for each account.

    `came_from`: the statuses before the suspension, for accounts that leave one.
    """
    if not moving:
        return
    for account in moving:
        if account.status == "active":
            cycles.end(ctx, account.id)  # what was due until now is given first
    accounts.set_status(ctx.session, [account.id for account in moving], to)
    before = {account.id: account.status for account in moving} | dict(came_from or {})
    transitions.apply(ctx, before, to=to)
    transitions.record(
        ctx, [(account.id, account.status) for account in moving], to=to, reason=reason
    )
