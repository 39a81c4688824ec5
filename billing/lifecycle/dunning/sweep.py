"""The sweep of dunning: the steps of the schedule that are due, each account's under its lock.

It looks again, under the lock, whether the money came.
"""

import datetime as dt
from collections.abc import Callable, Mapping, Sequence

from billing.context import Context
from billing.events import outbox
from billing.host import accounts, payment_evidence
from billing.host.accounts import HostAccount
from billing.lifecycle import status
from billing.lifecycle.dunning import cases as dunning_cases
from billing.lifecycle.dunning import rows as dunning_rows
from billing.lifecycle.dunning import schedule as dunning_schedule
from billing.lifecycle.dunning.cases import ASKED
from billing.lifecycle.dunning.schedule import HARD_DECLINES, Step
from billing.sweep import AT_ONCE, SweepResult, all_or_each
from models.life import DunningCase


def step_due(ctx: Context, *, limit: int = AT_ONCE) -> list[SweepResult]:
    """Take the steps that are due, each account's under its lock; empty when none is left."""
    due = [case.account_id for case in dunning_rows.due(ctx, limit=limit)]
    ids = accounts.try_lock(ctx.session, due)
    return all_or_each(ctx, ids, _step_all) if ids else []


def _step_all(ctx: Context, ids: Sequence[int]) -> list[SweepResult]:
    found = accounts.lock(ctx.session, ids)
    cases = dunning_rows.of_accounts(ctx.session, ids)
    paid = payment_evidence.settled(ctx.session, [case.id for case in cases])
    billed = dunning_rows.billed(ctx.session, [c.account_id for c in cases if c.schedule == "bank"])
    swept = []
    for case in cases:
        is_paid, is_billed = case.id in paid, case.account_id in billed
        over = _why_over(found.get(case.account_id), is_paid=is_paid, is_billed=is_billed)
        swept.append(_step(ctx, case, over))
    return swept


def _step(ctx: Context, case: DunningCase, outcome: str | None) -> SweepResult:
    """Take the steps of a case that are due, or close it with the `outcome` that it has."""
    at = case.due_at or ctx.now
    if outcome:
        if outcome == "paid":
            status.lift(ctx.by("billing"), case.account_id, reason="payment_failed")
        dunning_rows.close(ctx, [case.account_id], outcome=outcome)
        return SweepResult(case.account_id, "dunning_over", at)
    due = [s for s in dunning_schedule.of(case.schedule) if s.day > case.done_until]
    due = [step for step in due if case.starts_at + step.day * dunning_schedule.DAY <= ctx.now]
    last_reminder = max([s.day for s in due if s.action == "remind"], default=None)
    for step in due:
        is_done = step.action != "remind" or step.day == last_reminder
        is_done &= step.action != "retry" or _is_worth_a_try(case, step, due, now=ctx.now)
        if dunning_rows.remember(ctx, case.id, step.day, step.action, is_done=is_done) and is_done:
            ACTIONS[step.action](ctx, case, step)
    if case.closed_at is None and due:
        case.done_until = max(step.day for step in due)
        case.due_at = dunning_cases.due_at(case) or ctx.now
        ctx.session.flush()
    return SweepResult(case.account_id, "dunned", at)


def _why_over(account: HostAccount | None, *, is_paid: bool, is_billed: bool) -> str | None:
    """Why nobody is asked any more: the outcome of the case; None if he is."""
    if account is None or account.is_deleted or account.is_system:
        return "account_deleted"
    if account.status not in ASKED:
        return "cancelled"
    if is_paid:
        return "paid"
    return "billed" if is_billed else None


def _is_worth_a_try(
    case: DunningCase, step: Step, due: Sequence[Step], *, now: dt.datetime
) -> bool:
    """Not if the card said never, if somebody tries by himself, or if a later try is due too."""
    later = any(other.action == "retry" and other.day > step.day for other in due)
    planned = case.retry_at is not None and case.retry_at > now
    return not (later or planned or case.decline_code in HARD_DECLINES)


def _remind(ctx: Context, case: DunningCase, step: Step) -> None:
    outbox.leave_all(ctx, [dunning_rows.event(case, "payment.missing", day=step.day)])


def _retry(ctx: Context, case: DunningCase, step: Step) -> None:
    hint = dunning_rows.event(case, "payment.retry_due", day=step.day)
    outbox.leave_all(ctx, [hint])


def _suspend(ctx: Context, case: DunningCase, _: Step) -> None:
    status.suspend(ctx.by("billing"), case.account_id, reason="payment_failed")


def _cancel(ctx: Context, case: DunningCase, _: Step) -> None:
    """The end of the schedule. An account that a person let in again meanwhile stays."""
    account = accounts.lock(ctx.session, [case.account_id])[case.account_id]
    reasons = status.suspension_reasons(ctx.session, case.account_id)
    dunning_rows.close(ctx, [case.account_id], outcome="written_off")
    if account.status == "suspended" and "payment_failed" in reasons:
        status.change(ctx.by("billing"), case.account_id, to="cancelled", reason="never_paid")
    ctx.session.refresh(case)


ACTIONS: Mapping[str, Callable[[Context, DunningCase, Step], None]] = {
    "remind": _remind,
    "retry": _retry,
    "suspend": _suspend,
    "cancel": _cancel,
}
