"""Plan changes: their effect on credits, in one table, applied after the main app changes a plan.

The main app writes the plan; the credit cycle remembers the plan of its running period, and a
sweep compares the two. A change is measured by the monthly credits, not by the price: a price of 0
does not mean free (enterprise plans cost 0).
"""

from collections.abc import Iterable
from functools import partial
from typing import NamedTuple

from billing.context import Context
from billing.host import accounts
from billing.host.accounts import PlanTerms
from billing.ledger import idempotency
from billing.ledger.ledger import Ledger, open_accounts
from billing.renewal import cycle_rows, due, renewals
from billing.renewal.cycle_rows import CreditCycle
from billing.sweep import AT_ONCE, SweepResult, all_or_each


class PlanChange(NamedTuple):
    """The effect of a plan change.

    `is_now`: at once, else at the period's end. `gives_difference`: in monthly credits, at once.
    """

    what: str
    is_now: bool
    gives_difference: bool


#: By how the new plan's monthly credits compare with the old one's.
PLAN_CHANGES = {
    "more": PlanChange("upgraded", is_now=True, gives_difference=True),
    "as many": PlanChange("changed", is_now=True, gives_difference=False),
    "fewer": PlanChange("deferred", is_now=False, gives_difference=False),
}
#: Back to the plan of the running period: a downgrade that waited is withdrawn.
WITHDRAWN = PlanChange("changed", is_now=True, gives_difference=False)


def compare(old: PlanTerms | None, new: PlanTerms) -> str:
    """Compare the monthly credits of two plans; returns a key of PLAN_CHANGES.

    An old plan that no longer exists counts as one with as many credits.
    """
    difference = new.included_credits - old.included_credits if old else 0
    return "more" if difference > 0 else "fewer" if difference < 0 else "as many"


def sweep(ctx: Context, *, limit: int = AT_ONCE) -> list[SweepResult]:
    """Apply up to `limit` plan changes of the main app; empty when none is left."""
    propose = partial(due.plan_changes, ctx.session)
    ids = accounts.lock_due(ctx.session, propose(limit), propose, limit=limit)
    return all_or_each(ctx, ids, follow_all) if ids else []


def follow_all(ctx: Context, ids: Iterable[int]) -> list[SweepResult]:
    """Apply the plan changes of these accounts; renewals that are due come first."""
    account_ids = list(ids)
    results = renewals.renew_all(ctx, account_ids)
    cycle_by_account = cycle_rows.read(ctx.session, account_ids)
    locked = accounts.lock(ctx.session, cycle_by_account)
    keys = [
        key_of(cycle, locked[account_id].plan_id if account_id in locked else None)
        for account_id, cycle in cycle_by_account.items()
    ]
    ledger = open_accounts(ctx, locked, key_uuids=[idempotency.as_uuid(key) for key in keys])
    open_cycles = [cycle for cycle in cycle_by_account.values() if cycle.ended_at is None]
    going_on = renewals.renewable(ledger, [cycle.account_id for cycle in open_cycles])
    running = [cycle for cycle in open_cycles if cycle.account_id in going_on]
    for cycle in running:
        results += _follow(ledger, cycle)
    ledger.write()
    cycle_rows.update(ctx.session, running)
    return results


def key_of(cycle: CreditCycle, plan_id: int | None) -> str:
    """Return the key of a change: to this plan, in this period, the difference is given once."""
    return idempotency.own("plan_change", cycle.account_id, cycle.period_number, plan_id)


def _follow(ledger: Ledger, cycle: CreditCycle) -> list[SweepResult]:
    plan_id = ledger.by_account[cycle.account_id].account.plan_id
    if plan_id is None or plan_id == (cycle.next_plan_id or cycle.plan_id):
        return []
    old, new = ledger.terms.get(cycle.plan_id), ledger.terms[plan_id]
    change = WITHDRAWN if plan_id == cycle.plan_id else PLAN_CHANGES[compare(old, new)]
    if change.is_now:
        cycle.plan_id, cycle.next_plan_id = plan_id, None
    else:
        cycle.next_plan_id = plan_id
    granted = 0
    if change.gives_difference and old is not None:
        granted = _give_difference(ledger, cycle, old, new)
    return [
        SweepResult(
            cycle.account_id,
            change.what,
            ledger.ctx.now,
            granted=granted,
            period_number=cycle.period_number,
            plan_id=plan_id,
        )
    ]


def _give_difference(ledger: Ledger, cycle: CreditCycle, old: PlanTerms, new: PlanTerms) -> int:
    """Give the difference for the running period; it is the period's lot if that had none."""
    had = max(old.included_credits, 0)
    key = key_of(cycle, cycle.plan_id)
    if idempotency.as_uuid(key) in ledger.known_keys:
        return 0
    number = cycle.period_number
    has_lot = had > 0 or number < cycle.first_period
    has_lot = has_lot or cycle_rows.has_lot(ledger.ctx.session, cycle.account_id, number)
    return renewals.give(
        ledger,
        ledger.by_account[cycle.account_id],
        cycle,
        new.included_credits - had,
        key=key,
        happened_at=ledger.ctx.now,
        period=None if has_lot else number,
    )
