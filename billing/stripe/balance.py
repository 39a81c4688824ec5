"""The money that moves through a customer's balance at Stripe; a pure function of all its invoices.

A change of plan whose prorations are negative gives money of running purchases back. What the same
invoice does not use is parked in the customer's balance; later invoices use it, the oldest first.
A refund takes parked money first, then what a purchase kept, then what its money paid for since.
Stripe's amounts are in its unit of the currency.
"""

import datetime as dt
from collections.abc import Iterable, Sequence
from dataclasses import replace
from fractions import Fraction

from billing.purchases import money
from billing.purchases.money import PaymentState, PurchaseMoney, Return
from billing.stripe import balance_parts, fields, silent_falls
from billing.stripe.balance_parts import Part, Running
from billing.stripe.objects.credit_note import CreditNote
from billing.stripe.plan_changes import PlanChange
from billing.stripe.pots import Bill, Pot
from billing.stripe.silent_falls import Standings
from models.purchases import Purchase


def settle(bills: Iterable[Bill]) -> dict[str, PaymentState]:
    """The states of these invoices' payments, with the money of each purchase, by invoice."""
    by_balance: dict[tuple[str | None, str], list[Bill]] = {}
    for bill in sorted(bills, key=lambda bill: bill.order):
        by_balance.setdefault((bill.invoice.customer, bill.invoice.currency), []).append(bill)
    states: dict[str, PaymentState] = {}
    for group in by_balance.values():
        pots = _pots(group)
        states |= {bill.invoice.id: _state(bill, pots) for bill in group}
    return states


def _pots(bills: Sequence[Bill]) -> list[Pot]:
    """All the money that went back, with its uses."""
    pots: list[Pot] = []
    standings = Standings()
    notes = [note for bill in bills for note in bill.notes if note.to_balance]
    notes.sort(key=lambda note: (note.created or 0, note.id), reverse=True)
    for bill in bills:
        while notes and (notes[-1].created or 0) <= bill.order[0]:
            pots.append(_of_note(notes.pop()))
        _pay(bill, pots)
        _rise(bill, bills, pots, standings)
        new = _given_back(bill, bills, pots)
        for pot in new:
            pot.has_fallen = standings.has_fallen(bill)
        pots += new
    return pots


def _of_note(note: CreditNote) -> Pot:
    # Its credits went back at once. It stands here for its place in the order of use.
    amount = note.amount - note.out_of_band - note.refunded(())
    return Pot([], amount, amount, since=note.created or 0)


def _pay(bill: Bill, pots: Sequence[Pot]) -> None:
    """Pay the bill from the balance, the oldest money first.

    A balance that is smaller than what is parked was paid out, or used by an unknown invoice.
    """
    invoice, rest = bill.invoice, bill.invoice.from_balance
    if invoice.starting_balance is not None and invoice.ending_balance is not None:
        earlier = [pot for pot in pots if pot.since < bill.order[0]]
        gone = sum([pot.parked for pot in earlier]) + min(invoice.starting_balance, 0)
        for pot in earlier:
            gone -= pot.use(gone, None)
    for pot in pots:
        rest -= pot.use(rest, bill)


def _rise(bill: Bill, bills: Sequence[Bill], pots: Sequence[Pot], standings: Standings) -> None:
    """Take off what the subscription had before: by a change that gave back, or a silent fall."""
    for product, change in bill.changes.items():
        if change.is_paid or change.credits <= 0:
            standings.follow(bill, product, bills)
            rest = change.credits if product else _buy_again(bill, change, pots)
            standings.buy_again(bill, product, rest)


def _buy_again(bill: Bill, change: PlanChange, pots: Sequence[Pot]) -> int:
    """Replace credits that a change took off by those of a later one, the newest first.

    Return how many are left over.
    """
    credits = change.credits
    for pot in reversed(pots):
        if credits > 0 and pot.subscription == bill.invoice.subscription:
            at, later = fields.moment(pot.at), fields.moment(change.at)
            credits = balance_parts.buy_again(pot.parts, credits, at=at, later=later)
    return credits


def _given_back(bill: Bill, bills: Sequence[Bill], pots: Sequence[Pot]) -> list[Pot]:
    """The money that the bill's prorations give back: its own lines use it first."""
    new: list[Pot] = []
    for product, change in bill.changes.items():
        if product is None and change.credits < 0:
            new += _of_plans(bill, change, bills, pots)
        elif product is not None and change.net < 0:
            before = _before(bill, change.at, bills)
            sold = [(item, price) for item, price, _ in before if silent_falls.is_of(item, product)]
            new.append(_pot(bill, change.at, -change.net, balance_parts.of_pack(-change.net, sold)))
    total = sum([pot.money for pot in new])
    bill.gross = max(bill.invoice.total - bill.invoice.credited + total, 0)
    used = max(total - bill.invoice.to_balance, 0)
    for pot, part in zip(
        new, balance_parts.divide(used, [Fraction(pot.money) for pot in new]), strict=True
    ):
        pot.use(part, bill)
    foreign = bill.invoice.to_balance - sum([pot.parked for pot in new])
    return [*new, Pot([], foreign, foreign, since=bill.order[0])] if foreign > 0 else new


def _pot(bill: Bill, at: int, back: int, parts: list[Part]) -> Pot:
    return Pot(parts, back, back, bill.order[0], at=at, subscription=bill.invoice.subscription)


def _of_plans(
    bill: Bill, change: PlanChange, bills: Sequence[Bill], pots: Sequence[Pot]
) -> list[Pot]:
    """The money that each fall of the change gives back: the rest of its period's."""
    new: list[Pot] = []
    weights = [Fraction(fall.credits * max(change.end - fall.at, 0)) for fall in change.falls]
    back = balance_parts.divide(max(-change.net, 0), weights)
    for fall, part in zip(change.falls, back, strict=True):
        running = _running(bill, fall.at, bills, [*pots, *new])
        at = fields.moment(fall.at)
        parts = balance_parts.of_plan(fall.credits, part, at, running)
        new.append(_pot(bill, fall.at, part, parts))
    return new


def _running(bill: Bill, at: int, bills: Sequence[Bill], pots: Iterable[Pot]) -> list[Running]:
    """The purchases of the bill's subscription that run then, with what changes have left of them.

    The lot of a rise that was billed late pays for a past period: it is no part of the plan.
    """
    credits: dict[int, int] = {}
    prices: dict[int, Fraction] = {}
    parts = [(pot, part) for pot in pots for part in pot.parts if part.purchase.plan_id is not None]
    for pot, part in parts:
        id_, unused = part.purchase.id, balance_parts.unused(part.purchase, fields.moment(pot.at))
        credits[id_] = credits.get(id_, 0) + part.credits
        prices[id_] = prices.get(id_, Fraction()) + (part.money / unused if unused else 0)
    running = []
    for purchase, price, other in _before(bill, at, bills):
        is_plan = purchase.plan_id is not None and not other.is_late(purchase)
        if is_plan and purchase.ends_at and fields.moment(at) < purchase.ends_at:
            left = purchase.credits - credits.get(purchase.id, 0) - other.had_before(purchase)
            kept = max(price - prices.get(purchase.id, Fraction()), Fraction())
            running.append(Running(purchase, left, price, kept))
    return running


def _before(bill: Bill, at: int, bills: Sequence[Bill]) -> list[tuple[Purchase, int, Bill]]:
    """The earlier purchases of the bill's subscription, with their prices and bills."""
    return [
        (purchase, other.price(purchase), other)
        for other in bills
        if other is not bill and other.invoice.subscription == bill.invoice.subscription
        for purchase in other.bought
        if purchase.starts_at <= fields.moment(at)
    ]


def _state(bill: Bill, pots: Sequence[Pot]) -> PaymentState:
    moneys = {item.id: _money(bill, item, pots) for item in bill.bought}
    return replace(bill.state, paid=bill.gross, moved=moneys)


def _money(bill: Bill, purchase: Purchase, pots: Sequence[Pot]) -> PurchaseMoney:
    """The money of a purchase; what went back beyond it is lost to the bills that it paid."""
    price = bill.price(purchase)
    own = [(pot, part) for pot in pots for part in pot.parts if part.purchase is purchase]
    gone = sum([part.money for _, part in own])
    uses = [_uses(pot, part) for pot, part in own]
    moved = [sum([used for _, used in item], Fraction()) for item in uses]
    parked = max(gone - round(sum(moved, Fraction())), 0)
    returned = money.share(price, bill.state.returned + bill.lost, of=bill.gross)
    rest, kept = max(returned - parked, 0), max(price - gone, 0)
    _lose([use for item in uses for use in item], rest - kept)
    from_parked, returns = Fraction(min(returned, parked)), []
    for (pot, part), used in zip(own, moved, strict=True):
        # A refund of parked money uses it as a bill does.
        more = min(from_parked, part.money - used)
        from_parked -= more
        if purchase.plan_id is not None:
            returns.append(balance_parts.returned(part, fields.moment(pot.at), used + more))
    is_pack = purchase.plan_id is None  # its credits follow the money
    has_fallen = any(pot.has_fallen for pot, _ in own)
    if had := bill.had_before(purchase):
        # Off each lot of a plan; a pack has only the one that was given.
        before = purchase.starts_at - dt.timedelta(seconds=1)
        returns.append(Return(before, 0, had) if is_pack else Return(before, had, 0))
    return PurchaseMoney(
        returned_minor=returned,
        moved_minor=gone - parked,
        parked_minor=max(parked - returned, 0),
        kept=price if is_pack else kept,
        lost=returned + gone - parked if is_pack else rest,
        returns=tuple(returns),
        gone=returned + (_moved_away(own, moved) if has_fallen else 0),
    )


def _moved_away(own: Sequence[tuple[Pot, Part]], moved: Sequence[Fraction]) -> int:
    """The money that left the purchase's plan; what bought credits of it again did not."""
    return int(
        sum(
            [
                used * (part.credits - part.bought_again) / part.credits
                for (_, part), used in zip(own, moved, strict=True)
                if part.credits
            ],
            Fraction(),
        )
    )


def _uses(pot: Pot, part: Part) -> list[tuple[Bill | None, Fraction]]:
    """The bills that the part's money paid, with the amounts."""
    return [(bill, Fraction(paid * part.money, pot.money)) for bill, paid in pot.uses]


def _lose(uses: Sequence[tuple[Bill | None, Fraction]], amount: int) -> None:
    """Take money off the bills that were paid with it, the newest first."""
    for bill, used in reversed(uses):
        if bill is not None:
            lost = max(min(amount, round(used)), 0)
            bill.lost += lost
            amount -= lost
