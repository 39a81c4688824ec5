"""Dunning: money that did not come is asked for, on the schedule, until it comes or the end.

Whoever learns of a failed payment opens a case; whoever books money stops it, in the transaction
in which the money lands. `step_due` takes the steps between.
"""

import datetime as dt
from collections.abc import Callable, Mapping, Sequence
from functools import partial

from sqlalchemy.orm import Session

from billing import accounts, dunning_rows, dunning_schedule, evidence, outbox, status
from billing.accounts import HostAccount
from billing.dunning_schedule import HARD_DECLINES, Step
from billing.errors import AccountDeleted, SystemAccount, UnknownAccount
from billing.swept import AT_ONCE, Swept, all_or_each
from models.life import DunningCase

#: Why money is missing -> whose schedule.
CAUSES = {"card_failed": "card", "invoice_overdue": "bank", "transfer_announced": "bank"}
#: Only in these statuses is an account asked for money; the rest are over, or not ours to know.
ASKED = frozenset({"trial", "active", "pending_payment", "suspended"})


def open_case(
    session: Session,
    account_id: int,
    *,
    cause: str,
    now: dt.datetime,
    invoice_id: int | None = None,
    decline_code: str | None = None,
    retry_at: dt.datetime | None = None,
) -> int | None:
    """Open a case; returns its id, or that of the open one, which learns what is new.

    `cause`: card_failed, invoice_overdue or transfer_announced. `decline_code`: the card issuer's,
    as Stripe spells it; one that makes a retry pointless skips ahead. `retry_at`: when someone
    tries by himself; our own hints wait for that. None where nobody is asked: the account is
    cancelled. Raises UnknownAccount, AccountDeleted or SystemAccount; ValueError for a cause that
    is none.
    """
    schedule = CAUSES.get(cause)
    if schedule is None:
        raise ValueError(f"no cause of dunning: {cause}")
    account = accounts.lock(session, [account_id]).get(account_id)
    if account is None:
        raise UnknownAccount(account_id=account_id)
    if account.is_deleted:
        raise AccountDeleted(account_id=account_id)
    if account.is_system:
        raise SystemAccount(account_id=account_id, slug=account.slug)
    if account.status not in ASKED:
        return None
    opened = dunning_rows.open_case(
        session,
        account_id,
        schedule=schedule,
        cause=cause,
        now=now,
        invoice_id=invoice_id,
        decline_code=decline_code,
        retry_at=retry_at,
    )
    if opened is not None:
        return opened.id
    return _learn(session, account_id, decline_code=decline_code, retry_at=retry_at, now=now)


def stop(
    session: Session,
    account_id: int,
    *,
    reason: str,
    now: dt.datetime,
    invoice_id: int | None = None,
) -> bool:
    """Close the account's open case, as `reason` says: paid, written_off; False if none is open.

    `invoice_id`: only if it is about this invoice. Call it in the transaction in which the money
    lands. Lifting `payment_failed` is the caller's.
    """
    accounts.lock(session, [account_id])
    case = dunning_rows.of_account(session, account_id)
    if invoice_id is not None and (case is None or case.invoice_id != invoice_id):
        return False
    return bool(dunning_rows.close(session, [account_id], outcome=reason, now=now))


def method_changed(session: Session, account_id: int, *, now: dt.datetime) -> bool:
    """A new way to pay is there: try at once; False if nothing is missing.

    What the old card was declined for counts no more.
    """
    accounts.lock(session, [account_id])
    case = dunning_rows.of_account(session, account_id)
    if case is None or case.schedule != "card":
        return False
    case.decline_code = case.retry_at = None
    session.flush()
    hint = dunning_rows.event(case, "payment.retry_due", day=max(case.done_until, 0))
    outbox.leave_all(session, [hint], now=now)
    return True


def _learn(
    session: Session,
    account_id: int,
    *,
    decline_code: str | None,
    retry_at: dt.datetime | None,
    now: dt.datetime,
) -> int | None:
    """A case that is open hears of another failure: its clock goes on, or skips ahead once.

    What made a retry pointless stays until there is another way to pay.
    """
    case = dunning_rows.of_account(session, account_id)
    assert case is not None, "one is open, under the account's lock"
    case.retry_at = retry_at
    if case.decline_code not in HARD_DECLINES:
        if decline_code in HARD_DECLINES:
            case.starts_at = min(case.starts_at, now - dunning_schedule.SKIPPED)
            case.due_at = min(_due(case) or now, case.due_at or now)
        case.decline_code = decline_code or case.decline_code
    session.flush()
    return case.id


def step_due(session: Session, *, now: dt.datetime, limit: int = AT_ONCE) -> list[Swept]:
    """Take the steps that are due, each account's under its lock; empty when none is left."""
    due = [case.account_id for case in dunning_rows.due(session, now=now, limit=limit)]
    ids = accounts.lock_free(session, due)
    return all_or_each(session, ids, partial(_step_all, session, now), now=now) if ids else []


def _step_all(session: Session, now: dt.datetime, ids: Sequence[int]) -> list[Swept]:
    found = accounts.lock(session, ids)
    cases = dunning_rows.of_accounts(session, ids)
    paid = evidence.settled(session, [case.id for case in cases])
    return [
        _step(session, case, found.get(case.account_id), is_paid=case.id in paid, now=now)
        for case in cases
    ]


def _step(
    session: Session,
    case: DunningCase,
    account: HostAccount | None,
    *,
    is_paid: bool,
    now: dt.datetime,
) -> Swept:
    at = case.due_at or now
    if outcome := _why_over(account, is_paid=is_paid):
        if outcome == "paid":
            status.lift(session, case.account_id, reason="payment_failed", actor="billing", now=now)
        dunning_rows.close(session, [case.account_id], outcome=outcome, now=now)
        return Swept(case.account_id, "dunning_over", at)
    due = [s for s in dunning_schedule.of(case.schedule) if s.day > case.done_until]
    due = [step for step in due if case.starts_at + step.day * dunning_schedule.DAY <= now]
    last_reminder = max([s.day for s in due if s.action == "remind"], default=None)
    for step in due:
        is_done = step.action != "remind" or step.day == last_reminder
        is_done &= step.action != "retry" or _is_worth_a_try(case, step, due, now=now)
        if (
            dunning_rows.remember(session, case.id, step.day, step.action, is_done=is_done, now=now)
            and is_done
        ):
            ACTIONS[step.action](session, case, step, now)
    if case.closed_at is None and due:
        case.done_until = max(step.day for step in due)
        case.due_at = _due(case) or now
        session.flush()
    return Swept(case.account_id, "dunned", at)


def _why_over(account: HostAccount | None, *, is_paid: bool) -> str | None:
    """Why nobody is asked any more: the outcome of the case; None if he is."""
    if account is None or account.is_deleted or account.is_system:
        return "account_deleted"
    if account.status not in ASKED:
        return "cancelled"
    return "paid" if is_paid else None


def _is_worth_a_try(
    case: DunningCase, step: Step, due: Sequence[Step], *, now: dt.datetime
) -> bool:
    """Not if the card said never, if somebody tries by himself, or if a later try is due too."""
    later = any(other.action == "retry" and other.day > step.day for other in due)
    planned = case.retry_at is not None and case.retry_at > now
    return not (later or planned or case.decline_code in HARD_DECLINES)


def _remind(session: Session, case: DunningCase, step: Step, now: dt.datetime) -> None:
    outbox.leave_all(session, [dunning_rows.event(case, "payment.missing", day=step.day)], now=now)


def _retry(session: Session, case: DunningCase, step: Step, now: dt.datetime) -> None:
    hint = dunning_rows.event(case, "payment.retry_due", day=step.day)
    outbox.leave_all(session, [hint], now=now)


def _suspend(session: Session, case: DunningCase, _: Step, now: dt.datetime) -> None:
    how = {"reason": "payment_failed", "actor": "billing"}
    status.suspend(session, case.account_id, **how, now=now)


def _cancel(session: Session, case: DunningCase, _: Step, now: dt.datetime) -> None:
    """The end of the schedule. An account that a person let in again meanwhile stays."""
    account = accounts.lock(session, [case.account_id])[case.account_id]
    reasons = status.suspension_reasons(session, case.account_id)
    dunning_rows.close(session, [case.account_id], outcome="written_off", now=now)
    if account.status == "suspended" and "payment_failed" in reasons:
        how = {"to": "cancelled", "reason": "never_paid", "actor": "billing"}
        status.change(session, case.account_id, **how, now=now)
    session.refresh(case)


ACTIONS: Mapping[str, Callable[[Session, DunningCase, Step, dt.datetime], None]] = {
    "remind": _remind,
    "retry": _retry,
    "suspend": _suspend,
    "cancel": _cancel,
}


def _due(case: DunningCase) -> dt.datetime | None:
    return dunning_schedule.next_due(case.schedule, case.starts_at, done_until=case.done_until)
