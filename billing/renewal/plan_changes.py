"""What a change of plan does to credits: one table, applied where the main app's plan has moved.

The plan is the main app's to write; the calendar remembers the one that the running period was
given from. A change is seen by comparing the two, and is what it does to the monthly credits: a
price of 0 does not mean free (enterprise costs 0), so free to paid is more, paid to free is fewer.
"""

from collections.abc import Iterable
from typing import NamedTuple

from billing.context import Context
from billing.host import accounts
from billing.host.accounts import PlanTerms
from billing.ledger import idempotency
from billing.ledger.ledger import Ledger, open_accounts
from billing.renewal import cycle_rows, due, renewals
from billing.renewal.cycle_rows import OpenCalendar
from billing.sweep import AT_ONCE, SweepResult, all_or_each


class PlanChange(NamedTuple):
    """What happens. `is_now`: else at the period's end. `gives_difference`: of monthly credits."""

    what: str
    is_now: bool
    gives_difference: bool


#: The new plan gives … credits a month than the old one.
PLAN_CHANGES = {
    "more": PlanChange("upgraded", is_now=True, gives_difference=True),
    "as many": PlanChange("changed", is_now=True, gives_difference=False),
    "fewer": PlanChange("deferred", is_now=False, gives_difference=False),
}
#: The plan of the running period again: a downgrade that waited no longer does.
TAKEN_BACK = PlanChange("changed", is_now=True, gives_difference=False)


def compare(old: PlanTerms | None, new: PlanTerms) -> str:
    """How many credits the new plan gives beside the old one, as a key of PLAN_CHANGES.

    Beside a plan that is gone, nobody knows: as many, and the next period is the new plan's.
    """
    difference = new.included_credits - old.included_credits if old else 0
    return "more" if difference > 0 else "fewer" if difference < 0 else "as many"


def follow(ctx: Context, account_id: int) -> list[SweepResult]:
    """Apply the account's change of plan; empty if there is none."""
    return follow_all(ctx, [account_id])


def sweep(ctx: Context, *, limit: int = AT_ONCE) -> list[SweepResult]:
    """Apply changes of plan that the main app made, up to `limit`; empty when none is left."""
    ids = accounts.try_lock(ctx.session, due.plan_changes(ctx.session, limit=limit))
    if not ids:
        return []
    return all_or_each(ctx, ids, follow_all)


def follow_all(ctx: Context, ids: Iterable[int]) -> list[SweepResult]:
    """As `follow`, for many. A boundary that is due is crossed first, into the new plan."""
    wanted = list(ids)
    swept = renewals.renew_all(ctx, wanted)
    calendars = cycle_rows.read(ctx.session, wanted)
    asked: list[str] = []
    locked = accounts.lock(ctx.session, calendars)
    for account_id, each in calendars.items():
        plan_id = locked[account_id].plan_id if account_id in locked else None
        asked.append(idempotency.as_uuid(key_of(each, plan_id)))
    ledger = open_accounts(ctx, locked, keys_asked=asked)
    changed = [
        each
        for each in calendars.values()
        if each.ended_at is None and renewals.is_renewable(ledger, each.account_id)
    ]
    for each in changed:
        swept += _follow(ledger, each)
    ledger.write()
    cycle_rows.update(ctx.session, changed)
    return swept


def key_of(each: OpenCalendar, plan_id: int | None) -> str:
    """The key of a change: to this plan, in this period, the difference is given once."""
    return idempotency.own("plan_change", each.account_id, each.period_number, plan_id)


def _follow(ledger: Ledger, each: OpenCalendar) -> list[SweepResult]:
    balance = ledger.by_account[each.account_id]
    wanted = balance.account.plan_id
    if wanted is None or wanted == (each.next_plan_id or each.plan_id):
        return []
    old, new = ledger.terms.get(each.plan_id), ledger.terms[wanted]
    change = TAKEN_BACK if wanted == each.plan_id else PLAN_CHANGES[compare(old, new)]
    if change.is_now:
        each.plan_id, each.next_plan_id = wanted, None
    else:
        each.next_plan_id = wanted
    granted = 0
    if change.gives_difference and old is not None:
        granted = _give_difference(ledger, each, old, new)
    return [
        SweepResult(
            each.account_id,
            change.what,
            ledger.ctx.now,
            granted=granted,
            period_number=each.period_number,
            plan_id=wanted,
        )
    ]


def _give_difference(ledger: Ledger, each: OpenCalendar, old: PlanTerms, new: PlanTerms) -> int:
    """Give what the new plan has more for the running period, whose lot it is if that had none."""
    had = max(old.included_credits, 0)
    key = key_of(each, each.plan_id)
    if idempotency.as_uuid(key) in ledger.known_keys:
        return 0
    has_lot = had > 0 or each.period_number < each.first_period
    has_lot = has_lot or cycle_rows.has_lot(ledger.ctx.session, each.account_id, each.period_number)
    return renewals.give(
        ledger,
        ledger.by_account[each.account_id],
        each,
        new.included_credits - had,
        key=key,
        happened_at=ledger.ctx.now,
        period=None if has_lot else each.period_number,
    )
