"""Clawbacks: credits follow money that goes back, never more than the purchase gave.

refund          future lots are cancelled first, then unspent credits of the purchase's own lots are
                taken; spent ones become debt, up to the plan's limit, and later lots repay it
open dispute    unspent credits are frozen by a hold that no capture can touch
dispute won     the hold ends
dispute lost    as a refund

Every act gets the state of the payment and makes the credits equal to it, so repeating it, or
coming late, changes nothing more.
"""

import datetime as dt
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import cast
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.orm import Session

from billing.context import Context
from billing.events import outbox
from billing.ledger import entry_rows, idempotency, reversals
from billing.ledger.balance import Balance
from billing.ledger.ledger import Ledger, open_accounts
from billing.purchases import purchases
from billing.usage.holds import DISPUTE
from models.credits import Hold, Lot
from models.purchases import Purchase

#: The expiry of a dispute's hold, which waits for the bank's decision.
NEVER = dt.datetime(9999, 1, 1, tzinfo=dt.UTC)


@dataclass(frozen=True, slots=True)
class PaymentState:
    """The money of a payment: paid, gone back for good, and disputed.

    In minor units of one currency. `disputes`: the amounts of open disputes, by their ids.
    """

    paid: int
    returned: int
    disputes: dict[str, int]

    def share(self, total: int, amount: int) -> int:
        """The part of `total` credits that `amount` of the money bought, rounded down."""
        if self.paid <= 0 or amount >= self.paid:
            return total if amount > 0 else 0
        return total * amount // self.paid


def settle(ctx: Context, bought: Sequence[Purchase], state: PaymentState) -> None:
    """Make the credits of one payment's purchases equal to the payment's state.

    Their account is locked. Raises BalanceTooLarge if credits can't be given back.
    """
    settle_all(ctx, [(bought, state)])


def settle_all(ctx: Context, payments: Iterable[tuple[Sequence[Purchase], PaymentState]]) -> None:
    """Settle many payments, one after the other."""
    with_purchases = [(bought, state) for bought, state in payments if bought]
    if not with_purchases:
        return
    holds = _frozen(ctx.session, [purchase for bought, _ in with_purchases for purchase in bought])
    for bought, state in with_purchases:
        operations = {_operation(purchase) for purchase in bought}
        frozen = [hold for hold in holds if hold.operation in operations]
        if _is_needed(bought, state, frozen):
            _settle(ctx, bought, state, frozen)


def _settle(
    ctx: Context, bought: Sequence[Purchase], state: PaymentState, frozen: Sequence[Hold]
) -> None:
    account_id = bought[0].account_id
    keys = [
        idempotency.as_uuid(_key(purchase, number))
        for purchase in bought
        for number in range(purchase.undone + 1, purchase.take_backs + 2)
    ]
    ledger = open_accounts(ctx, [account_id], key_uuids=keys)
    balance = ledger.of(account_id)
    # Frozen credits are unspent, too: a refund takes them, and the disputes freeze the rest.
    for hold in frozen:
        _thaw(ledger, balance, hold)
    for purchase in bought:
        total = purchase.credits * purchase.lots
        _claw_back_to(ledger, balance, purchase, state.share(total, state.returned))
        _freeze(ledger, balance, purchase, state)
        purchase.next_due_at = None if state.disputes else purchases.due_at(purchase)
    ledger.write()
    ctx.session.flush()
    purchases.give_due(ctx, bought)


def _is_needed(bought: Sequence[Purchase], state: PaymentState, frozen: Sequence[Hold]) -> bool:
    """Whether there is anything to do; most payments are neither refunded nor disputed."""
    is_touched = any(purchase.taken_back for purchase in bought) or bool(frozen)
    # A dispute stops the future lots even if there was nothing to freeze.
    is_stopped = any(item.next_due_at is None and purchases.due_at(item) for item in bought)
    return is_touched or is_stopped or state.returned > 0 or bool(state.disputes)


def _key(purchase: Purchase, number: int) -> str:
    """The key of the n-th clawback of a purchase."""
    return idempotency.own("take-back", purchase.key, number)


def _claw_back_to(ledger: Ledger, balance: Balance, purchase: Purchase, target: int) -> None:
    """Claw back exactly `target` credits of the purchase in all, future lots first."""
    if target < purchase.taken_back:
        _undo(ledger, purchase)
    more = target - purchase.taken_back
    if more <= 0:
        return
    purchase.taken_back = target
    cancelled = min(more, max(purchases.still_to_come(purchase), 0))
    purchase.cancelled += cancelled
    if more > cancelled:
        _take(ledger, balance, purchase, more - cancelled)


def _take(ledger: Ledger, balance: Balance, purchase: Purchase, credits: int) -> None:
    lot_ids = _lot_ids(ledger.ctx.session, purchase)
    ledger.open_lots(balance, lot_ids)
    terms = ledger.terms.get(balance.account.plan_id)
    used, owed = balance.claw_back(
        lot_ids, credits, debt_limit=terms.take_back_debt_limit if terms else None
    )
    taken = -sum([part for _, part in used])
    written_off = credits - taken - owed
    purchase.take_backs += 1
    key = _key(purchase, purchase.take_backs)
    ledger.post(
        balance,
        content=idempotency.digest("take-back", key),
        amount=-(taken + owed),
        type="take_back",
        description=f"{purchase.source} taken back",
        key=key,
        reference=purchase.origin,
        actor="billing",
        happened_at=ledger.ctx.now,
        lots=used,
        details={"unspent": taken, "debt": owed, "written_off": written_off},
    )
    outbox.leave(
        ledger.ctx,
        "credits.taken_back",
        account_id=balance.account.id,
        payload={
            "payment": purchase.origin,
            "unspent": taken,
            "debt": owed,
            "written_off": written_off,
        },
    )


def _undo(ledger: Ledger, purchase: Purchase) -> None:
    """Return all clawed back credits to their lots: the money has come back after all."""
    numbers = range(purchase.undone + 1, purchase.take_backs + 1)
    keys = [ledger.known_keys[idempotency.as_uuid(_key(purchase, number))] for number in numbers]
    entries = entry_rows.entries_by_id(
        ledger.ctx.session, [key.entry_id for key in keys if key.entry_id]
    )
    for entry in sorted(entries.values(), key=lambda entry: -entry.id):
        key = idempotency.own("take-back-undone", entry.key)
        lots = reversals.give_back(ledger, entry, key=key)
        ledger.post(
            ledger.of(entry.account_id),
            content=idempotency.digest("take-back-undone", key),
            amount=-entry.amount,
            type="reversal",
            description=f"reversal of {entry.description}",
            key=key,
            reference=entry.key,
            actor="billing",
            happened_at=ledger.ctx.now,
            lots=lots,
        )
    purchase.taken_back, purchase.cancelled, purchase.undone = 0, 0, purchase.take_backs


def _lot_ids(session: Session, purchase: Purchase) -> list[int]:
    """The ids of the lots that the purchase gave."""
    numbers = range(1, purchase.given + 1)
    keys = [purchases.lot_key(purchase, number) for number in numbers]
    rows = select(Lot.id).where(Lot.account_id == purchase.account_id, Lot.key.in_(keys))
    return list(session.scalars(rows))


def _operation(purchase: Purchase) -> str:
    return f"{DISPUTE}:{purchase.id}"


def _hold_key(dispute: str, purchase: Purchase) -> str:
    return idempotency.own("dispute", dispute, purchase.key)


def _frozen(session: Session, bought: Iterable[Purchase]) -> list[Hold]:
    """The holds that freeze credits of these purchases."""
    rows = select(Hold).where(
        Hold.account_id.in_({purchase.account_id for purchase in bought}),
        Hold.state == "held",
        Hold.operation.in_([_operation(purchase) for purchase in bought]),
    )
    return list(session.scalars(rows))


def _thaw(ledger: Ledger, balance: Balance, hold: Hold) -> None:
    """End the hold of a dispute."""
    parts = cast("list[list[int]]", hold.lots)
    ledger.open_lots(balance, [lot_id for lot_id, _ in parts])
    balance.end_hold(parts, spend=0)
    hold.state, hold.finished_at = "released", ledger.ctx.now


def _freeze(ledger: Ledger, balance: Balance, purchase: Purchase, state: PaymentState) -> None:
    """Freeze the unspent part of the disputed credits, by a hold for each open dispute."""
    total = purchase.credits * purchase.lots
    for dispute, amount in sorted(state.disputes.items()):
        lot_ids = _lot_ids(ledger.ctx.session, purchase)
        ledger.open_lots(balance, lot_ids)
        parts = balance.reserve(lot_ids, state.share(total, amount))
        if parts:
            _write_hold(ledger, purchase, _hold_key(dispute, purchase), parts)


def _write_hold(ledger: Ledger, purchase: Purchase, key: str, parts: list[list[int]]) -> None:
    """Write the hold; it may have frozen other credits before."""
    uuid = UUID(idempotency.as_uuid(key))
    hold = ledger.ctx.session.get(Hold, uuid)
    if hold is None:
        hold = Hold(
            key=uuid,
            key_text=key,
            account_id=purchase.account_id,
            operation=_operation(purchase),
            units=1,
            placed_at=ledger.ctx.now,
            expires_at=NEVER,
        )
        ledger.ctx.session.add(hold)
    hold.credits = sum([credits for _, credits in parts])
    hold.lots, hold.state, hold.finished_at = [*parts], "held", None
