"""Falls that no invoice shows, and billed rises that undo them.

A change with `proration_behavior=none` gives no money back, so what the period's money bought
stays. Of a later rise, what it undoes of such a fall counts only for the time that was paid again.
Else a silent fall and a billed rise on the last day of a period would give the difference for
cents, as often as they are repeated. docs.stripe.com/billing/subscriptions/prorations
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import NamedTuple

from billing.purchases import purchases
from billing.stripe import fields, plan_changes
from billing.stripe.plan_changes import OurLine, PlanChange, Step
from billing.stripe.pots import Bill
from models.purchases import Purchase


class Item(NamedTuple):
    """A plan, by its id, or a pack, by its price, with its credits a month or in all."""

    name: int | str | None
    credits: int


@dataclass(slots=True)
class Standing:
    """The plans, or the one pack, that a subscription has by the bills of its period.

    Attributes:
        since: The start of the period, in seconds.
        spare: Credits that were bought, and that a silent fall left beside the items.
        has_fallen: Whether a silent fall left some; a later rise may have bought them again.
    """

    since: int | None = None
    items: list[Item] = field(default_factory=list)
    spare: int = 0
    has_fallen: bool = False

    def step(self, old: Sequence[Item], new: Sequence[Item]) -> None:
        """Follow a billed change; what it names as old, and no bill sold, came by a silent one."""
        unknown = []
        for item in old:
            if item in self.items:
                self.items.remove(item)
            else:
                unknown.append(item)
        for item in unknown:
            if self.items:
                replaced = max(self.items, key=lambda item: item.credits)
                self.items.remove(replaced)
                left = max(replaced.credits - item.credits, 0)
                self.spare += left
                self.has_fallen |= left > 0
        self.items += new


@dataclass(slots=True)
class Standings:
    """The standings of all subscriptions of a customer, by subscription and product."""

    _known: dict[tuple[str | None, str | None], Standing] = field(default_factory=dict)

    def follow(self, bill: Bill, product: str | None, bills: Iterable[Bill]) -> None:
        """Follow a change of the bill: of plans, or of the pack of a price."""
        change = bill.changes[product]
        base = _base(bill, product, bills, at=change.steps[0].at)
        since = max([_second(purchase) for purchase in base], default=None)
        key = bill.invoice.subscription, product
        if key not in self._known or self._known[key].since != since:
            items = [
                Item(product if purchase.plan_id is None else purchase.plan_id, purchase.credits)
                for purchase in base
                if _second(purchase) == since
            ]
            self._known[key] = Standing(since, items)
        # Without the period's own purchase nothing is known that a fall could have left.
        for step in change.steps if base else ():
            self._known[key].step(*_items(step, product))

    def has_fallen(self, bill: Bill) -> bool:
        """Whether a silent fall came before the bill's change, in the same period."""
        standing = self._known.get((bill.invoice.subscription, None))
        return standing is not None and standing.has_fallen

    def buy_again(self, bill: Bill, product: str | None, credits: int) -> None:
        """Note in the bill what so many credits of its rise, or fewer, undo of silent falls."""
        standing = self._known[bill.invoice.subscription, product]
        again = min(standing.spare, credits)
        if again > 0:
            standing.spare -= again
            paid = _paid_again(bill.changes[product], standing.since, is_pack=product is not None)
            bill.had[product] = again - int(again * paid)


def _base(bill: Bill, product: str | None, bills: Iterable[Bill], *, at: int) -> list[Purchase]:
    """The purchases of the product by whole periods of the bill's subscription, until then."""
    return [
        purchase
        for other in bills
        if other is not bill and other.invoice.subscription == bill.invoice.subscription
        for purchase in other.bought
        if is_of(purchase, product) and ":proration" not in purchase.key and _second(purchase) <= at
    ]


def is_of(purchase: Purchase, product: str | None) -> bool:
    """Whether it is a purchase of the pack of this price, or of a plan."""
    if product is None:
        return purchase.plan_id is not None
    return purchase.plan_id is None and purchase.key.endswith(f":{product}")


def _paid_again(change: PlanChange, since: int | None, *, is_pack: bool) -> Fraction:
    """The fraction of the rise's months, or of a pack's period, that it paid for."""
    assert since is not None, "only a period that was bought leaves credits beside its items"
    whole = change.end - since
    start, end = [fields.moment(second) for second in (since, change.end)]
    months = purchases.months_of(start, end)
    lots = months if is_pack else purchases.months_of(fields.moment(change.at), end)
    return min(Fraction((change.end - change.at) * months, max(whole * lots, 1)), Fraction(1))


def _items(step: Step, product: str | None) -> tuple[list[Item], list[Item]]:
    return [_item(line, product) for line in step.old], [_item(line, product) for line in step.new]


def _item(line: OurLine, product: str | None) -> Item:
    plan = line[1].plan
    return Item(plan.id if plan else product, plan_changes.credits_of(*line))


def _second(purchase: Purchase) -> int:
    return int(purchase.starts_at.timestamp())
