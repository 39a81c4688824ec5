"""Changes of plan in an invoice's proration lines: each old line is paired with its new one.

The sign of a line's amount tells old from new. A line of 0 has none, as in a trial, of a free plan,
or when cents round away: then Stripe's `proration_details` tell, else its pair, else the order, in
which Stripe lists the old line first. The description is never parsed.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from billing.stripe import fields
from billing.stripe.catalog import Meaning
from billing.stripe.objects.invoice import Line

#: A line with the meaning of its price.
OurLine = tuple[Line, Meaning]


@dataclass(frozen=True, slots=True)
class PlanChange:
    """The sum of an invoice's prorations of plans, or of one pack.

    Attributes:
        credits: The credits a month, or of the pack, by which the new state exceeds the old.
        net: The money of it after discounts; below 0 it goes back.
        at: The time of the change, in seconds.
        newest: The line of the newest new state, if there is one.
        is_paid: Whether the new state costs something, or is free by its price.
    """

    credits: int
    net: int
    at: int
    newest: OurLine | None
    is_paid: bool


def of_plans(lines: Sequence[OurLine]) -> PlanChange | None:
    """The change of plans in these lines of an invoice."""
    return _change([(line, meaning) for line, meaning in _prorations(lines) if meaning.plan])


def of_packs(lines: Sequence[OurLine]) -> dict[str | None, PlanChange]:
    """The changes of the quantities of recurring packs, by price."""
    packs: dict[str | None, list[OurLine]] = {}
    for line, meaning in _prorations(lines):
        if meaning.plan is None:
            packs.setdefault(line.price.id, []).append((line, meaning))
    return {price: change for price, pack in packs.items() if (change := _change(pack))}


def _prorations(lines: Sequence[OurLine]) -> list[OurLine]:
    """The proration lines, without metered ones: their quantity is usage."""
    return [(x, meaning) for x, meaning in lines if x.is_proration and not x.price.is_metered]


def _change(lines: Sequence[OurLine]) -> PlanChange | None:
    if not lines:
        return None
    signed = list(zip(lines, _signs([line for line, _ in lines]), strict=True))
    new = [pair for pair, sign in signed if sign > 0]
    return PlanChange(
        credits=sum([sign * _credits(*pair) for pair, sign in signed]),
        net=sum([line.amount - line.discount for line, _ in lines]),
        at=max([line.start or fields.FIRST_SECOND for line, _ in lines]),
        newest=max(new, key=lambda pair: (pair[0].start or 0, pair[0].id), default=None),
        is_paid=any(line.amount > 0 for line, _ in new)
        or (bool(new) and all(line.is_free_price for line, _ in new)),
    )


def _credits(line: Line, meaning: Meaning) -> int:
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
