"""Whether the statements of an account follow each other: each opens where the last one closed.

Pure, and the same in whatever order they came: a gap closes by itself when what was missing comes.
"""

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import date
from itertools import groupby, pairwise

#: An account's numbering is believed where nine in ten steps are by one, of at least so many.
MIN_STEPS = 3
_NUMBER = re.compile(r"\d{1,9}")


@dataclass(frozen=True, slots=True)
class Link:
    """A statement with both balances, as a link of its account's chain; minor units."""

    digest: str
    identity: str
    opening: int
    closing: int
    opening_day: date | None
    day: date | None
    sequence: str | None = None
    page: str | None = None
    created: str | None = None
    statement_id: str | None = None

    @property
    def number(self) -> int:
        """Its number in the account's numbering, -1 where it has none."""
        found = _NUMBER.match(self.sequence or "")
        return int(found[0]) if found else -1


@dataclass(frozen=True, slots=True)
class ChainHold:
    """Why a statement does not fit those beside it. `reason`: gap, corrected or restated."""

    digest: str
    reason: str
    says: str
    difference_minor: int | None = None


@dataclass(slots=True)
class _Walk:
    """The chain as far as it has been followed."""

    holds: list[ChainHold] = field(default_factory=list)
    order: list[Link] = field(default_factory=list)
    run_openings: set[int] = field(default_factory=set)

    def take(self, link: Link) -> None:
        if self.order and link.opening != self.order[-1].closing:
            if self._sums_up(link):
                return
            self.holds.append(_gap(self.order[-1], link))
            self.run_openings.clear()
        self.run_openings.add(link.opening)
        self.order.append(link)

    def _sums_up(self, link: Link) -> bool:
        """Whether it says again what the last few said: it begins before them, and ends as they."""
        last = self.order[-1]
        began_before = link.opening_day and last.day and link.opening_day < last.day
        ends_alike = link.closing == last.closing and link.opening in self.run_openings
        return bool(began_before) and ends_alike


def look(links: Iterable[Link]) -> list[ChainHold]:
    """What is wrong with the chain of one account, format and currency."""
    every = list(links)
    holds = [
        *_contested(every, lambda link: link.identity, "restated", _RESTATED),
        *_contested(_with_id(every), _named, "corrected", _CORRECTED, key=lambda one: one.closing),
    ]
    by_identity = {link.identity: link for link in sorted(every, key=lambda one: one.digest)}
    walk = _Walk()
    ordered = sorted(by_identity.values(), key=_place)
    for _, same_day in groupby(ordered, key=lambda link: link.day):
        for link in _linked(list(same_day), walk.order[-1].closing if walk.order else None):
            walk.take(link)
    return [*holds, *walk.holds, *_jumps(walk.order)]


_RESTATED = "another statement names itself the same and lists other entries"
_CORRECTED = "another statement of this id and day closes with another balance"


def _place(link: Link) -> tuple[object, ...]:
    page = _NUMBER.match(link.page or "")
    return (
        link.day or date.min,
        link.number,
        int(page[0]) if page else 0,
        link.created or "",
        link.opening_day or date.min,
        link.digest,
    )


def _linked(same_day: list[Link], closing: int | None) -> Iterable[Link]:
    """The statements of one day in an order that links them, where there is one."""
    rest = same_day
    if closing is None:
        closings = [link.closing for link in rest if link.opening != link.closing]
        firsts = [link for link in rest if link.opening not in closings]
        closing = (firsts or rest)[0].opening
    while rest:
        fitting = [link for link in rest if link.opening == closing]
        # One that moves nothing first: nothing could follow it that could not precede it.
        still = [link for link in fitting if link.closing == closing]
        taken = (still or fitting or rest)[0]
        rest = [link for link in rest if link is not taken]
        closing = taken.closing
        yield taken


def _gap(before: Link, after: Link) -> ChainHold:
    said = (
        f"opens with {after.opening}, but the statement before it"
        f" ({before.statement_id or before.sequence or before.day}) closed with {before.closing}"
    )
    return ChainHold(after.digest, "gap", said, after.opening - before.closing)


def _jumps(order: list[Link]) -> list[ChainHold]:
    """Numbers left out where balances agree: a statement without a movement is missing."""
    steps = [(before, after, after.number - before.number) for before, after in pairwise(order)]
    numbered = [step for step in steps if step[0].number >= 0 and step[2] > 0]
    by_one = sum(1 for step in numbered if step[2] == 1)
    if by_one < MIN_STEPS or by_one < 0.9 * len(numbered):
        return []
    return [
        ChainHold(
            after.digest,
            "gap",
            f"number {after.number} follows {before.number}: {step - 1} missing",
            0,
        )
        for before, after, step in numbered
        if step > 1 and before.closing == after.opening
    ]


def _with_id(links: Iterable[Link]) -> list[Link]:
    return [link for link in links if link.statement_id]


def _named(link: Link) -> tuple[object, ...]:
    return (link.statement_id, link.sequence, link.page, link.day, link.opening)


def _contested(
    links: Iterable[Link],
    same: Callable[[Link], object],
    reason: str,
    says: str,
    *,
    key: Callable[[Link], object] = lambda link: link.digest,
) -> list[ChainHold]:
    groups: dict[object, list[Link]] = {}
    for link in links:
        groups.setdefault(same(link), []).append(link)
    return [
        ChainHold(link.digest, reason, says)
        for group in groups.values()
        if len({key(link) for link in group}) > 1
        for link in sorted(group, key=lambda one: one.digest)
    ]
