"""Clawbacks: credits follow money that goes back, never more than the purchase gave.

refund          future lots are cancelled first, then unspent credits of the purchase's own lots are
                taken; expired ones are gone already; spent ones become debt, up to the plan's
                limit, and later lots repay it
open dispute    unspent credits are frozen by a hold that no capture can touch
dispute won     the hold ends
dispute lost    as a refund

Every act gets the state of the payment and makes the credits equal to it, so repeating it, or
coming late, changes nothing more.
"""

import datetime as dt
from collections.abc import Iterable, Sequence
from typing import cast
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.orm import Session

from billing.context import Context
from billing.events import outbox
from billing.ledger import entry_rows, idempotency, reversals
from billing.ledger.balance import Balance
from billing.ledger.ledger import Ledger, open_accounts
from billing.purchases import money, purchases
from billing.purchases.money import PaymentState, Target
from billing.usage.holds import DISPUTE
from models.credits import Hold, Lot
from models.purchases import Purchase

#: The expiry of a dispute's hold, which waits for the bank's decision.
NEVER = dt.datetime(9999, 1, 1, tzinfo=dt.UTC)


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
        for purchase in bought:
            _write_money(purchase, state)
        if frozen or state.disputes or any(_must_change(purchase, state) for purchase in bought):
            _settle(ctx, bought, state, frozen)


def _settle(
    ctx: Context, bought: Sequence[Purchase], state: PaymentState, frozen: Sequence[Hold]
) -> None:
    account_id = bought[0].account_id
    ledger = open_accounts(ctx, [account_id], key_uuids=_uuids(bought))
    balance = ledger.of(account_id)
    # Frozen credits are unspent, too: a refund takes them, and the disputes freeze the rest.
    for hold in frozen:
        _thaw(ledger, balance, hold)
    for purchase in bought:
        _claw_back_to(ledger, balance, purchase, money.target_of(purchase, state))
        _freeze(ledger, balance, purchase, state)
        purchase.next_due_at = None if state.disputes else purchases.due_at(purchase)
    ledger.write()
    ctx.session.flush()
    purchases.give_due(ctx, bought)


def _must_change(purchase: Purchase, state: PaymentState) -> bool:
    """Whether the purchase's credits differ from what the state of its payment asks for."""
    target = money.target_of(purchase, state)
    # A dispute stops the future lots even if there was nothing to freeze.
    is_stopped = purchase.next_due_at is None and purchases.due_at(purchase) is not None
    is_equal = (purchase.reduced, purchase.taken_back) == (target.reduced, target.taken_back)
    return is_stopped or not is_equal


def claw_back_anew(ctx: Context, account_id: int, clawed: Sequence[Purchase]) -> None:
    """Make clawbacks again whose purchase has credits that are no longer spent.

    A refund charges for spent credits: it makes them a debt, or writes them off. If a reversal or
    the end of a hold gives such credits back, the account ends as if that had come first.
    """
    ledger = open_accounts(ctx, [account_id], key_uuids=_uuids(clawed))
    balance = ledger.by_account.get(account_id)
    if balance is None or balance.account.is_deleted:
        return
    for purchase in clawed:
        if _charges_too_much(ledger, balance, purchase):
            taken_back, cancelled = purchase.taken_back, purchase.cancelled
            _undo(ledger, purchase)
            purchase.taken_back, purchase.cancelled = taken_back, cancelled
            _take(ledger, balance, purchase, taken_back - cancelled)
    ledger.write()
    ctx.session.flush()


def _charges_too_much(ledger: Ledger, balance: Balance, purchase: Purchase) -> bool:
    """Whether it charged for spent credits, and has others that came free or expired since."""
    details = [entry.details or {} for entry in _take_backs(ledger, purchase)]
    charged = sum([cast("int", x["debt"]) + cast("int", x["written_off"]) for x in details])
    if not charged:
        return False
    lot_ids = _lot_ids(ledger.ctx.session, purchase)
    ledger.open_lots(balance, lot_ids)
    is_free = any(lot.free for lot in balance.lots if lot.id in lot_ids)
    return is_free or _expired(ledger, purchase, lot_ids, charged) > 0


def _uuids(bought: Iterable[Purchase]) -> list[str]:
    """The keys of these purchases' clawbacks that are not undone, and of the next one."""
    return [
        idempotency.as_uuid(_key(purchase, number))
        for purchase in bought
        for number in range(purchase.undone + 1, purchase.take_backs + 2)
    ]


def _key(purchase: Purchase, number: int) -> str:
    """The key of the n-th clawback of a purchase."""
    return idempotency.own("take-back", purchase.key, number)


def _write_money(purchase: Purchase, state: PaymentState) -> None:
    moved = state.moved.get(purchase.id)
    if moved is not None:
        purchase.returned_minor = moved.returned_minor
        purchase.moved_minor, purchase.parked_minor = moved.moved_minor, moved.parked_minor
    elif purchase.price_minor is not None:
        purchase.returned_minor = state.share(purchase.price_minor, state.returned)


def _claw_back_to(ledger: Ledger, balance: Balance, purchase: Purchase, target: Target) -> None:
    """Claw back exactly the credits of the target, future lots first."""
    purchase.reduced = target.reduced
    if target.taken_back < purchase.taken_back or target.cash < purchase.cancelled:
        _undo(ledger, purchase)
    more = target.taken_back - purchase.taken_back
    if more <= 0:
        return
    room = max(purchases.still_to_come(purchase), 0)
    cancelled = min(more, target.cash - purchase.cancelled, room)
    purchase.taken_back = target.taken_back
    purchase.cancelled += cancelled
    if more > cancelled:
        _take(ledger, balance, purchase, more - cancelled)


def _take(ledger: Ledger, balance: Balance, purchase: Purchase, credits: int) -> None:
    lot_ids = _lot_ids(ledger.ctx.session, purchase)
    ledger.open_lots(balance, lot_ids)
    unspent = sum([lot.free for lot in balance.lots if lot.id in lot_ids])
    expired = _expired(ledger, purchase, lot_ids, credits - unspent) if credits > unspent else 0
    terms = ledger.terms.get(balance.account.plan_id)
    used, owed = balance.claw_back(
        lot_ids, credits - expired, debt_limit=terms.take_back_debt_limit if terms else None
    )
    taken = -sum([part for _, part in used])
    written_off = credits - expired - taken - owed
    details = {"unspent": taken, "debt": owed, "written_off": written_off}
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
        details=details | ({"expired": expired} if expired else {}),
    )
    if expired < credits:
        outbox.leave(
            ledger.ctx,
            "credits.taken_back",
            account_id=balance.account.id,
            payload={"payment": purchase.origin, **details},
        )


def _expired(ledger: Ledger, purchase: Purchase, lot_ids: Sequence[int], most: int) -> int:
    """Up to `most` credits that expired unspent, and that no clawback has counted yet.

    Nobody owes them: later lots, which other money paid for, must not pay for them.
    """
    session, account_id = ledger.ctx.session, purchase.account_id
    expired = entry_rows.expired_of(session, account_id, lot_ids)
    counted = [(entry.details or {}).get("expired", 0) for entry in _take_backs(ledger, purchase)]
    return min(most, expired - sum([cast("int", credits) for credits in counted]))


def _take_backs(ledger: Ledger, purchase: Purchase) -> list[entry_rows.Entry]:
    """The entries of the purchase's clawbacks that were not undone, newest first."""
    numbers = range(purchase.undone + 1, purchase.take_backs + 1)
    keys = [ledger.known_keys[idempotency.as_uuid(_key(purchase, number))] for number in numbers]
    ids = [key.entry_id for key in keys if key.entry_id]
    entries = entry_rows.entries_by_id(ledger.ctx.session, ids) if ids else {}
    return sorted(entries.values(), key=lambda entry: -entry.id)


def _undo(ledger: Ledger, purchase: Purchase) -> None:
    """Return all clawed back credits to their lots: the money has come back after all."""
    for entry in _take_backs(ledger, purchase):
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
