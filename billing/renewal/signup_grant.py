"""The signup grant: an account's first credits, once, unless the main app has given them.

For an active account its credit cycle begins with them. An account in trial gets trial credits,
and its cycle when it becomes active (`billing.lifecycle.transitions`).
"""

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass

from sqlalchemy.orm import Session

from billing.context import Context
from billing.errors import NoPlan, SystemAccount
from billing.host import accounts
from billing.ledger import entry_rows, grants, idempotency
from billing.ledger.balance import Balance
from billing.ledger.entry_rows import Entry
from billing.ledger.ledger import Ledger, open_accounts
from billing.renewal import cycle_rows, cycles
from billing.sweep import SweepResult


@dataclass(frozen=True, slots=True)
class SignupGrant:
    """The outcome of a signup grant: its entry, or None with the reason `why_not`.

    `result`: what was done, which may be a credit cycle begun without an entry.
    """

    entry: Entry | None
    why_not: str | None = None
    result: SweepResult | None = None


def give(ctx: Context, account_id: int) -> SignupGrant:
    """Give the account its plan's credits unless it has had its first credits.

    It has had them if we gave them, if it had credits when it was adopted, or if the main app ever
    wrote a ledger row for it (even a deduction: spent credits had been given before). A balance of
    0 proves nothing. Raises UnknownAccount, AccountDeleted, SystemAccount or NoPlan.
    """
    key = idempotency.own("seed", account_id)
    ledger = open_accounts(ctx, [account_id], key_uuids=[idempotency.as_uuid(key)])
    balance = ledger.of(account_id)
    if balance.account.is_system:
        raise SystemAccount(account_id=account_id, slug=balance.account.slug)
    was_given = idempotency.as_uuid(key) in ledger.known_keys
    why_not = "seeded before" if was_given else _given_by_the_app(ctx.session, balance)
    if balance.account.status == "active":
        return _begin_cycle(ctx, balance, key, why_not, was_given=was_given)
    if why_not:
        return SignupGrant(None, why_not)
    if balance.account.status != "trial":
        return SignupGrant(
            None, f"its credits begin when it is active; it is {balance.account.status}"
        )
    return _give_trial(ledger, balance, key)


def _given_by_the_app(session: Session, balance: Balance) -> str | None:
    if accounts.has_history(session, balance.account.id):
        return "the main app's ledger shows its first credits"
    if balance.opening_credits:
        return "it had credits at its opening"
    return None


def _begin_cycle(
    ctx: Context, balance: Balance, key: str, why_not: str | None, *, was_given: bool
) -> SignupGrant:
    """Begin an active account's credit cycle, with its first lot unless the main app gave that.

    If we gave trial credits, the main app has activated the account itself, and its first period
    begins now.
    """
    account_id = balance.account.id
    if cycle_rows.read(ctx.session, [account_id]):
        return SignupGrant(None, why_not or "its credit cycle has begun")
    if why_not is None and accounts.plan(ctx.session, balance.account.plan_id) is None:
        raise NoPlan(account_id=account_id)
    subscription_began_at, created_at = accounts.anchors(ctx.session, account_id)
    begun = cycles.begin(
        ctx,
        account_id,
        anchor_at=subscription_began_at or (ctx.now if was_given else created_at),
        key=None if was_given else key,
        is_given=why_not is not None and not was_given,
    )
    if begun is None:
        return SignupGrant(None, why_not or "its plan is not active")
    if begun.entry_id is None:
        return SignupGrant(None, why_not or "the plan includes no credits", begun)
    entry = entry_rows.entries_by_id(ctx.session, [begun.entry_id])[begun.entry_id]
    return SignupGrant(entry, result=begun)


def _give_trial(ledger: Ledger, balance: Balance, key: str) -> SignupGrant:
    account_id = balance.account.id
    plan = accounts.plan(ledger.ctx.session, balance.account.plan_id)
    if plan is None:
        raise NoPlan(account_id=account_id)
    if plan.included_credits <= 0:
        return SignupGrant(None, "the plan includes no credits")
    entry = _pay_trial_in(ledger, balance, plan.included_credits, key)
    ledger.write()
    now = ledger.ctx.now
    result = SweepResult(account_id, "seeded", now, granted=entry.amount, entry_id=entry.id)
    return SignupGrant(entry, result=result)


def give_again(ctx: Context, ended_at: Mapping[int, dt.datetime]) -> None:
    """Give restored trials their plan's credits, once for each time that a trial ended.

    A trial that kept its credits gets no others. Call it under the accounts' locks.
    """
    keys = {
        account_id: idempotency.own("trial", account_id, at.astimezone(dt.UTC).isoformat())
        for account_id, at in ended_at.items()
    }
    uuids = [idempotency.as_uuid(key) for key in keys.values()]
    ledger = open_accounts(ctx, keys, key_uuids=uuids, entries=len(keys), lots=len(keys))
    for account_id, key in keys.items():
        balance = ledger.of(account_id)
        plan = ledger.terms.get(balance.account.plan_id)
        has_credits = any(lot.source == "trial" and lot.remaining for lot in balance.lots)
        is_given = idempotency.as_uuid(key) in ledger.known_keys
        if plan is None or plan.included_credits <= 0 or has_credits or is_given:
            continue
        _pay_trial_in(ledger, balance, plan.included_credits, key)
    ledger.write()


def _pay_trial_in(ledger: Ledger, balance: Balance, amount: int, key: str) -> Entry:
    return grants.pay_in(
        ledger,
        balance,
        amount,
        source="trial",
        key=key,
        content=idempotency.digest("seed", balance.account.id),
        actor="billing",
    )
