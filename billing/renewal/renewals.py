"""Renewals: each period of a credit cycle gives its lot once, however late or often a sweep runs.

Only active, billable accounts on an active plan that no purchase funds (`billing.host.funding`)
are renewed. For any other account the cycle ends. When the account comes back, it gets the lot of
the period then running, unless it had that, and nothing for the time between (decision 0007).
"""

import datetime as dt
from collections.abc import Collection, Iterable
from functools import partial

from billing.context import Context
from billing.errors import BalanceTooLarge
from billing.host import accounts, funding
from billing.ledger import idempotency
from billing.ledger.balance import Balance
from billing.ledger.ledger import Ledger, open_accounts
from billing.renewal import cycle_rows, due, periods, rollover
from billing.renewal.cycle_rows import CreditCycle
from billing.sweep import AT_ONCE, SweepResult, all_or_each

#: Periods of one account that one transaction catches up: ten years. The next takes the rest.
MAX_CATCH_UP = 120
#: The lot's key and the rollover's.
KEYS_A_PERIOD = 2
#: As a rule: an expiry, a rollover and the new lot.
ENTRIES_A_PERIOD = 3


def sweep_due(ctx: Context, *, limit: int = AT_ONCE) -> list[SweepResult]:
    """Renew up to `limit` accounts that are due; empty when none is left that is not locked."""
    propose = partial(due.renewals, ctx)
    ids = accounts.lock_due(ctx.session, propose(limit), propose, limit=limit)
    return all_or_each(ctx, ids, renew_all) if ids else []


def renew_all(ctx: Context, ids: Iterable[int]) -> list[SweepResult]:
    """Give these accounts the lots of all periods that have begun, in order; empty if none is due.

    Entries carry the time at which the period began, so a late renewal equals one on time. The
    plan of a new period is the account's present one.
    """
    account_ids = list(ids)
    accounts.lock(ctx.session, account_ids)
    cycle_by_account = cycle_rows.read(ctx.session, account_ids)
    cycles = [cycle for cycle in cycle_by_account.values() if cycle.is_due(ctx.now)]
    if not cycles:
        return []
    keys = [idempotency.as_uuid(key) for cycle in cycles for key in _keys(cycle, ctx.now)]
    account_ids = [cycle.account_id for cycle in cycles]
    entries = ENTRIES_A_PERIOD * len(keys) // KEYS_A_PERIOD
    ledger = open_accounts(ctx, account_ids, key_uuids=keys, entries=entries, lots=len(cycles))
    rollover.find_keys(ledger, [lot for _, lot in rollover.expired(ledger)])
    going_on = renewable(ledger, account_ids)
    results = [result for cycle in cycles for result in _catch_up(ledger, cycle, going_on)]
    ledger.write()
    cycle_rows.update(ctx.session, cycles)
    return results


def renewable(ledger: Ledger, account_ids: Iterable[int]) -> set[int]:
    """Return those that get monthly lots: active, on an active plan, funded by no purchase."""
    ids = {id for id in account_ids if _is_active(ledger, ledger.by_account.get(id))}
    return ids - funding.funded(ledger.ctx, ids) if ids else ids


def _is_active(ledger: Ledger, balance: Balance | None) -> bool:
    if balance is None or balance.account.status != "active" or not balance.account.is_billable:
        return False
    plan = ledger.terms.get(balance.account.plan_id)
    return plan is not None and plan.is_active


def key_of(account_id: int, period_number: int) -> str:
    """Return the key of a period's lot."""
    return idempotency.own("renewal", account_id, period_number)


def _keys(cycle: CreditCycle, now: dt.datetime) -> list[str]:
    last = min(periods.period_at(cycle.anchor_at, now), cycle.period_number + MAX_CATCH_UP)
    return [
        key
        for number in range(cycle.period_number + 1, last + 1)
        for key in (
            key_of(cycle.account_id, number),
            idempotency.own("rollover", cycle.account_id, number),
        )
    ]


def _catch_up(ledger: Ledger, cycle: CreditCycle, going_on: Collection[int]) -> list[SweepResult]:
    if cycle.account_id not in going_on:
        cycle.ended_at = cycle.next_due_at
        return [SweepResult(cycle.account_id, "ended", cycle.next_due_at)]
    balance = ledger.by_account[cycle.account_id]
    results: list[SweepResult] = []
    while cycle.is_due(ledger.ctx.now) and len(results) < MAX_CATCH_UP:
        results.append(_begin_next(ledger, balance, cycle))
    return results


def _begin_next(ledger: Ledger, balance: Balance, cycle: CreditCycle) -> SweepResult:
    """Close the period that is over, by expiry and rollover, and begin the next with its lot."""
    at, plan_before = cycle.next_due_at, ledger.terms.get(cycle.plan_id)
    assert balance.account.plan_id is not None, "a renewable account has a plan"
    cycle.go_to(cycle.period_number + 1, balance.account.plan_id)
    expired, carried = rollover.close_period(
        ledger,
        balance,
        ends_at=at,
        cap=plan_before.rollover_cap if plan_before else 0,
        until=cycle.next_due_at,
        number=cycle.period_number,
    )
    granted = give_period(ledger, balance, cycle, happened_at=at)
    return SweepResult(
        cycle.account_id,
        "renewed",
        at,
        granted=granted,
        carried=carried,
        expired=expired,
        period_number=cycle.period_number,
        plan_id=cycle.plan_id,
    )


def give_period(
    ledger: Ledger,
    balance: Balance,
    cycle: CreditCycle,
    *,
    happened_at: dt.datetime,
    key: str | None = None,
) -> int:
    """Give the running period's lot; returns its credits, 0 if there are none to give.

    If the balance column can't hold it, the audit names the account and the repair tries again.
    """
    key = key or key_of(cycle.account_id, cycle.period_number)
    amount = ledger.terms[cycle.plan_id].included_credits
    if amount <= 0 or idempotency.as_uuid(key) in ledger.known_keys:
        return 0
    return give(
        ledger, balance, cycle, amount, key=key, happened_at=happened_at, period=cycle.period_number
    )


def give(
    ledger: Ledger,
    balance: Balance,
    cycle: CreditCycle,
    amount: int,
    *,
    key: str,
    happened_at: dt.datetime,
    period: int | None,
) -> int:
    """Give credits that last as long as the running period; 0 if the balance can't hold them."""
    try:
        lots = ledger.give(
            balance,
            amount,
            source="plan",
            key=key,
            expires_at=cycle.next_due_at,
            period_number=period,
        )
    except BalanceTooLarge:
        return 0
    ledger.post(
        balance,
        content=idempotency.digest("period", key),
        amount=amount,
        type="grant",
        description="plan",
        key=key,
        actor="billing",
        happened_at=happened_at,
        lots=lots,
        details={"period_number": cycle.period_number, "plan_id": cycle.plan_id},
    )
    return amount
