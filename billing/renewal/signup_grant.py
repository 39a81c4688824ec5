"""The first credits of an account: its plan's, once, also where the main app has given them.

An active account's calendar begins with them; one in trial gets trial credits, and its calendar
when it becomes active (`billing.lifecycle.effects`).
"""

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
class Seeded:
    """The entry of the seeding, or None with the reason `why_not` it was not needed.

    `swept`: what was done, which may be a calendar begun without an entry.
    """

    entry: Entry | None
    why_not: str | None = None
    swept: SweepResult | None = None


def seed(ctx: Context, account_id: int) -> Seeded:
    """Give the account its plan's credits unless it has had its first ones.

    It has had them where we seeded it, where it had credits at its opening, or where the main app
    ever wrote a ledger row for it (even if only deductions: what was spent had been given).
    A balance of 0 proves nothing. Raises UnknownAccount, AccountDeleted, SystemAccount or NoPlan.
    """
    key = idempotency.own("seed", account_id)
    ledger = open_accounts(ctx, [account_id], keys_asked=[idempotency.as_uuid(key)])
    balance = ledger.of(account_id)
    if balance.account.is_system:
        raise SystemAccount(account_id=account_id, slug=balance.account.slug)
    seeded_before = idempotency.as_uuid(key) in ledger.known_keys
    why_not = "seeded before" if seeded_before else _given_by_the_app(ctx.session, balance)
    if balance.account.status == "active":
        return _begin(ctx, balance, key, why_not, seeded_before=seeded_before)
    if why_not:
        return Seeded(None, why_not)
    if balance.account.status != "trial":
        return Seeded(None, f"its credits begin when it is active; it is {balance.account.status}")
    return _give_trial(ledger, balance, key)


def _given_by_the_app(session: Session, balance: Balance) -> str | None:
    if accounts.has_history(session, balance.account.id):
        return "the main app's ledger shows its first credits"
    if balance.opening_credits:
        return "it had credits at its opening"
    return None


def _begin(
    ctx: Context, balance: Balance, key: str, why_not: str | None, *, seeded_before: bool
) -> Seeded:
    """Begin the calendar of an active account, with its first lot unless the main app gave that.

    One that we seeded in its trial has been made active by the main app, and its first period
    begins as we see it.
    """
    account_id = balance.account.id
    if cycle_rows.read(ctx.session, [account_id]):
        return Seeded(None, why_not or "its calendar has begun")
    if why_not is None and accounts.plan(ctx.session, balance.account.plan_id) is None:
        raise NoPlan(account_id=account_id)
    subscription_began_at, created_at = accounts.anchors(ctx.session, account_id)
    begun = cycles.begin(
        ctx,
        account_id,
        anchor_at=subscription_began_at or (ctx.now if seeded_before else created_at),
        key=None if seeded_before else key,
        is_given=why_not is not None and not seeded_before,
    )
    if begun is None:
        return Seeded(None, why_not or "its plan is not active")
    if begun.entry_id is None:
        return Seeded(None, why_not or "the plan includes no credits", begun)
    entry = entry_rows.entries_by_id(ctx.session, [begun.entry_id])[begun.entry_id]
    return Seeded(entry, swept=begun)


def _give_trial(ledger: Ledger, balance: Balance, key: str) -> Seeded:
    account_id = balance.account.id
    plan = accounts.plan(ledger.ctx.session, balance.account.plan_id)
    if plan is None:
        raise NoPlan(account_id=account_id)
    if plan.included_credits <= 0:
        return Seeded(None, "the plan includes no credits")
    entry = grants.pay_in(
        ledger,
        balance,
        plan.included_credits,
        source="trial",
        key=key,
        content=idempotency.digest("seed", account_id),
        actor="billing",
    )
    ledger.write()
    swept = SweepResult(
        account_id, "seeded", ledger.ctx.now, granted=entry.amount, entry_id=entry.id
    )
    return Seeded(entry, swept=swept)
