"""The first pass over a CSV file: finds the order of its dates and the marks of its numbers."""

from collections.abc import Iterable
from typing import NamedTuple

from billing.statements.dates import compact_day, separated_day
from billing.statements.delimited.directions import Directions
from billing.statements.delimited.numbers import guess_marks, looks_like_number
from billing.statements.delimited.profiles import GENERIC, Profile

# Different dates and numbers that are examined: a year has 366 days, and a thousand amounts show
# any style.
_MAX_SAMPLES = 5_000


class Survey(NamedTuple):
    """The styles of a file.

    `order` is that of its dates (ymd, dmy, mdy). `is_ambiguous` says whether another order fits as
    well. `decimal` and `group` are the marks of its numbers. `sign_place` is a column with words
    that give the sign of unsigned amounts, though no profile names it; `sign_doubt` says that the
    words of a column contradict the amounts.
    """

    order: str
    is_ambiguous: bool
    decimal: str
    group: str
    sign_place: int | None = None
    sign_doubt: str = ""


def day_of(text: str, order: str) -> object:
    """The day of a cell whose parts have this order, or None."""
    return (compact_day(text) if order == "ymd" and text.isdigit() else None) or separated_day(
        text, order
    )


def survey(profile: Profile, columns: dict[str, int], rows: Iterable[list[str]]) -> Survey:
    """Examine the rows after the header.

    Raises BadAmount if an unknown bank's numbers can be read in two ways.
    """
    dates: set[str] = set()
    numbers: set[str] = set()
    date_places = [columns[name] for name in profile.booked if name in columns][:1]
    number_places = [columns[name] for name in profile.amounts if name in columns]
    directions = Directions(profile, columns)
    for row in rows:
        directions.take(row)
        for place in date_places:
            if len(dates) < _MAX_SAMPLES and place < len(row):
                dates.add(row[place].strip())
        for place in number_places:
            if len(numbers) < _MAX_SAMPLES and place < len(row) and looks_like_number(row[place]):
                numbers.add(row[place].strip())
    counted = {
        order: sum(day_of(text, order) is not None for text in dates) for order in profile.orders
    }
    best = max(counted.values())
    fitting = [order for order in profile.orders if counted[order] == best]
    differing = any(
        day_of(text, fitting[0]) != day_of(text, order) for text in dates for order in fitting[1:]
    )
    marks = (
        guess_marks(numbers, "the amount column")
        if profile is GENERIC
        else (profile.decimal, profile.group)
    )
    return Survey(fitting[0], differing, *marks, *directions.conclude())
