"""The ends of bank lines as a table, for `billing status` and `billing statements import`."""

from collections.abc import Sequence

from billing.bank.line_ends import LineEnd
from billing.statements.plain import shown_amount
from cli.screen import table

#: end -> its name on the screen
NAMES = {
    "transfer": "transfers",
    "held": "held",
    "pays_nothing": "pays nothing",
    "none": "not looked at yet",
}


def show_line_ends(title: str, ends: Sequence[LineEnd]) -> None:
    """Print the number and sum of the lines with each end."""
    table(
        title,
        ("end", "why", "lines", "sum"),
        [
            (NAMES[end.end], end.why, end.lines, shown_amount(end.amount_minor, end.currency))
            for end in ends
        ],
    )
