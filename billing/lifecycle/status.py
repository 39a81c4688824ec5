"""Changes of an account's status, for one account or many: lock, check the table, write.

A suspension has reasons; lifting one reactivates the account only when none is left.
"""

from collections.abc import Iterable, Mapping, Sequence

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from billing.context import Context
from billing.host import accounts
from billing.host.accounts import HostAccount, Locked
from billing.lifecycle import app_writes, effects, transitions
from billing.postgres import sql
from models.accounts import Suspension


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


def change_all(
    ctx: Context,
    account_ids: Iterable[int],
    *,
    to: str,
    reason: str,
    locked: Locked | None = None,
) -> None:
    """Change the status of accounts that have no reason for suspension, where it differs.

    `locked`: the accounts, if the caller has locked and read them in this transaction. Raises as
    `change`, for the first that can't change.
    """
    billable = _lock(ctx, account_ids, locked=locked)
    moving = [account for account in billable if account.status != to]
    transitions.check(moving, to=to, reason=reason, actor=ctx.actor)
    _write(ctx, moving, to=to, reason=reason)


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
    again. `locked`: as in `change_all`. Raises as `change`, for the first that can't be suspended.
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
        effects.end_trials(ctx, ids, outcome="expired")
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
            effects.leave_active(ctx, account.id)
    accounts.set_status(ctx.session, [account.id for account in moving], to)
    before = {account.id: account.status for account in moving} | dict(came_from or {})
    effects.apply(ctx, before, to=to)
    effects.record(ctx, [(account.id, account.status) for account in moving], to=to, reason=reason)
