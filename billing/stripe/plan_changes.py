"""Changes of plan in an invoice's proration lines: each old line is paired with its new one.

The sign of a line's amount tells old from new. A line of 0 has none, as in a trial, of a free plan,
or when cents round away: then Stripe's `proration_details` tell, else its pair, else the order, in
which Stripe lists the old line first. The description is never parsed.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from billing.stripe import fields
from billing.stripe.catalog import Meaning
from billing.stripe.objects.invoice import Line

#: A line with the meaning of its price.
OurLine = tuple[Line, Meaning]


class Step(NamedTuple):
    """The lines of one moment, `at` in seconds: of the old state, and of the new one."""

    at: int
    old: Sequence[OurLine]
    new: Sequence[OurLine]

    @property
    def credits(self) -> int:
        """The credits by which the new state exceeds the old."""
        return sum([credits_of(*pair) for pair in self.new]) - sum(
            [credits_of(*pair) for pair in self.old]
        )


class Fall(NamedTuple):
    """The credits a month, or of a pack, that a change took off at a time, in seconds."""

    at: int
    credits: int


@dataclass(frozen=True, slots=True)
class PlanChange:
    """The sum of an invoice's prorations of plans, or of one pack.

    Attributes:
        credits: The credits a month, or of the pack, by which the new state exceeds the old.
        net: The money of it after discounts; below 0 it goes back.
        at: The time of its newest step, in seconds.
        end: The end of the period that it changes, in seconds.
        newest: The line of the newest new state, if there is one.
        is_paid: Whether the new state costs something, or is free by its price.
        steps: Its steps, oldest first.
    """

    credits: int
    net: int
    at: int
    end: int
    newest: OurLine | None
    is_paid: bool
    steps: Sequence[Step]

    @property
    def falls(self) -> list[Fall]:
        """The falls that no rise of the same invoice undoes; a rise undoes the newest first."""
        falls: list[Fall] = []
        risen = 0
        for step in self.steps:
            risen += step.credits
            while falls and risen > 0:
                last = falls.pop()
                risen -= last.credits
                if risen < 0:
                    falls.append(Fall(last.at, -risen))
                    risen = 0
            if risen < 0:
                falls.append(Fall(step.at, -risen))
                risen = 0
        return falls


def of_products(lines: Sequence[OurLine]) -> dict[str | None, PlanChange]:
    """The change of plans in these lines of an invoice, by None, and those of packs, by price.

    Metered lines are left out: their quantity is usage.
    """
    products: dict[str | None, list[OurLine]] = {}
    for line, meaning in lines:
        if line.is_proration and not line.price.is_metered:
            product = None if meaning.plan else line.price.id or "-"
            products.setdefault(product, []).append((line, meaning))
    return {product: _change(changed) for product, changed in products.items()}


def key_of(invoice: str, pack: str | None = None) -> str:
    """The key of the purchase by an invoice's change of plans, or of a pack of this price."""
    return f"stripe:{invoice}:proration" + (f":{pack}" if pack else "")


def _change(lines: Sequence[OurLine]) -> PlanChange:
    steps = list(_steps(lines))
    new = [pair for step in steps for pair in step.new]
    return PlanChange(
        credits=sum([step.credits for step in steps]),
        net=sum([line.amount - line.discount for line, _ in lines]),
        at=steps[-1].at,
        end=max([line.end or fields.FIRST_SECOND for line, _ in lines]),
        newest=max(new, key=lambda pair: (pair[0].start or 0, pair[0].id), default=None),
        is_paid=any(line.amount > 0 for line, _ in new)
        or (bool(new) and all(line.is_free_price for line, _ in new)),
        steps=steps,
    )


def _steps(lines: Sequence[OurLine]) -> Iterator[Step]:
    signed = list(zip(lines, _signs([line for line, _ in lines]), strict=True))
    for start in sorted({_start(pair) for pair in lines}):
        now = [(pair, sign) for pair, sign in signed if _start(pair) == start]
        old, new = [[pair for pair, its in now if its == sign] for sign in (-1, 1)]
        yield Step(start, old, new)


def _start(pair: OurLine) -> int:
    return pair[0].start or fields.FIRST_SECOND


def credits_of(line: Line, meaning: Meaning) -> int:
    """The credits of a line: a month of its plan, or of its pack."""
    credits = meaning.plan.included_credits if meaning.plan else meaning.credits or 0
    return credits * line.quantity


def _signs(lines: Sequence[Line]) -> list[int]:
    """1 for each line of a new state, -1 for each of an old one."""
    signs = [_own_sign(line) for line in lines]
    for start in {line.start for line in lines}:
        places = [place for place, line in enumerate(lines) if line.start == start]
        old = sum([signs[place] < 0 for place in places])
        for place in places:
            if signs[place] == 0:
                # A line without a partner is new only if Stripe says that it credits nothing.
                is_single = len(places) == 1 and lines[place].is_credit is None
                signs[place] = -1 if is_single or old < len(places) // 2 else 1
                old += signs[place] < 0
    return signs


def _own_sign(line: Line) -> int:
    """The sign that the line itself tells; 0 if it does not."""
    if line.amount:
        return 1 if line.amount > 0 else -1
    return -1 if line.is_credit else 0
