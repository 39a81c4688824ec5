"""Renewals: each period's lot, once, however late, often or by how many sweeps it is asked for.

A period begins and ends by the account's own calendar, apart from any invoice. Only an account
that is let in is renewed: active, neither deleted nor the system's, on an active plan, and not
living on what it pays for (`host.funding`). Where that ends, its calendar ends too; when it
comes back, it gets the lot of the period then running, if it has not had it, and nothing for the
time between (decision 0007).
"""

import datetime as dt
from collections.abc import Iterable

from billing.context import Context
from billing.errors import BalanceTooLarge
from billing.host import accounts, funding
from billing.host.accounts import HostAccount
from billing.ledger import idempotency
from billing.ledger.balance import Balance
from billing.ledger.ledger import Ledger, open_accounts
from billing.renewal import cycle_rows, due, periods, rollover
from billing.renewal.cycle_rows import OpenCalendar
from billing.sweep import AT_ONCE, SweepResult, all_or_each

#: Boundaries of one account that one transaction catches up: ten years. The next takes the rest.
MAX_CATCH_UP = 120
#: The lot's and the roll-over's.
KEYS_A_BOUNDARY = 2
#: As a rule: an expiry, a roll-over and the new lot.
ENTRIES_A_BOUNDARY = 3


def renew(ctx: Context, account_id: int) -> list[SweepResult]:
    """Cross every boundary that the account has missed, in order; empty if none is due."""
    return renew_all(ctx, [account_id])


def sweep_due(ctx: Context, *, limit: int = AT_ONCE) -> list[SweepResult]:
    """Renew accounts that are due, up to `limit`; empty when none is left that is not locked."""
    ids = accounts.try_lock(ctx.session, due.renewals(ctx, limit=limit))
    if not ids:
        return []
    return all_or_each(ctx, ids, renew_all)


def renew_all(ctx: Context, ids: Iterable[int]) -> list[SweepResult]:
    """As `renew`, for many: entries say when the boundary was, so that late is as good as on time.

    The plan of a new period is the account's as it stands now.
    """
    wanted = list(ids)
    accounts.lock(ctx.session, wanted)
    calendars = {
        account_id: each
        for account_id, each in cycle_rows.read(ctx.session, wanted).items()
        if each.is_due(ctx.now)
    }
    if not calendars:
        return []
    asked = [
        idempotency.as_uuid(key) for each in calendars.values() for key in _keys(each, ctx.now)
    ]
    ledger = open_accounts(ctx, calendars, keys_asked=asked)
    ledger.reserve(ENTRIES_A_BOUNDARY * len(asked) // KEYS_A_BOUNDARY)
    rollover.ask(ledger, [lot for _, lot in rollover.expired(ledger)])
    swept = [one for each in calendars.values() for one in _catch_up(ledger, each)]
    ledger.write()
    cycle_rows.update(ctx.session, list(calendars.values()))
    return swept


def is_renewable(ledger: Ledger, account_id: int) -> bool:
    """Whether a period's lot is due to the account: it is let in, and does not pay for its own."""
    balance = ledger.by_account.get(account_id)
    if balance is None or not _is_let_in(ledger, balance.account):
        return False
    return not funding.is_funded(ledger.ctx, account_id)


def _is_let_in(ledger: Ledger, account: HostAccount) -> bool:
    plan = ledger.terms.get(account.plan_id)
    in_force = account.status == "active" and not account.is_deleted and not account.is_system
    return in_force and plan is not None and plan.is_active


def key_of(account_id: int, period_number: int) -> str:
    """The key of a period's lot."""
    return idempotency.own("renewal", account_id, period_number)


def _keys(each: OpenCalendar, now: dt.datetime) -> list[str]:
    last = min(periods.period_at(each.anchor_at, now), each.period_number + MAX_CATCH_UP)
    return [
        key
        for number in range(each.period_number + 1, last + 1)
        for key in (
            key_of(each.account_id, number),
            idempotency.own("rollover", each.account_id, number),
        )
    ]


def _catch_up(ledger: Ledger, each: OpenCalendar) -> list[SweepResult]:
    if not is_renewable(ledger, each.account_id):
        each.ended_at = each.next_due_at
        return [SweepResult(each.account_id, "ended", each.next_due_at)]
    balance = ledger.by_account[each.account_id]
    swept: list[SweepResult] = []
    while each.is_due(ledger.ctx.now) and len(swept) < MAX_CATCH_UP:
        swept.append(_cross(ledger, balance, each))
    return swept


def _cross(ledger: Ledger, balance: Balance, each: OpenCalendar) -> SweepResult:
    """Cross one boundary: what is left of the old period goes or rolls over, the new one begins."""
    at, plan_before = each.next_due_at, ledger.terms.get(each.plan_id)
    assert balance.account.plan_id is not None, "an account that is let in has a plan"
    each.go_to(each.period_number + 1, balance.account.plan_id)
    expired, carried = rollover.close_period(
        ledger,
        balance,
        ends_at=at,
        cap=plan_before.rollover_cap if plan_before else 0,
        until=each.next_due_at,
        number=each.period_number,
    )
    granted = give_period(ledger, balance, each, happened_at=at)
    return SweepResult(
        each.account_id,
        "renewed",
        at,
        granted=granted,
        carried=carried,
        expired=expired,
        period_number=each.period_number,
        plan_id=each.plan_id,
    )


def give_period(
    ledger: Ledger,
    balance: Balance,
    each: OpenCalendar,
    *,
    happened_at: dt.datetime,
    key: str | None = None,
) -> int:
    """Give the running period's lot; returns its credits, 0 where there is none to give.

    A balance that could not hold it gets none: the audit names the account, the repair tries again.
    """
    key = key or key_of(each.account_id, each.period_number)
    amount = ledger.terms[each.plan_id].included_credits
    if amount <= 0 or idempotency.as_uuid(key) in ledger.known_keys:
        return 0
    return give(
        ledger, balance, each, amount, key=key, happened_at=happened_at, period=each.period_number
    )


def give(
    ledger: Ledger,
    balance: Balance,
    each: OpenCalendar,
    amount: int,
    *,
    key: str,
    happened_at: dt.datetime,
    period: int | None,
) -> int:
    """Give `amount` credits that last as long as the running period; 0 if the balance is full."""
    try:
        lots = ledger.give(
            balance,
            amount,
            source="plan",
            key=key,
            expires_at=each.next_due_at,
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
        details={"period_number": each.period_number, "plan_id": each.plan_id},
    )
    return amount
