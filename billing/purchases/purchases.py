"""Purchases: what one line of one payment bought gives its credits once.

A plan's credits come a month at a time (an annual plan drips), a top-up's at once. While an account
lives on what it pays for, its calendar rests (decision 0010).
"""

import datetime as dt
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields

from sqlalchemy import select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from billing.context import Context
from billing.errors import BalanceTooLarge
from billing.host import accounts
from billing.ledger import idempotency
from billing.ledger.balance import Balance
from billing.ledger.ledger import Ledger, open_accounts
from billing.ledger.lots import OF_A_PERIOD
from billing.renewal import cycle_rows, cycles, due, periods, rollover
from billing.sweep import AT_ONCE, SweepResult, all_or_each
from models.purchases import Purchase

#: The mean month of the Gregorian calendar: 400 years have 4,800 of them.
MONTH = dt.timedelta(days=146_097 / 4800)
#: A lot that a full balance has no room for is tried again after this.
FULL_WAITS = dt.timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Bought:
    """What a line of a payment bought. `key` names the line, `origin` the payment.

    `credits`: a month, or in all for a top-up, which has neither `plan_id` nor `ends_at`.
    `source`: plan, top_up or bank_transfer.
    """

    key: str
    account_id: int
    origin: str
    source: str
    credits: int
    starts_at: dt.datetime
    ends_at: dt.datetime | None = None
    plan_id: int | None = None


def lot_key(purchase: Purchase, number: int) -> str:
    """The key of a purchase's n-th lot."""
    return idempotency.own("bought", purchase.key, number)


def months_of(starts_at: dt.datetime, ends_at: dt.datetime) -> int:
    """How many months, at least one, a time is: Feb 28 to Mar 31 is one, a year twelve."""
    return max(1, round((ends_at - starts_at) / MONTH))


def open_one(ctx: Context, bought: Bought) -> Purchase | None:
    """Record what was bought and give the credits that are due; None if it was there already.

    As `open_all`, for one.
    """
    return next(iter(open_all(ctx, [bought])), None)


def open_all(ctx: Context, bought: Sequence[Bought]) -> list[Purchase]:
    """Record what was bought and give the credits that are due; returns what was not there yet.

    A plan's purchase takes the account over from its calendar: what is left of that period's lots
    expires as the first bought lot comes. Raises UnknownAccount, AccountDeleted or BalanceTooLarge.
    """
    if not bought:
        return []
    accounts.lock(ctx.session, {each.account_id for each in bought})
    rows = [
        {
            **{each.name: getattr(one, each.name) for each in fields(one)},
            "lots": months_of(one.starts_at, one.ends_at) if one.ends_at else 1,
            "next_due_at": one.starts_at,
            "recorded_at": ctx.now,
        }
        for one in bought
    ]
    new = insert(Purchase).values(rows).on_conflict_do_nothing(index_elements=[Purchase.key])
    opened = list(ctx.session.scalars(new.returning(Purchase)))
    funded_accounts = {each.account_id for each in opened if _covers(each, ctx.now)}
    for account_id in (
        sorted(cycle_rows.read(ctx.session, funded_accounts)) if funded_accounts else ()
    ):
        take_over(ctx, account_id)
    give_due(ctx, opened)
    return opened


def _covers(purchase: Purchase, now: dt.datetime) -> bool:
    """Whether its account lives on it now."""
    is_running = purchase.ends_at is not None and purchase.ends_at > now
    return purchase.plan_id is not None and is_running


def take_over(ctx: Context, account_id: int) -> None:
    """End the account's calendar, and what its running period has left."""
    each = cycle_rows.read(ctx.session, [account_id]).get(account_id)
    if each is None or each.ended_at is not None:
        return
    cycles.end(ctx, account_id)
    ledger = open_accounts(ctx, [account_id], keys_asked=())
    balance = ledger.of(account_id)
    lots = [
        lot
        for lot in balance.lots
        if lot.source in OF_A_PERIOD and lot.expires_at == each.next_due_at and lot.free
    ]
    rollover.find_keys(ledger, lots)
    for lot in lots:
        rollover.expire(ledger, balance, lot, happened_at=ctx.now)
    ledger.write()


def give_due(ctx: Context, purchases: Iterable[Purchase]) -> list[SweepResult]:
    """Give every lot of these purchases that is due. Their accounts are locked already.

    Raises UnknownAccount, AccountDeleted or, for a purchase that has given nothing yet,
    BalanceTooLarge.
    """
    wanted = sorted(purchases, key=lambda each: (each.account_id, each.id))
    if not wanted:
        return []
    asked = [
        idempotency.as_uuid(lot_key(each, number))
        for each in wanted
        for number in range(each.given + 1, each.lots + 1)
    ]
    ids = {each.account_id for each in wanted}
    ledger = open_accounts(ctx, ids, keys_asked=asked)
    ledger.reserve(len(wanted))
    swept = [one for each in wanted for one in _give(ledger, ledger.of(each.account_id), each)]
    ledger.write()
    ctx.session.flush()
    return swept


def _give(ledger: Ledger, balance: Balance, purchase: Purchase) -> list[SweepResult]:
    swept = []
    while purchase.next_due_at is not None and purchase.next_due_at <= ledger.ctx.now:
        at, number = purchase.next_due_at, purchase.given + 1
        amount = min(purchase.credits, still_to_come(purchase))
        try:
            _give_lot(ledger, balance, purchase, amount, number=number, at=at)
        except BalanceTooLarge:
            if purchase.given == 0:
                raise
            purchase.next_due_at = ledger.ctx.now + FULL_WAITS
            break
        purchase.given = number
        purchase.next_due_at = due_at(purchase)
        swept.append(
            SweepResult(balance.account.id, "bought", at, granted=amount, plan_id=purchase.plan_id)
        )
    return swept


def _give_lot(
    ledger: Ledger,
    balance: Balance,
    purchase: Purchase,
    amount: int,
    *,
    number: int,
    at: dt.datetime,
) -> None:
    key = lot_key(purchase, number)
    if idempotency.as_uuid(key) in ledger.known_keys:
        return
    lots = ledger.give(
        balance, amount, source=purchase.source, key=key, expires_at=ends_at(purchase, number)
    )
    ledger.post(
        balance,
        content=idempotency.digest("bought", key),
        amount=amount,
        type="grant",
        description=purchase.source,
        key=key,
        reference=purchase.origin,
        actor="billing",
        happened_at=min(at, ledger.ctx.now),
        lots=lots,
        details={"lot": number, "of": purchase.lots, "plan_id": purchase.plan_id},
    )


def still_to_come(purchase: Purchase) -> int:
    """Credits of lots that are not given yet and that no refund has cancelled."""
    return purchase.credits * (purchase.lots - purchase.given) - purchase.cancelled


def due_at(purchase: Purchase) -> dt.datetime | None:
    """When the next lot is due; None when none is to come."""
    if still_to_come(purchase) <= 0:
        return None
    return periods.boundary(purchase.starts_at, purchase.given)


def ends_at(purchase: Purchase, number: int) -> dt.datetime | None:
    """When the n-th lot ends: a month after it began, the last with the purchase."""
    if purchase.ends_at is None or number == purchase.lots:
        return purchase.ends_at
    return periods.boundary(purchase.starts_at, number)


def of_origins(session: Session, origins: Iterable[str]) -> list[Purchase]:
    """What these payments bought, oldest first. Call it under the account's lock."""
    rows = select(Purchase).where(Purchase.origin.in_(sorted(origins))).order_by(Purchase.id)
    return list(session.scalars(rows))


def sweep_due(ctx: Context, *, limit: int = AT_ONCE) -> list[SweepResult]:
    """Give the monthly lots that are due, up to `limit` accounts; empty when none is left."""
    mine = accounts.try_lock(ctx.session, due.purchases(ctx, limit=limit))

    def give(ctx: Context, ids: Sequence[int]) -> list[SweepResult]:
        is_due = Purchase.account_id.in_(ids), Purchase.next_due_at <= ctx.now
        return give_due(ctx, list(ctx.session.scalars(select(Purchase).where(*is_due))))

    return all_or_each(ctx, mine, give) if mine else []
