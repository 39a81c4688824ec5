"""The decimal and group marks of an MT940 file whose bank does not write SWIFT's comma.

SWIFT allows digits and one decimal comma. A file with other marks is read once for each style that
banks use; the balances prove which one is right, or the file stays as SWIFT's style reads it.
"""

import contextlib
from collections.abc import Callable
from typing import NamedTuple

from billing.statements.canonical import HoldReason
from billing.statements.draft import Draft
from billing.statements.errors import StatementRefused


class Marks(NamedTuple):
    """The marks that may stand before the decimals, and between groups of three digits."""

    decimal: str
    group: str


#: SWIFT's own style: 1000,50.
SWIFT = Marks(",", "")
_OTHERS = {
    "a decimal point": Marks(".,", ""),
    "a decimal comma and marks of thousands": Marks(",", ".'"),
    "a decimal point and marks of thousands": Marks(".", ",'"),
}
_BROKEN = (
    HoldReason.ROW_NOT_READ,
    HoldReason.BALANCE_UNREADABLE,
    HoldReason.CONTROL_TOTAL,
    HoldReason.BALANCE_AMBIGUOUS,
)


def proven(drafts: list[Draft], read: Callable[[Marks], list[Draft]]) -> list[Draft]:
    """Replace each draft with unreadable amounts by the only other reading that its sums prove."""
    if not any(draft.has_hold(*_BROKEN[:2]) for draft in drafts):
        return drafts
    readings = []
    for words, marks in _OTHERS.items():
        # Where a closing balance can't be read, the statement ends elsewhere: that proves none.
        with contextlib.suppress(StatementRefused):
            if len(of_file := read(marks)) == len(drafts):
                readings.append((words, of_file))
    return [
        _choose(draft, [(words, of_file[place]) for words, of_file in readings])
        for place, draft in enumerate(drafts)
    ]


def _choose(draft: Draft, readings: list[tuple[str, Draft]]) -> Draft:
    if not draft.has_hold(*_BROKEN[:2]):
        return draft
    fitting = [(words, other) for words, other in readings if _adds_up(other)]
    amounts = {(other.opening, other.closing, other.totals()) for _, other in fitting}
    if len(amounts) != 1:
        return draft
    words, chosen = fitting[0]
    chosen.note(f"the amounts are written with {words}, as only that agrees with the bank's sums")
    return chosen


def _adds_up(draft: Draft) -> bool:
    """Whether every amount was read, and the balances or the totals of both sides agree."""
    if draft.has_hold(*_BROKEN):
        return False
    if draft.opening is not None and draft.closing is not None:
        return draft.opening.amount_minor + draft.booked_minor == draft.closing.amount_minor
    return {":90C: sum", ":90D: sum"} <= {check.name for check in draft.checks}
