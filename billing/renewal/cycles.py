"""The life of a credit cycle: it begins with the first period, ends, and is resumed."""

import datetime as dt

from billing.context import Context
from billing.host import accounts
from billing.ledger import idempotency
from billing.ledger.ledger import open_accounts
from billing.renewal import cycle_rows, expiry, periods, renewals
from billing.renewal.cycle_rows import CreditCycle
from billing.sweep import SweepResult


def begin(
    ctx: Context,
    account_id: int,
    *,
    anchor_at: dt.datetime,
    key: str | None = None,
    is_given: bool = False,
) -> SweepResult | None:
    """Begin the account's credit cycle and give the running period's lot; trial credits expire.

    Args:
        ctx: The act's context.
        account_id: The account.
        anchor_at: The moment from which periods count, and their day of the month for ever; at
            most the present.
        key: The key of the lot, if not the renewal's.
        is_given: Whether the main app gave this period's credits; then ours begin with the next.

    Returns:
        What was done; None if there is a cycle already, or the account may not be renewed.
    """
    accounts.lock(ctx.session, [account_id])
    if cycle_rows.read(ctx.session, [account_id]):
        return None
    anchor_at = min(anchor_at, ctx.now)
    number = periods.period_at(anchor_at, ctx.now)
    key = key or renewals.key_of(account_id, number)
    ledger = open_accounts(ctx, [account_id], key_uuids=[idempotency.as_uuid(key)])
    plan_id = ledger.of(account_id).account.plan_id
    if plan_id is None or not renewals.renewable(ledger, [account_id]):
        return None
    expired = expiry.end_trial(ledger, ledger.of(account_id))
    cycle = CreditCycle(
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
        granted = renewals.give_period(ledger, balance, cycle, happened_at=ctx.now, key=key)
    ledger.write()
    cycle_rows.insert(ctx, cycle)
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


def resume(ctx: Context, account_id: int) -> SweepResult | None:
    """Resume an ended cycle, or give the running period its lot; None if there is nothing to do.

    The cycle goes on with the period that holds `now`, by the old anchor. A period that had its
    lot gets no other, and periods that passed meanwhile get none.
    """
    accounts.lock(ctx.session, [account_id])
    cycle = cycle_rows.read(ctx.session, [account_id]).get(account_id)
    if cycle is None or cycle.is_due(ctx.now):
        return None
    number = periods.period_at(cycle.anchor_at, ctx.now)
    key = renewals.key_of(account_id, number)
    ledger = open_accounts(ctx, [account_id], key_uuids=[idempotency.as_uuid(key)])
    plan_id = ledger.of(account_id).account.plan_id
    if plan_id is None or not renewals.renewable(ledger, [account_id]):
        return None
    had_ended = cycle.ended_at is not None
    cycle.ended_at = None
    if number > cycle.period_number:
        cycle.go_to(number, plan_id)
    granted = 0
    is_ours = number >= cycle.first_period
    if is_ours and not cycle_rows.has_lot(ctx.session, account_id, number):
        granted = renewals.give_period(ledger, ledger.of(account_id), cycle, happened_at=ctx.now)
    if not had_ended and not granted:
        return None
    ledger.write()
    cycle_rows.update(ctx.session, [cycle])
    what = "resumed" if had_ended else "filled"
    return SweepResult(
        account_id, what, ctx.now, granted=granted, period_number=number, plan_id=cycle.plan_id
    )


def end(ctx: Context, account_id: int) -> None:
    """End the cycle, after the renewals that were due while the account was still active.

    The running period's lot stays, and expires in its time.
    """
    renewals.renew_all(ctx, [account_id])
    for cycle in cycle_rows.read(ctx.session, [account_id]).values():
        if cycle.ended_at is None:
            cycle.ended_at = ctx.now
            cycle_rows.update(ctx.session, [cycle])
