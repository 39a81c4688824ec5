"""Taking credits back when the money goes back: never more than the purchase gave.

refund          what is unspent of the purchase's own lots goes, lots still to come first; what was
                spent becomes debt, as far as the plan's policy lets it, and is repaid by later lots
open dispute    what is unspent is frozen: set aside by a hold that no capture can touch
won, lost       free again; taken as a refund's

Each act is told where things should stand, and makes them so: twice, or late, changes nothing more.
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

#: A frozen lot waits for the bank's decision, however long; holds need an end.
NEVER = dt.datetime(9999, 1, 1, tzinfo=dt.UTC)


@dataclass(frozen=True, slots=True)
class PaymentState:
    """Where a payment stands: of `paid`, how much went back for good, and how much is disputed.

    In minor units of one currency. `disputes`: the open ones' amounts, by their ids.
    """

    paid: int
    returned: int
    disputes: dict[str, int]

    def share(self, total: int, amount: int) -> int:
        """The part of `total` credits that `amount` of the money stands for, rounded down."""
        if self.paid <= 0 or amount >= self.paid:
            return total if amount > 0 else 0
        return total * amount // self.paid


def settle(ctx: Context, bought: Sequence[Purchase], state: PaymentState) -> None:
    """Make what these purchases of one payment gave agree with where the payment stands.

    Their account is locked already. Raises BalanceTooLarge where credits can't be given back.
    """
    settle_all(ctx, [(bought, state)])


def settle_all(ctx: Context, payments: Iterable[tuple[Sequence[Purchase], PaymentState]]) -> None:
    """As `settle`, for many payments, one after the other."""
    with_purchases = [(bought, state) for bought, state in payments if bought]
    if not with_purchases:
        return
    holds = _frozen(ctx.session, [each for bought, _ in with_purchases for each in bought])
    for bought, state in with_purchases:
        operations = {_operation(each) for each in bought}
        frozen = [hold for hold in holds if hold.operation in operations]
        if _is_needed(bought, state, frozen):
            _settle(ctx, bought, state, frozen)


def _settle(
    ctx: Context, bought: Sequence[Purchase], state: PaymentState, frozen: Sequence[Hold]
) -> None:
    account_id = bought[0].account_id
    asked = [
        idempotency.as_uuid(_key(each, number))
        for each in bought
        for number in range(each.undone + 1, each.take_backs + 2)
    ]
    ledger = open_accounts(ctx, [account_id], keys_asked=asked)
    balance = ledger.of(account_id)
    # What is frozen is unspent, too: a refund takes it, and the disputes freeze what is left.
    for hold in frozen:
        _thaw(ledger, balance, hold)
    for purchase in bought:
        total = purchase.credits * purchase.lots
        _take_to(ledger, balance, purchase, state.share(total, state.returned))
        _freeze(ledger, balance, purchase, state)
        purchase.next_due_at = None if state.disputes else purchases.due_at(purchase)
    ledger.write()
    ctx.session.flush()
    purchases.give_due(ctx, bought)


def _is_needed(bought: Sequence[Purchase], state: PaymentState, frozen: Sequence[Hold]) -> bool:
    """Whether anything is to be done: the usual payment is neither refunded nor disputed."""
    is_touched = any(each.taken_back for each in bought) or bool(frozen)
    # A dispute that found nothing to freeze has stopped the lots to come all the same.
    is_stopped = any(each.next_due_at is None and purchases.due_at(each) for each in bought)
    return is_touched or is_stopped or state.returned > 0 or bool(state.disputes)


def _key(purchase: Purchase, number: int) -> str:
    """The key of the n-th entry that took something of a purchase back."""
    return idempotency.own("take-back", purchase.key, number)


def _take_to(ledger: Ledger, balance: Balance, purchase: Purchase, target: int) -> None:
    """Have exactly `target` credits of the purchase taken back, lots still to come first."""
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
    """Give back all that was taken, to where it came from: the money has come back after all."""
    numbers = range(purchase.undone + 1, purchase.take_backs + 1)
    known = [ledger.known_keys[idempotency.as_uuid(_key(purchase, number))] for number in numbers]
    found = entry_rows.entries_by_id(
        ledger.ctx.session, [each.entry_id for each in known if each.entry_id]
    )
    for entry in sorted(found.values(), key=lambda each: -each.id):
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
    """The lots that the purchase gave."""
    numbers = range(1, purchase.given + 1)
    wanted = [purchases.lot_key(purchase, number) for number in numbers]
    rows = select(Lot.id).where(Lot.account_id == purchase.account_id, Lot.key.in_(wanted))
    return list(session.scalars(rows))


def _operation(purchase: Purchase) -> str:
    return f"{DISPUTE}:{purchase.id}"


def _hold_key(dispute: str, purchase: Purchase) -> str:
    return idempotency.own("dispute", dispute, purchase.key)


def _frozen(session: Session, bought: Iterable[Purchase]) -> list[Hold]:
    """The holds that freeze what is left of these purchases."""
    rows = select(Hold).where(
        Hold.account_id.in_({each.account_id for each in bought}),
        Hold.state == "held",
        Hold.operation.in_([_operation(each) for each in bought]),
    )
    return list(session.scalars(rows))


def _thaw(ledger: Ledger, balance: Balance, hold: Hold) -> None:
    """Give free what a dispute froze."""
    parts = cast("list[list[int]]", hold.lots)
    ledger.open_lots(balance, [lot_id for lot_id, _ in parts])
    balance.end_hold(parts, spend=0)
    hold.state, hold.finished_at = "released", ledger.ctx.now


def _freeze(ledger: Ledger, balance: Balance, purchase: Purchase, state: PaymentState) -> None:
    """Set aside what is unspent of what is disputed, by a hold for each dispute that is open."""
    total = purchase.credits * purchase.lots
    for dispute, amount in sorted(state.disputes.items()):
        lot_ids = _lot_ids(ledger.ctx.session, purchase)
        ledger.open_lots(balance, lot_ids)
        parts = balance.reserve(lot_ids, state.share(total, amount))
        if parts:
            _write_hold(ledger, purchase, _hold_key(dispute, purchase), parts)


def _write_hold(ledger: Ledger, purchase: Purchase, key: str, parts: list[list[int]]) -> None:
    """Write the hold, which may have frozen other credits before."""
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
