"""Purchases: each line of a payment gives its credits once.

A plan's credits come a month at a time, also those of an annual plan; a top-up's come at once.
While a purchase funds an account, its credit cycle is paused (decision 0011).
"""

import datetime as dt
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from functools import partial
from typing import NamedTuple

from sqlalchemy import BigInteger, Boolean, literal_column, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from billing.context import Context
from billing.errors import BalanceTooLarge
from billing.host import accounts
from billing.ledger import idempotency
from billing.ledger.balance import Balance
from billing.ledger.ledger import Ledger, open_accounts
from billing.ledger.lots import OF_A_PERIOD
from billing.purchases import bridge
from billing.renewal import cycle_rows, cycles, due, periods, rollover
from billing.sweep import AT_ONCE, SweepResult, all_or_each
from models.purchases import Purchase

#: The mean month of the Gregorian calendar: 400 years have 4,800 of them.
MONTH = dt.timedelta(days=146_097 / 4800)
#: The pause before a lot that did not fit into the balance is tried again.
FULL_WAITS = dt.timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Bought:
    """A line of a payment that bought credits.

    Attributes:
        key: The name of the line.
        origin: The name of the payment.
        source: plan, top_up or bank_transfer.
        credits: A month, or in all for a top-up, which has no `plan_id`.
        price_minor: The price of the line, net of discounts, in the payment's unit of `currency`.
    """

    key: str
    account_id: int
    origin: str
    source: str
    credits: int
    starts_at: dt.datetime
    ends_at: dt.datetime | None = None
    plan_id: int | None = None
    price_minor: int | None = None
    currency: str | None = None

    @property
    def lots(self) -> int:
        """The number of its lots: one a month of a plan, else one."""
        if self.ends_at is None or self.plan_id is None:
            return 1
        return months_of(self.starts_at, self.ends_at)


def lot_key(purchase: Purchase, number: int) -> str:
    """The key of a purchase's n-th lot."""
    return idempotency.own("bought", purchase.key, number)


class LotKey(NamedTuple):
    """The key of a lot, its uuid in the table of keys, and the digest of its content."""

    key: str
    uuid: str
    content: int


def _keys_to_come(purchase: Purchase) -> dict[int, LotKey]:
    """The keys of the purchase's lots that were not given yet, by their numbers."""
    keys = {n: lot_key(purchase, n) for n in range(purchase.given + 1, purchase.lots + 1)}
    return {
        number: LotKey(key, idempotency.as_uuid(key), idempotency.digest("bought", key))
        for number, key in keys.items()
    }


def months_of(starts_at: dt.datetime, ends_at: dt.datetime) -> int:
    """Count months, at least one: Feb 28 to Mar 31 is one, a year twelve."""
    return max(1, round((ends_at - starts_at) / MONTH))


#: Whether the account of a purchase has a running credit cycle.
_HAS_CYCLE = literal_column(
    "EXISTS (SELECT FROM billing.credit_calendars AS c"
    " WHERE c.account_id = purchases.account_id AND c.ended_at IS NULL)",
    Boolean,
)
#: The entry of the bridge that leads to a purchase, if one was given.
_BRIDGE = literal_column(bridge.ENTRY_OF_PURCHASE, BigInteger)


def open_one(ctx: Context, bought: Bought) -> Purchase | None:
    """Record one line as `open_all` does; None if it was recorded before."""
    return next(iter(open_all(ctx, [bought])), None)


def open_all(ctx: Context, bought: Sequence[Bought]) -> list[Purchase]:
    """Record purchases and give the credits that are due; return those that are new.

    A plan's purchase ends the account's credit cycle: the remaining credits of its period expire as
    the first bought lot arrives. The accounts are locked. Raises UnknownAccount, AccountDeleted or
    BalanceTooLarge.
    """
    if not bought:
        return []
    rows = [
        {
            **{field.name: getattr(line, field.name) for field in fields(line)},
            "lots": line.lots,
            "next_due_at": line.starts_at,
            "recorded_at": ctx.now,
        }
        for line in bought
    ]
    statement = insert(Purchase).values(rows)
    statement = statement.on_conflict_do_nothing(index_elements=[Purchase.key])
    answers = ctx.session.execute(statement.returning(Purchase, _HAS_CYCLE, _BRIDGE)).all()
    opened = [purchase for purchase, _, _ in answers]
    ending = {new.account_id for new, has_cycle, _ in answers if has_cycle and _funds(new, ctx.now)}
    for account_id in sorted(ending):
        end_cycle(ctx, account_id)
    bridges = {new.id: entry_id for new, _, entry_id in answers if entry_id}
    give_due(ctx, opened, bridge_lots=bridge.lots_of(ctx.session, bridges) if bridges else {})
    return opened


def _funds(purchase: Purchase, now: dt.datetime) -> bool:
    """Whether the purchase funds its account now."""
    is_running = purchase.ends_at is not None and purchase.ends_at > now
    return purchase.plan_id is not None and is_running


def end_cycle(ctx: Context, account_id: int) -> None:
    """End the account's credit cycle, and expire the remaining credits of its period."""
    cycle = cycle_rows.read(ctx.session, [account_id]).get(account_id)
    if cycle is None or cycle.ended_at is not None:
        return
    cycles.end(ctx, account_id)
    ledger = open_accounts(ctx, [account_id], key_uuids=())
    balance = ledger.of(account_id)
    lots = [
        lot
        for lot in balance.lots
        if lot.source in OF_A_PERIOD and lot.expires_at == cycle.next_due_at and lot.free
    ]
    rollover.find_keys(ledger, lots)
    for lot in lots:
        rollover.expire(ledger, balance, lot, happened_at=ctx.now)
    ledger.write()


def give_due(
    ctx: Context, purchases: Iterable[Purchase], *, bridge_lots: Mapping[int, int] | None = None
) -> list[SweepResult]:
    """Give every due lot of these purchases, whose accounts are locked.

    `bridge_lots`: the bridges' lots that lead to new purchases, by the purchases' ids.

    Raises UnknownAccount, AccountDeleted or, for a purchase that has given nothing yet,
    BalanceTooLarge.
    """
    ordered = sorted(purchases, key=lambda purchase: (purchase.account_id, purchase.id))
    if not ordered:
        return []
    keys = {purchase.id: _keys_to_come(purchase) for purchase in ordered}
    uuids = [key.uuid for of_lots in keys.values() for key in of_lots.values()]
    ids = {purchase.account_id for purchase in ordered}
    ledger = open_accounts(ctx, ids, key_uuids=uuids, entries=len(ordered), lots=len(ordered))
    bridges = bridge_lots or {}
    results = [
        result
        for purchase in ordered
        for result in _give(
            ledger,
            ledger.of(purchase.account_id),
            purchase,
            keys[purchase.id],
            bridges.get(purchase.id),
        )
    ]
    ledger.write()
    ctx.session.flush()
    return results


def _give(
    ledger: Ledger,
    balance: Balance,
    purchase: Purchase,
    keys: Mapping[int, LotKey],
    bridge_lot: int | None,
) -> list[SweepResult]:
    results = []
    while purchase.next_due_at is not None and purchase.next_due_at <= ledger.ctx.now:
        at, number = purchase.next_due_at, purchase.given + 1
        amount = min(purchase.credits - purchase.reduced, still_to_come(purchase))
        try:
            first = bridge_lot if number == 1 else None
            key = keys[number]
            _give_lot(
                ledger, balance, purchase, amount, key, number=number, at=at, bridge_lot=first
            )
        except BalanceTooLarge:
            if purchase.given == 0:
                raise
            purchase.next_due_at = ledger.ctx.now + FULL_WAITS
            break
        purchase.given = number
        purchase.granted += amount
        purchase.withheld += purchase.reduced
        purchase.next_due_at = due_at(purchase)
        results.append(
            SweepResult(balance.account.id, "bought", at, granted=amount, plan_id=purchase.plan_id)
        )
    return results


def _give_lot(
    ledger: Ledger,
    balance: Balance,
    purchase: Purchase,
    amount: int,
    lot: LotKey,
    *,
    number: int,
    at: dt.datetime,
    bridge_lot: int | None,
) -> None:
    """Give the n-th lot; a bridge into its month becomes the lot, and only the rest is given."""
    if lot.uuid in ledger.known_keys:
        return
    expires_at, key = ends_at(purchase, number), lot.key
    details = {"lot": number, "of": purchase.lots, "plan_id": purchase.plan_id}
    if bridge_lot is None:
        lots = ledger.give(balance, amount, source=purchase.source, key=key, expires_at=expires_at)
    else:
        whole = amount
        amount, lots = bridge.become_first_lot(
            ledger,
            balance,
            bridge_lot,
            amount=whole,
            source=purchase.source,
            key=key,
            expires_at=expires_at,
        )
        details["bridge"] = whole - amount
    ledger.post(
        balance,
        uuid=lot.uuid,
        content=lot.content,
        amount=amount,
        type="grant",
        description=purchase.source,
        key=key,
        reference=purchase.origin,
        actor="billing",
        happened_at=at,
        lots=lots,
        details=details,
    )


def still_to_come(purchase: Purchase) -> int:
    """The credits of lots that are not given yet, and that nothing has cancelled or reduced."""
    lots = purchase.lots - purchase.given
    return (purchase.credits - purchase.reduced) * lots - purchase.cancelled


def due_at(purchase: Purchase) -> dt.datetime | None:
    """The time of the next lot; None if there is none."""
    if still_to_come(purchase) <= 0:
        return None
    return periods.boundary(purchase.starts_at, purchase.given)


def ends_at(purchase: Purchase, number: int) -> dt.datetime | None:
    """The end of the n-th lot: a month after its start, for the last lot the purchase's end."""
    if number == purchase.lots:
        return purchase.ends_at
    return periods.boundary(purchase.starts_at, number)


def of_origins(session: Session, origins: Iterable[str]) -> list[Purchase]:
    """Read the purchases of these payments, oldest first. Call it under the account's lock."""
    rows = select(Purchase).where(Purchase.origin.in_(sorted(origins))).order_by(Purchase.id)
    return list(session.scalars(rows))


def of_account(session: Session, account_id: int) -> list[Purchase]:
    """Read the account's purchases, oldest first."""
    rows = select(Purchase).where(Purchase.account_id == account_id).order_by(Purchase.id)
    return list(session.scalars(rows))


def paid_by_transfer(ctx: Context, account_ids: Iterable[int]) -> dict[int, Purchase]:
    """Read the purchase by bank transfer that runs longest, of each of these accounts."""
    rows = select(Purchase).where(
        Purchase.account_id.in_(list(account_ids)),
        Purchase.plan_id.is_not(None),
        Purchase.ends_at > ctx.now,
        Purchase.origin.startswith(idempotency.own("invoice", "")),
    )
    by_end = ctx.session.scalars(rows.order_by(Purchase.ends_at))
    return {purchase.account_id: purchase for purchase in by_end}


def sweep_due(ctx: Context, *, limit: int = AT_ONCE) -> list[SweepResult]:
    """Give the due monthly lots of up to `limit` accounts; empty when none is left."""
    propose = partial(due.purchases, ctx)
    account_ids = accounts.lock_due(ctx.session, propose(limit), propose, limit=limit)

    def give(ctx: Context, ids: Sequence[int]) -> list[SweepResult]:
        is_due = Purchase.account_id.in_(ids), Purchase.next_due_at <= ctx.now
        return give_due(ctx, list(ctx.session.scalars(select(Purchase).where(*is_due))))

    return all_or_each(ctx, account_ids, give) if account_ids else []
