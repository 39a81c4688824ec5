"""The money that moves through a customer's balance at Stripe; a pure function of all its invoices.

A change of plan whose prorations are negative gives money of running purchases back. What the same
invoice does not use is parked in the customer's balance; later invoices use it, the oldest first.
A refund takes parked money first, then what a purchase kept, then what its money paid for since.
Stripe's amounts are in its unit of the currency.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction

from billing.purchases import money
from billing.purchases.money import PaymentState, PurchaseMoney
from billing.stripe import balance_parts, fields, plan_changes
from billing.stripe.balance_parts import Part
from billing.stripe.objects.credit_note import CreditNote
from billing.stripe.objects.invoice import Invoice
from billing.stripe.plan_changes import OurLine, PlanChange
from models.purchases import Purchase


@dataclass(slots=True)
class Bill:
    """A paid invoice with what it bought.

    Attributes:
        prices: The price of each of its purchases, by its key.
        state: The cash of its payment.
        gross: What was paid for it in all: cash, balance, and money that its own lines gave back.
        lost: Money in it that came from another purchase, and went back there after all.
    """

    invoice: Invoice
    lines: Sequence[OurLine]
    bought: Sequence[Purchase]
    prices: Mapping[str, int]
    state: PaymentState
    notes: Sequence[CreditNote] = ()
    change: PlanChange | None = field(init=False)
    gross: int = 0
    lost: int = 0

    def __post_init__(self) -> None:
        self.change = plan_changes.of_plans(self.lines)

    @property
    def order(self) -> tuple[int, bool, str]:
        """Its place in time. In one second money arrives in a balance before it is used."""
        invoice = self.invoice
        return invoice.finalized or invoice.created or 0, invoice.from_balance > 0, invoice.id

    def price(self, purchase: Purchase) -> int:
        """The price of one of its purchases; one from before prices has its share of the whole."""
        whole = sum([item.credits * item.lots for item in self.bought])
        return self.prices.get(
            purchase.key,
            self.state.paid * purchase.credits * purchase.lots // whole
            if purchase.price_minor is None
            else purchase.price_minor,
        )


@dataclass(slots=True)
class Pot:
    """Money that went back at once: of which purchases, how much is parked, and the bills it paid.

    Without parts it is money that bought none of our credits, or that lost them before. `since`:
    the time of its arrival, in seconds. A use without a bill: it left the balance in another way.
    """

    parts: list[Part]
    money: int
    parked: int
    since: int
    at: int = 0
    subscription: str | None = None
    uses: list[tuple[Bill | None, int]] = field(default_factory=list)

    def use(self, most: int, bill: Bill | None) -> int:
        """Use up to `most` of what is parked; return how much that was."""
        used = min(self.parked, max(most, 0))
        if used:
            self.parked -= used
            self.uses.append((bill, used))
        return used


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
    notes = [note for bill in bills for note in bill.notes if note.to_balance]
    notes.sort(key=lambda note: (note.created or 0, note.id), reverse=True)
    for bill in bills:
        while notes and (notes[-1].created or 0) <= bill.order[0]:
            pots.append(_of_note(notes.pop()))
        _pay(bill, pots)
        _buy_again(bill, pots)
        pots += _given_back(bill, bills, pots)
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


def _buy_again(bill: Bill, pots: Sequence[Pot]) -> None:
    """Replace credits that a change took off by those of a later one, the newest first."""
    credits = bill.change.credits if bill.change is not None and bill.change.is_paid else 0
    for pot in reversed(pots):
        if bill.change and credits > 0 and pot.subscription == bill.invoice.subscription:
            at, later = fields.moment(pot.at), fields.moment(bill.change.at)
            credits = balance_parts.buy_again(pot.parts, credits, at=at, later=later)


def _given_back(bill: Bill, bills: Sequence[Bill], pots: Sequence[Pot]) -> list[Pot]:
    """The money that the bill's prorations give back: its own lines use it first."""
    new = []
    if bill.change is not None and bill.change.credits < 0:
        new.append(_of_change(bill, bill.change, bills, pots))
    for price, change in plan_changes.of_packs(bill.lines).items():
        if change.net < 0:
            bought = [pair for pair in _before(bill, change, bills) if _is_of(price, pair[0])]
            parts = balance_parts.of_pack(-change.net, bought)
            new.append(_pot(bill, change, parts))
    total = sum([pot.money for pot in new])
    bill.gross = max(bill.invoice.total - bill.invoice.credited + total, 0)
    used = max(total - bill.invoice.to_balance, 0)
    for pot, part in zip(
        new, balance_parts.divide(used, [Fraction(pot.money) for pot in new]), strict=True
    ):
        pot.use(part, bill)
    foreign = bill.invoice.to_balance - sum([pot.parked for pot in new])
    return [*new, Pot([], foreign, foreign, since=bill.order[0])] if foreign > 0 else new


def _pot(bill: Bill, change: PlanChange, parts: list[Part]) -> Pot:
    back = max(-change.net, 0)
    subscription = bill.invoice.subscription
    return Pot(parts, back, back, bill.order[0], at=change.at, subscription=subscription)


def _of_change(bill: Bill, change: PlanChange, bills: Sequence[Bill], pots: Sequence[Pot]) -> Pot:
    at, back = fields.moment(change.at), max(-change.net, 0)
    gone: dict[int, int] = {}
    for part in [part for pot in pots for part in pot.parts]:
        gone[part.purchase.id] = gone.get(part.purchase.id, 0) + part.credits
    running = [
        (purchase, purchase.credits - gone.get(purchase.id, 0), price)
        for purchase, price in _before(bill, change, bills)
        if purchase.plan_id is not None and purchase.ends_at and at < purchase.ends_at
    ]
    return _pot(bill, change, balance_parts.of_plan(-change.credits, back, at, running))


def _before(bill: Bill, change: PlanChange, bills: Sequence[Bill]) -> list[tuple[Purchase, int]]:
    """The earlier purchases of the bill's subscription, with their prices."""
    at = fields.moment(change.at)
    return [
        (purchase, other.price(purchase))
        for other in bills
        if other is not bill and other.invoice.subscription == bill.invoice.subscription
        for purchase in other.bought
        if purchase.starts_at <= at
    ]


def _is_of(price: str | None, purchase: Purchase) -> bool:
    return purchase.plan_id is None and purchase.key.endswith(f":{price}")


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
    return PurchaseMoney(
        returned_minor=returned,
        moved_minor=gone - parked,
        parked_minor=max(parked - returned, 0),
        kept=price if is_pack else kept,
        lost=returned + gone - parked if is_pack else rest,
        returns=tuple(returns),
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
