"""The life of a calendar: it begins with an account's first period, ends, and is taken up again."""

import datetime as dt

from billing.context import Context
from billing.host import accounts
from billing.ledger import idempotency
from billing.ledger.ledger import open_accounts
from billing.renewal import cycle_rows, expiry, periods, renewals
from billing.renewal.cycle_rows import OpenCalendar
from billing.sweep import SweepResult


def begin(
    ctx: Context,
    account_id: int,
    *,
    anchor_at: dt.datetime,
    key: str | None = None,
    is_given: bool = False,
) -> SweepResult | None:
    """Open the calendar and give the running period's lot; trial credits end with it.

    `anchor_at` fixes the day of the month for ever; one after `now` counts as `now`. `is_given`:
    the main app gave this period's credits, ours begin with the next. `key`: the lot's, if not the
    renewal's. None, and nothing done, where a calendar is there or the account is not let in.
    """
    accounts.lock(ctx.session, [account_id])
    if cycle_rows.read(ctx.session, [account_id]):
        return None
    anchor_at = min(anchor_at, ctx.now)
    number = periods.period_at(anchor_at, ctx.now)
    key = key or renewals.key_of(account_id, number)
    ledger = open_accounts(ctx, [account_id], keys_asked=[idempotency.as_uuid(key)])
    plan_id = ledger.of(account_id).account.plan_id
    if plan_id is None or not renewals.is_renewable(ledger, account_id):
        return None
    expired = expiry.end_trial(ledger, ledger.of(account_id))
    each = OpenCalendar(
        account_id=account_id,
        anchor_at=anchor_at,
        period_number=number,
        first_period=number + is_given,
        next_due_at=periods.boundary(anchor_at, number),
        plan_id=plan_id,
    )
    granted = 0
    if not is_given:
        balance = ledger.of(account_id)
        granted = renewals.give_period(ledger, balance, each, happened_at=ctx.now, key=key)
    ledger.write()
    cycle_rows.insert(ctx, each)
    return SweepResult(
        account_id,
        "begun",
        ctx.now,
        granted=granted,
        expired=expired,
        period_number=number,
        plan_id=plan_id,
        entry_id=ledger.known_keys[idempotency.as_uuid(key)].entry_id if granted else None,
    )


def take_up(ctx: Context, account_id: int) -> SweepResult | None:
    """Make the calendar run that should: one that ended goes on, a period without its lot gets it.

    It goes on with the period that holds `now`, by the old anchor; no lot is given for a period
    that had its own, nor for one that passed meanwhile. None if there is nothing to do.
    """
    accounts.lock(ctx.session, [account_id])
    each = cycle_rows.read(ctx.session, [account_id]).get(account_id)
    if each is None or each.is_due(ctx.now):
        return None
    number = periods.period_at(each.anchor_at, ctx.now)
    key = renewals.key_of(account_id, number)
    ledger = open_accounts(ctx, [account_id], keys_asked=[idempotency.as_uuid(key)])
    plan_id = ledger.of(account_id).account.plan_id
    if plan_id is None or not renewals.is_renewable(ledger, account_id):
        return None
    had_ended = each.ended_at is not None
    each.ended_at = None
    if number > each.period_number:
        each.go_to(number, plan_id)
    granted = 0
    is_ours = number >= each.first_period
    if is_ours and not cycle_rows.has_lot(ctx.session, account_id, number):
        granted = renewals.give_period(ledger, ledger.of(account_id), each, happened_at=ctx.now)
    if not had_ended and not granted:
        return None
    ledger.write()
    cycle_rows.update(ctx.session, [each])
    what = "resumed" if had_ended else "filled"
    return SweepResult(
        account_id, what, ctx.now, granted=granted, period_number=number, plan_id=each.plan_id
    )


def end(ctx: Context, account_id: int) -> None:
    """Stop the calendar, having crossed what was due while the account was still let in.

    The running period's lot stays, and expires in its time.
    """
    renewals.renew(ctx, account_id)
    for each in cycle_rows.read(ctx.session, [account_id]).values():
        if each.ended_at is None:
            each.ended_at = ctx.now
            cycle_rows.update(ctx.session, [each])
