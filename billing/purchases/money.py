"""The money of payments and purchases, and the credits that go back with it; pure functions.

A purchase loses credits in two ways. Cash that goes back takes its share: lots to come first. A
change of plan takes credits off each monthly lot to come at once, and off the lot that ran then
only as far as the money has left the customer's balance (decision 0020).
"""

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass, field

from billing.renewal import periods
from models.purchases import Purchase


@dataclass(frozen=True, slots=True)
class Return:
    """The credits that a change of plan at `at` took off a purchase.

    `credits`: off each monthly lot that begins later. `running`: off the lot that ran then.
    """

    at: dt.datetime
    credits: int
    running: int


@dataclass(frozen=True, slots=True)
class PurchaseMoney:
    """The money of one purchase, where some of it moved through the customer's balance.

    `kept`: what neither moved nor is parked; `lost`: the part of it that went back. `gone`: what
    went back, and, after a fall that no invoice shows, what moved to anything else.
    """

    returned_minor: int
    moved_minor: int
    parked_minor: int
    kept: int
    lost: int
    returns: tuple[Return, ...]
    gone: int


@dataclass(frozen=True, slots=True)
class PaymentState:
    """The money of a payment: paid, gone back for good, and disputed.

    In minor units of one currency. `disputes`: the amounts of open disputes, by their ids.
    `moved`: the money of its purchases, by their ids, if some of it moved through a balance.
    """

    paid: int
    returned: int
    disputes: dict[str, int]
    moved: Mapping[int, PurchaseMoney] = field(default_factory=dict)

    def share(self, total: int, amount: int) -> int:
        """The part of `total` credits that `amount` of the money bought, rounded down."""
        return share(total, amount, of=self.paid)


@dataclass(frozen=True, slots=True)
class Target:
    """The credits of a purchase that must be gone.

    `reduced`: off each lot to come. `cash`: taken for money that went back, from lots to come
    first. `given`: taken off given lots by changes of plan.
    """

    reduced: int
    cash: int
    given: int

    @property
    def taken_back(self) -> int:
        """The credits to claw back in all; lots that are given smaller are not among them."""
        return self.cash + self.given


def share(total: int, amount: int, *, of: int) -> int:
    """The part of `total` that `amount` of the money `of` bought, rounded down."""
    if amount >= of:
        return total if amount > 0 else 0
    return total * amount // of


def target_of(purchase: Purchase, state: PaymentState) -> Target:
    """The credits of the purchase that must be gone in this state of its payment."""
    total = purchase.credits * purchase.lots
    money = state.moved.get(purchase.id)
    if money is None:
        return Target(reduced=0, cash=state.share(total, state.returned), given=0)
    off = [_off(purchase, money, number) for number in range(1, purchase.lots + 1)]
    running = min(sum([item.running for item in money.returns]), total - sum(off))
    # Lots that were given before the change was known have credits too many.
    late = max(sum(off[: purchase.given]) - purchase.withheld, 0)
    changed = sum(off) + running
    # Where a change left a cheaper plan's credits, a refund takes at least its share of the whole.
    # After a fall that no invoice shows, so does each change that gives money back.
    price = purchase.price_minor
    least = share(total, money.gone, of=price) - changed if price else 0
    return Target(
        reduced=min(sum([item.credits for item in money.returns]), purchase.credits),
        cash=max(share(total - changed, money.lost, of=money.kept), least),
        given=late + running,
    )


def _off(purchase: Purchase, money: PurchaseMoney, number: int) -> int:
    """The credits that changes of plan took off the n-th lot, before it began."""
    if purchase.plan_id is None:
        return 0
    begins_at = periods.boundary(purchase.starts_at, number - 1)
    off = sum([item.credits for item in money.returns if item.at < begins_at])
    return min(off, purchase.credits)
