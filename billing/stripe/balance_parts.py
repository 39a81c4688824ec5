"""The purchases from which a change of plan gives money back, and the credits that go with it."""

import datetime as dt
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import NamedTuple

from billing.purchases import purchases
from billing.purchases.money import Return
from billing.renewal import periods
from models.purchases import Purchase

#: A lot of which so much goes back goes back whole: what remains is the time between two clicks.
WHOLE = Fraction(99, 100)


@dataclass(slots=True)
class Part:
    """The part of one purchase in a change: credits of each of its lots, and money.

    Attributes:
        credits: 0 for a pack, whose credits follow the money.
        price: The price of the purchase.
        bought_again: Those of its credits that the plan was raised by again within the lot's month.
    """

    purchase: Purchase
    credits: int
    money: int
    price: int
    bought_again: int = 0


class Running(NamedTuple):
    """A purchase of a plan that runs, with the credits and the price that changes have left of it.

    Attributes:
        kept: The price of its whole period, less that of what changes took off.
    """

    purchase: Purchase
    credits: int
    price: int
    kept: Fraction


def of_plan(credits: int, money: int, at: dt.datetime, running: Iterable[Running]) -> list[Part]:
    """Divide credits a month, and money, over running purchases, the newest first.

    Money beyond what their unused time cost is of no purchase that is known here, or a gift: of a
    rise, for example, that nobody had billed.
    """
    chosen: list[tuple[Running, int]] = []
    rest = credits
    for item in sorted(running, key=lambda item: _age(item.purchase), reverse=True):
        taken = max(min(rest, item.credits), 0)
        rest -= taken
        if taken:
            chosen.append((item, taken))
    weights = [
        unused(item.purchase, at) * item.price * taken / item.purchase.credits
        for item, taken in chosen
    ]
    parts = []
    for part, (item, taken) in zip(divide(money, weights), chosen, strict=True):
        most = math.ceil(unused(item.purchase, at) * item.kept)
        parts.append(Part(item.purchase, taken, min(part, most), item.price))
    return parts


def of_pack(money: int, bought: Iterable[tuple[Purchase, int]]) -> list[Part]:
    """Divide money over the (purchase, price) of a pack, the newest first."""
    parts = []
    for purchase, price in sorted(bought, key=lambda pair: _age(pair[0]), reverse=True):
        part = min(money, price)
        money -= part
        if part:
            parts.append(Part(purchase, 0, part, price))
    return parts


def divide(money: int, weights: Sequence[Fraction]) -> list[int]:
    """Divide money by weights into whole units; the last takes the rest."""
    parts: list[int] = []
    for place, weight in enumerate(weights):
        rest, total = money - sum(parts), sum(weights[place:], Fraction())
        is_last = place == len(weights) - 1
        parts.append(rest if is_last else int(rest * weight / total) if total else 0)
    return parts


def buy_again(parts: Iterable[Part], credits: int, *, at: dt.datetime, later: dt.datetime) -> int:
    """Replace credits of these parts by those of a later change; return how many are left over.

    A difference is given in full, however late in the month. So a month's second difference takes
    the place of the first, whatever both cost.
    """
    for part in parts:
        begins_at, ends_at, _ = _lot(part.purchase, at)
        if begins_at <= later < ends_at:
            again = min(credits, part.credits - part.bought_again)
            part.bought_again += again
            credits -= again
    return credits


def returned(part: Part, at: dt.datetime, used: Fraction) -> Return:
    """The credits that go back: of each later lot at once, of the running one as money is used."""
    rest = part.credits - part.bought_again
    fraction = _running(part, at, used)
    running = rest if fraction >= WHOLE else math.ceil(rest * fraction)
    return Return(at, part.credits, part.bought_again + running)


def _running(part: Part, at: dt.datetime, used: Fraction) -> Fraction:
    """The fraction of the lot that ran at the change that goes back, by the money used of it."""
    begins_at, ends_at, later = _lot(part.purchase, at)
    lot_price = Fraction(part.price, part.purchase.lots)
    to_come = Fraction((ends_at - at) / (ends_at - begins_at))
    if part.credits == part.purchase.credits and part.price:
        # The whole purchase: its money tells its unused time better than the clock.
        money = min(max(part.money - later * lot_price, Fraction()), lot_price)
        to_come = money / lot_price
    else:
        money = part.money * to_come / (to_come + later) if to_come else Fraction()
    return to_come * min(used / money, Fraction(1)) if money else Fraction()


def _lot(purchase: Purchase, at: dt.datetime) -> tuple[dt.datetime, dt.datetime, int]:
    """The bounds of the lot that runs at a time, and the number of the lots after it."""
    number = 1
    while number < purchase.lots and periods.boundary(purchase.starts_at, number) <= at:
        number += 1
    ends_at = purchases.ends_at(purchase, number)
    assert ends_at is not None, "a plan's purchase has an end"
    return periods.boundary(purchase.starts_at, number - 1), ends_at, purchase.lots - number


def unused(purchase: Purchase, at: dt.datetime) -> Fraction:
    """The part of its period that is to come."""
    assert purchase.ends_at is not None, "a plan's purchase has an end"
    whole = purchase.ends_at - purchase.starts_at
    return Fraction((purchase.ends_at - at) / whole)


def _age(purchase: Purchase) -> tuple[dt.datetime, str]:
    return purchase.starts_at, purchase.key
