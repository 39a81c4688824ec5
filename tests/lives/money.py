"""The money of one customer at Stripe, and the most credits that it may have bought.

The model knows price lists, amounts and days. It shares no code with `billing`. Amounts are in
cents, times in seconds. A piece of money that Stripe gives back lies in the customer's balance and
is held until a later invoice uses it, the oldest first.
"""

import math
from dataclasses import dataclass, field
from fractions import Fraction
from typing import NamedTuple

from tests.lives.months import months_later

#: Plan -> (price of a month in cents, credits a month). A year costs ten months.
PLANS = {
    "free": (0, 100),
    "starter": (8900, 1000),
    "growth": (13_900, 2000),
    "scale": (22_900, 4000),
}
PACK = (2500, 500)


@dataclass(eq=False)
class Piece:
    """A purchase by one line of a paid invoice: `credits` a month for `months`, or once."""

    invoice: "Payment"
    term: "Term | None"
    credits: int
    price: int
    starts: int
    months: int = 1
    parked: int = 0
    moves: list = field(default_factory=list)  # (payment that it paid, cents)

    @property
    def moved(self):
        return sum(cents for _, cents in self.moves)

    def moved_away(self):
        """The money that pays for something else than this term, whose best plan bounds it."""
        return sum(
            cents
            for payment, cents in self.moves
            if all(piece.term is not self.term for piece in payment.pieces)
        )

    def unused(self, now):
        """The part of the price that is for the time to come."""
        whole = max(self.term.ends - self.starts, 1)
        return self.price * min(max(self.term.ends - now, 0), whole) // whole

    def lots(self, now):
        """The number of its months that have begun."""
        return sum(months_later(self.starts, n) <= now for n in range(self.months))

    def most(self, now, held):
        """The most credits by now, if so much of its money is still held."""
        begun = self.credits * self.lots(now)
        if self.price <= 0:
            return begun
        whole = Fraction(self.credits * self.months * held) / self.price
        # Rounding: a credit a lot, and a month that has hardly begun is taken as not begun. Of a
        # year, February's credits are those of a month, and its money is that of 28 days.
        share = 100 if self.months == 1 else 10
        return min(begun, math.ceil(whole) + self.months + self.credits // share)


@dataclass(eq=False)
class Term:
    """A period of a subscription; its months are worth its best plan, however often it changed.

    `silent`: credits a month that a fall left, which no invoice shows; `again`: those of them that
    a later rise paid for once more.
    """

    starts: int
    months: int
    best: int = 0
    silent: int = 0
    again: int = 0
    is_changed: bool = False
    pieces: list[Piece] = field(default_factory=list)

    @property
    def ends(self):
        return months_later(self.starts, self.months)

    def begun(self, now):
        """The number of its months that have begun, a day early: months of the 31st end together."""
        return sum(months_later(self.starts, n) <= now + 86_400 for n in range(self.months))


class Sold(NamedTuple):
    """The sale of a line. `best`: the credits of all plans of the term, once it is paid."""

    term: Term | None
    credits: int
    price: int
    starts: int
    months: int = 1
    best: int = 0


@dataclass(eq=False)
class Payment:
    """An invoice or another payment: its cash, gifts, and what went back of it for good."""

    id: str
    cash: int
    at: int
    returned: int = 0
    disputed: bool = False
    lost: int = 0
    gift: int = 0
    pieces: list[Piece] = field(default_factory=list)

    def share(self, piece):
        """The part of the returned money that was this piece's."""
        whole = sum(each.price for each in self.pieces)
        return Fraction(piece.price * min(self.returned + self.lost, whole), whole or 1)


@dataclass
class Money:
    """All payments of a customer, in the order in which they were made."""

    payments: list[Payment] = field(default_factory=list)
    bridges: dict = field(default_factory=dict)  # start of a period -> credits ahead of its payment
    _parked: list = field(default_factory=list)  # of each change [(piece, cents)], the oldest first
    _gift: int = 0

    def pay(self, name, cash, from_balance, *, at, bought=(), back=()):
        """An invoice is paid. `back`: (term, cents, second) that its negative lines give back."""
        payment = Payment(name, cash, at)
        self._use(payment, self._after_gift(payment, from_balance), self._parked)
        given = [parts for change in back if (parts := self._give_back(*change))]
        new = sum(sold.price for sold in bought)
        self._use(payment, self._after_gift(payment, new) if back else 0, given)
        self._parked += given
        for sold in bought:
            piece = Piece(payment, *sold[:5])
            payment.pieces.append(piece)
            if sold.term is not None:
                sold.term.pieces.append(piece)
                # What costs nothing is no matter of money.
                best = sold.best if sold.price else sold.term.best + sold.credits
                sold.term.best = max(sold.term.best, best)
        self.payments.append(payment)
        return payment

    def gives(self, cents):
        """Money that no purchase stands behind goes to the balance; it is used first."""
        self._gift += cents

    def _after_gift(self, payment, cents):
        used = min(cents, self._gift)
        self._gift -= used
        payment.gift += used
        return cents - used

    def _use(self, payment, cents, parked):
        """Pay with parked money, the oldest first; of one change, with a share of each piece's."""
        while cents > 0 and parked:
            parts = parked.pop(0)
            whole = sum(part for _, part in parts)
            rest, left = min(cents, whole), []
            cents -= rest
            for piece, part in parts:
                used = min(-(-part * rest // whole), part, rest)
                whole, rest = whole - part, rest - used
                piece.parked -= used
                piece.moves.append((payment, used))
                payment.gift += used if piece.invoice.gift else 0
                left += [(piece, part - used)] if part > used else []
            if left:
                parked.insert(0, left)

    def _give_back(self, term, cents, now):
        """Give back the unused value of a term's pieces, the newest first."""
        parts = []
        for piece in reversed(term.pieces):
            kept = piece.price - piece.invoice.share(piece)
            part = min(cents, int(min(piece.unused(now), kept)) - piece.moved - piece.parked)
            if part > 0:
                piece.parked += part
                cents -= part
                parts.append((piece, part))
        self.gives(cents)
        return parts

    def held(self):
        """The money of each piece that is still held, by piece."""
        for payment in self.payments:
            payment.lost = 0
        held = {}
        for payment in self.payments:
            for piece in payment.pieces:
                returned = payment.share(piece)
                held[piece] = max(piece.price - piece.moved_away() - returned, 0)
                over = returned - piece.parked - max(piece.price - piece.moved - piece.parked, 0)
                for later, cents in reversed(piece.moves):
                    part = max(min(over, cents), 0)
                    later.lost += part
                    over -= part
        return held

    def most(self, now):
        """The most credits that the held money may have bought by now."""
        held = self.held()
        by_term, total = {}, 0
        for piece, cents in held.items():
            most = piece.most(now, cents)
            if piece.term is None:
                total += most
            else:
                by_term[piece.term] = by_term.get(piece.term, 0) + most
        for term, most in by_term.items():
            total += min(most, (term.best + term.again) * term.begun(now))
        return total + sum(self.bridges.values())

    def untouched(self):
        """The pieces of payments of which nothing went back or was changed.

        What a gift paid for may go, if its money went back in another way, too.
        """
        return [
            piece
            for payment in self.payments
            for piece in payment.pieces
            if not (payment.returned or payment.disputed or payment.lost or payment.gift)
            and not piece.moves
            and not piece.parked
            and (piece.term is None or not piece.term.is_changed)
        ]
