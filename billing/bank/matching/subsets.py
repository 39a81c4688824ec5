"""Which of a customer's open invoices add up to an amount: a bounded search, for suggestions only.

With eight open invoices of a price list, one payment in three has another set of the same sum.
"""

from collections.abc import Sequence
from typing import NamedTuple

from billing.bank.matching.types import Invoice

#: Bounds of the search, so that 200 open invoices cost milliseconds.
MAX_CANDIDATES, MAX_MEMBERS, MAX_STATES, MAX_SOLUTIONS = 20, 5, 50_000, 10


class Sums(NamedTuple):
    """Sets that add up, in order; `is_whole`: every set was looked at."""

    found: list[tuple[Invoice, ...]]
    is_whole: bool


def adding_up(
    invoices: Sequence[Invoice], amount_minor: int, *, members: int = MAX_MEMBERS
) -> Sums:
    """Sets of at most `members` invoices whose open amounts add up to this."""
    oldest = sorted(invoices, key=lambda one: (one.issued_on, one.id))
    chosen = [one for one in oldest if one.due_minor <= amount_minor][:MAX_CANDIDATES]
    search = _Search(chosen, members)
    search.look(0, amount_minor, ())
    is_whole = len(chosen) < MAX_CANDIDATES and not search.is_spent
    return Sums(search.found, is_whole)


class _Search:
    def __init__(self, chosen: list[Invoice], members: int) -> None:
        self.found: list[tuple[Invoice, ...]] = []
        self._chosen = chosen
        self._members = members
        self._states = 0

    @property
    def is_spent(self) -> bool:
        return self._states >= MAX_STATES or len(self.found) >= MAX_SOLUTIONS

    def look(self, start: int, left: int, taken: tuple[Invoice, ...]) -> None:
        if left == 0:
            self.found.append(taken)
            return
        if len(taken) == self._members:
            return
        for at in range(start, len(self._chosen)):
            if self.is_spent:
                return
            self._states += 1
            one = self._chosen[at]
            if one.due_minor <= left:
                self.look(at + 1, left - one.due_minor, (*taken, one))
