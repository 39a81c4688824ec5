"""The status of an account: every step there is, in one table, and the acts that take one.

A suspension has reasons; lifting one lets the account back in only when none is left.
"""

import datetime as dt
from typing import NamedTuple

from sqlalchemy import insert, select, update
from sqlalchemy.orm import Session

from billing import accounts, outbox, standing
from billing.accounts import HostAccount
from billing.errors import AccountDeleted, StatusChangeRefused, SystemAccount, UnknownAccount
from models.accounts import StatusChange, Suspension

#: Why an account may be suspended.
SUSPENSION_REASONS = frozenset({"trial_over", "payment_failed", "dispute", "manual"})


class Step(NamedTuple):
    """A change of status, the reasons that allow it, and the event it leaves."""

    status_from: str
    status_to: str
    reasons: frozenset[str]
    event: str


def _step(status_from: str, status_to: str, event: str, *reasons: str) -> Step:
    return Step(status_from, status_to, frozenset(reasons), f"account.{event}")


STEPS = (
    _step("trial", "active", "activated", "paid", "manual"),
    _step("trial", "pending_payment", "awaits_payment", "transfer_announced"),
    _step("trial", "suspended", "suspended", *SUSPENSION_REASONS),
    _step("trial", "cancelled", "cancelled", "requested", "subscription_ended", "manual"),
    _step("active", "suspended", "suspended", *SUSPENSION_REASONS),
    _step("active", "cancelled", "cancelled", "requested", "subscription_ended", "manual"),
    _step("pending_payment", "active", "activated", "paid", "manual"),
    _step("pending_payment", "suspended", "suspended", *SUSPENSION_REASONS),
    _step("pending_payment", "cancelled", "cancelled", "requested", "never_paid", "manual"),
    _step("suspended", "active", "reactivated", "lifted", "paid"),
    _step("suspended", "trial", "reactivated", "lifted"),
    _step("suspended", "pending_payment", "awaits_payment", "lifted", "transfer_announced"),
    _step(
        "suspended",
        "cancelled",
        "cancelled",
        *("requested", "subscription_ended", "never_paid", "manual"),
    ),
    _step("cancelled", "active", "reactivated", "paid", "manual"),
    _step("cancelled", "pending_payment", "awaits_payment", "transfer_announced"),
)
_TABLE = {(step.status_from, step.status_to): step for step in STEPS}


def change(
    session: Session, account_id: int, *, to: str, reason: str, actor: str, now: dt.datetime
) -> bool:
    """Take one step; False if the account is there already.

    Raises UnknownAccount, AccountDeleted, StatusChangeRefused, and SystemAccount for any step of
    a system account. `suspended` is reached by `suspend` and left by `lift` alone, except that it
    may be cancelled.
    """
    account = _locked(session, account_id)
    if "suspended" in (to, account.status) and to != "cancelled":
        raise StatusChangeRefused(
            account_id=account_id, status=account.status, to=to, hint="use suspend or lift"
        )
    return _take(session, account, to=to, reason=reason, actor=actor, now=now)


def suspend(
    session: Session, account_id: int, *, reason: str, actor: str, now: dt.datetime
) -> bool:
    """Add a reason for suspension, and suspend; False if the reason stood already.

    `reason`: trial_over, payment_failed, dispute or manual. Raises as `change`.
    """
    account = _locked(session, account_id)
    open_reasons = suspension_reasons(session, account_id)
    if reason not in SUSPENSION_REASONS or account.status == "cancelled":
        raise StatusChangeRefused(
            account_id=account_id, status=account.status, to="suspended", reason=reason
        )
    if reason in open_reasons:
        return False
    session.execute(
        insert(Suspension).values(
            account_id=account_id,
            reason=reason,
            actor=actor,
            status_before=_status_before(session, account),
            since=now,
        )
    )
    _take(session, account, to="suspended", reason=reason, actor=actor, now=now)
    if reason == standing.ENDS_TRIAL_BY_SUSPENSION:
        standing.ends_trial(session, account_id, now=now)
    return True


def lift(
    session: Session,
    account_id: int,
    *,
    reason: str,
    actor: str,
    now: dt.datetime,
    to: str | None = None,
) -> bool:
    """Lift one reason; with none left, go `to` (default: the status before). False if not open.

    Raises UnknownAccount, AccountDeleted, SystemAccount or StatusChangeRefused.
    """
    account = _locked(session, account_id)
    before = session.execute(
        update(Suspension)
        .where(
            Suspension.account_id == account_id,
            Suspension.reason == reason,
            Suspension.lifted_at.is_(None),
        )
        .values(lifted_at=now, lifted_by=actor)
        .returning(Suspension.status_before)
    ).scalar()
    if before is None:
        return False
    if account.status == "suspended" and not suspension_reasons(session, account_id):
        _take(
            session,
            account,
            to=to or before,
            reason="lifted",
            actor=actor,
            now=now,
            came_from=before,
        )
    return True


def suspension_reasons(session: Session, account_id: int) -> list[str]:
    """Why the account is suspended, oldest reason first; empty if it is not."""
    rows = select(Suspension.reason).where(
        Suspension.account_id == account_id, Suspension.lifted_at.is_(None)
    )
    return list(session.scalars(rows.order_by(Suspension.id)))


def _locked(session: Session, account_id: int) -> HostAccount:
    account = accounts.lock(session, [account_id]).get(account_id)
    if account is None:
        raise UnknownAccount(account_id=account_id)
    if account.is_deleted:
        raise AccountDeleted(account_id=account_id)
    if account.is_system:
        raise SystemAccount(account_id=account_id, slug=account.slug)
    return account


def _status_before(session: Session, account: HostAccount) -> str:
    """Where the account goes back to: a second reason inherits it from the first."""
    if account.status != "suspended":
        return account.status
    first = select(Suspension.status_before).where(
        Suspension.account_id == account.id, Suspension.lifted_at.is_(None)
    )
    # Suspended by the main app itself: it was let in before, and no better status is known.
    return session.scalars(first.order_by(Suspension.id).limit(1)).first() or "active"


def _take(
    session: Session,
    account: HostAccount,
    *,
    to: str,
    reason: str,
    actor: str,
    now: dt.datetime,
    came_from: str | None = None,
) -> bool:
    """Take the step. `came_from`: the status before a suspension, if it is not this one."""
    if account.status == to:
        return False
    step = _TABLE.get((account.status, to))
    if step is None or reason not in step.reasons:
        raise StatusChangeRefused(
            account_id=account.id, status=account.status, to=to, reason=reason
        )
    if account.status == "active":
        standing.leaves_active(session, account.id, now=now)
    accounts.set_status(session, account.id, to)
    standing.has_reached(session, account.id, to, came_from=came_from or account.status, now=now)
    _remember(session, account, step, reason=reason, actor=actor, now=now)
    return True


def _remember(
    session: Session,
    account: HostAccount,
    step: Step,
    *,
    reason: str,
    actor: str,
    now: dt.datetime,
) -> None:
    session.execute(
        insert(StatusChange).values(
            account_id=account.id,
            status_from=step.status_from,
            status_to=step.status_to,
            reason=reason,
            actor=actor,
            happened_at=now,
        )
    )
    payload: dict[str, object] = {
        "account_id": account.id,
        "from": step.status_from,
        "to": step.status_to,
        "reason": reason,
        "actor": actor,
    }
    outbox.leave(session, step.event, account_id=account.id, payload=payload, now=now)
