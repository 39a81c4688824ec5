"""The dunning sweep: takes the steps of the schedule that are due, under the account's lock.

It looks again, under the lock, whether the payment has come.
"""

import datetime as dt
from collections.abc import Callable, Mapping, Sequence

from billing.context import Context
from billing.events import outbox
from billing.host import accounts, funding, payment_evidence
from billing.host.accounts import HostAccount
from billing.host.funding import NOT_FUNDED
from billing.lifecycle import status
from billing.lifecycle.dunning import cases as dunning_cases
from billing.lifecycle.dunning import rows as dunning_rows
from billing.lifecycle.dunning import schedule as dunning_schedule
from billing.lifecycle.dunning.cases import DUNNED
from billing.lifecycle.dunning.schedule import HARD_DECLINES, ScheduledStep
from billing.sweep import AT_ONCE, SweepResult, all_or_each
from models.life import DunningCase


def step_due(ctx: Context, *, limit: int = AT_ONCE) -> list[SweepResult]:
    """Take the steps that are due; empty when none is left."""

    def propose(limit: int) -> list[int]:
        return [case.account_id for case in dunning_rows.due(ctx, limit=limit)]

    ids = accounts.lock_due(ctx.session, propose(limit), propose, limit=limit)
    return all_or_each(ctx, ids, _step_all) if ids else []


def _step_all(ctx: Context, ids: Sequence[int]) -> list[SweepResult]:
    locked = accounts.lock(ctx.session, ids)
    cases = dunning_rows.of_accounts(ctx.session, ids)
    paid = payment_evidence.settled(ctx.session, [case.id for case in cases])
    ways = funding.ways(ctx, ids)
    billed = dunning_rows.billed(ctx.session, [c.account_id for c in cases if c.schedule == "bank"])
    results = []
    for case in cases:
        way = ways.get(case.account_id, NOT_FUNDED)
        # Money that came another way stops a case: the account is not dunned for what it has.
        other = way.card_until if case.cause == "transfer_announced" else way.bank_until
        outcome = _outcome(
            locked.get(case.account_id),
            is_paid=case.id in paid or other is not None,
            is_billed=case.account_id in billed,
        )
        results.append(_close(ctx, case, outcome) if outcome else _step(ctx, case))
    return results


def _outcome(account: HostAccount | None, *, is_paid: bool, is_billed: bool) -> str | None:
    """Return the outcome of a case that is over; None while the account is to be dunned."""
    if account is None or not account.is_billable:
        return "account_deleted"
    if account.status not in DUNNED:
        return "cancelled"
    if is_paid:
        return "paid"
    return "billed" if is_billed else None


def _close(ctx: Context, case: DunningCase, outcome: str) -> SweepResult:
    at = case.due_at or ctx.now
    if outcome == "paid":
        status.lift(ctx.by("billing"), case.account_id, reason="payment_failed")
    dunning_rows.close(ctx, [case.account_id], outcome=outcome)
    return SweepResult(case.account_id, "dunning_over", at)


def _step(ctx: Context, case: DunningCase) -> SweepResult:
    """Take the steps of a case that are due; of several reminders and retries, the last."""
    at = case.due_at or ctx.now
    due = [s for s in dunning_schedule.of(case.schedule) if s.day > case.done_until]
    due = [step for step in due if case.starts_at + step.day * dunning_schedule.DAY <= ctx.now]
    last_reminder = max([s.day for s in due if s.action == "remind"], default=None)
    for step in due:
        is_done = step.action != "remind" or step.day == last_reminder
        is_done &= step.action != "retry" or _is_worth_a_try(case, step, due, now=ctx.now)
        is_new = dunning_rows.record_step(ctx, case.id, step.day, step.action, is_done=is_done)
        if is_new and is_done:
            ACTIONS[step.action](ctx, case, step)
    if case.closed_at is None and due:
        case.done_until = max(step.day for step in due)
        case.due_at = dunning_cases.due_at(case) or ctx.now
        ctx.session.flush()
    return SweepResult(case.account_id, "dunned", at)


def _is_worth_a_try(
    case: DunningCase, step: ScheduledStep, due: Sequence[ScheduledStep], *, now: dt.datetime
) -> bool:
    """Whether to ask for a retry: no hard decline, none planned by Stripe, and no later one due."""
    later = any(other.action == "retry" and other.day > step.day for other in due)
    planned = case.retry_at is not None and case.retry_at > now
    return not (later or planned or case.decline_code in HARD_DECLINES)


def _remind(ctx: Context, case: DunningCase, step: ScheduledStep) -> None:
    outbox.leave_all(ctx, [dunning_rows.event(case, "payment.missing", day=step.day)])


def _retry(ctx: Context, case: DunningCase, step: ScheduledStep) -> None:
    hint = dunning_rows.event(case, "payment.retry_due", day=step.day)
    outbox.leave_all(ctx, [hint])


def _suspend(ctx: Context, case: DunningCase, _: ScheduledStep) -> None:
    status.suspend(ctx.by("billing"), case.account_id, reason="payment_failed")


def _cancel(ctx: Context, case: DunningCase, _: ScheduledStep) -> None:
    """Close the case; cancel the account, unless an operator has reactivated it meanwhile."""
    account = accounts.lock(ctx.session, [case.account_id])[case.account_id]
    reasons = status.suspension_reasons(ctx.session, case.account_id)
    dunning_rows.close(ctx, [case.account_id], outcome="written_off")
    if account.status == "suspended" and "payment_failed" in reasons:
        status.change(ctx.by("billing"), case.account_id, to="cancelled", reason="never_paid")
    ctx.session.refresh(case)


ACTIONS: Mapping[str, Callable[[Context, DunningCase, ScheduledStep], None]] = {
    "remind": _remind,
    "retry": _retry,
    "suspend": _suspend,
    "cancel": _cancel,
}
