"""The acts on an account's status: a step of the table in `transitions`, for one or many.

A suspension has reasons; lifting one lets the account back in only when none is left.
"""

from collections.abc import Iterable, Mapping, Sequence

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from billing.context import Context
from billing.errors import StatusChangeRefused
from billing.host import accounts
from billing.host.accounts import HostAccount
from billing.lifecycle import effects, status_rows, transitions
from billing.lifecycle.transitions import STEPS, SUSPENSION_REASONS
from models.accounts import Suspension

__all__ = ["STEPS", "SUSPENSION_REASONS", "change", "lift", "suspend", "suspend_all"]


def change(ctx: Context, account_id: int, *, to: str, reason: str) -> bool:
    """Take one step; False if the account is there already.

    Raises UnknownAccount, AccountDeleted, StatusChangeRefused, and SystemAccount for any step of
    a system account. `suspended` is reached by `suspend` and left by `lift` alone, except that it
    may be cancelled. Who comes back from `cancelled`, or was let in by the main app's own hand,
    sheds the reasons that money cures; from `cancelled` he is refused while another stands.
    """
    account = _locked(ctx.session, [account_id])[0]
    if "suspended" in (to, account.status) and to != "cancelled":
        raise _refused(account, to, reason, hint="use suspend or lift")
    if to not in ("cancelled", account.status):
        _check(account, to, reason, ctx.actor)
        status_rows.lift(ctx, account_id, transitions.MONEY_REASONS)
        if account.status == "cancelled" and suspension_reasons(ctx.session, account_id):
            raise _refused(account, to, reason, hint="lift its suspension first")
    return bool(_take(ctx, [account], to=to, reason=reason))


def change_all(ctx: Context, account_ids: Iterable[int], *, to: str, reason: str) -> None:
    """Take one step with many that nothing suspends; those that are there already stay.

    Raises as `change`, for the first that can't take it.
    """
    locked = _locked(ctx.session, account_ids)
    _take(ctx, locked, to=to, reason=reason)


def suspend(ctx: Context, account_id: int, *, reason: str) -> bool:
    """Add a reason for suspension, and suspend; False if the reason stood already.

    `reason`: trial_over, payment_failed, dispute or manual. Raises as `change`.
    """
    return bool(suspend_all(ctx, [account_id], reason=reason))


def suspend_all(
    ctx: Context,
    account_ids: Iterable[int],
    *,
    reason: str,
    locked: Mapping[int, HostAccount] | None = None,
) -> list[int]:
    """Suspend many for one reason; returns those for whom this changed something.

    One for whom the reason stands, and whom the main app let in by its own hand, is suspended
    again. `locked`: what the caller has locked and read in this transaction, and not changed since.
    Raises as `change`, for the first that can't be.
    """
    found = _locked(ctx.session, account_ids, locked)
    return _suspend(ctx, found, reason=reason)


def _suspend(ctx: Context, locked: Sequence[HostAccount], *, reason: str) -> list[int]:
    stands = status_rows.reasons_of(ctx.session, locked)
    new = [account for account in locked if reason not in stands.get(account.id, {})]
    for account in locked:
        if reason not in SUSPENSION_REASONS or account.status == "cancelled":
            raise _refused(account, "suspended", reason)
        _check_actor(account, "suspended", reason, ctx.actor)
    before = {a.id: _status_before(a, stands.get(a.id, {})) for a in new}
    status_rows.insert_suspensions(ctx, before, reason=reason)
    moved = _take(ctx, locked, to="suspended", reason=reason)
    if reason == effects.ENDS_TRIAL_BY_SUSPENSION:
        ids = [account.id for account in locked]
        effects.ends_trial(ctx, ids, outcome="expired")
    return sorted(before.keys() | {account.id for account in moved})


def lift(ctx: Context, account_id: int, *, reason: str, to: str | None = None) -> bool:
    """Lift one reason; with none left, go `to` (default: the status before). False if not open.

    Raises UnknownAccount, AccountDeleted, SystemAccount or StatusChangeRefused.
    """
    account = _locked(ctx.session, [account_id])[0]
    before = ctx.session.execute(
        update(Suspension)
        .where(
            Suspension.account_id == account_id,
            Suspension.reason == reason,
            Suspension.lifted_at.is_(None),
        )
        .values(lifted_at=ctx.now, lifted_by=ctx.actor)
        .returning(Suspension.status_before)
    ).scalar()
    if before is None:
        return False
    if account.status == "suspended" and not suspension_reasons(ctx.session, account_id):
        came_from = {account_id: before}
        to = to or before
        _take(ctx, [account], to=to, reason="lifted", came_from=came_from)
    return True


def suspension_reasons(session: Session, account_id: int) -> list[str]:
    """Why the account is suspended, oldest reason first; empty if it is not."""
    rows = select(Suspension.reason).where(
        Suspension.account_id == account_id, Suspension.lifted_at.is_(None)
    )
    return list(session.scalars(rows.order_by(Suspension.id)))


def _locked(
    session: Session,
    account_ids: Iterable[int],
    locked: Mapping[int, HostAccount] | None = None,
) -> list[HostAccount]:
    wanted = sorted(set(account_ids))
    found = accounts.lock(session, wanted) if locked is None else locked
    for account_id in wanted:
        accounts.check_billable(account_id, found.get(account_id))
    return [found[account_id] for account_id in wanted]


def _status_before(account: HostAccount, reasons: Mapping[str, str]) -> str:
    """Where the account goes back to: a second reason inherits it from the first."""
    if account.status != "suspended":
        return account.status
    # Suspended by the main app itself: it was let in before, and no better status is known.
    return next(iter(reasons.values()), "active")


def _take(
    ctx: Context,
    found: Sequence[HostAccount],
    *,
    to: str,
    reason: str,
    came_from: Mapping[int, str] | None = None,
) -> list[HostAccount]:
    """Take the step with each that is elsewhere; returns these.

    `came_from`: the statuses before a suspension, of those that leave one.
    """
    moving = [account for account in found if account.status != to]
    for account in moving:
        _check(account, to, reason, ctx.actor)
    for account in moving:
        if account.status == "active":
            effects.leaves_active(ctx, account.id)
    accounts.set_status(ctx.session, [account.id for account in moving], to)
    before = {account.id: account.status for account in moving} | dict(came_from or {})
    effects.have_reached(ctx, to, came_from=before if moving else {})
    status_rows.remember(ctx, moving, to=to, reason=reason)
    return moving


def _check(account: HostAccount, to: str, reason: str, actor: str) -> None:
    step = transitions.TABLE.get((account.status, to))
    if step is None or reason not in step.reasons:
        raise _refused(account, to, reason)
    _check_actor(account, to, reason, actor)


def _check_actor(account: HostAccount, to: str, reason: str, actor: str) -> None:
    if not transitions.may(actor, reason):
        raise _refused(account, to, reason, hint=f"{actor.partition(':')[0]} may not")


def _refused(account: HostAccount, to: str, reason: str, **facts: str) -> StatusChangeRefused:
    return StatusChangeRefused(
        account_id=account.id, status=account.status, to=to, reason=reason, **facts
    )
