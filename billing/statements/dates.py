"""Dates as bank files write them; None if the calendar has no such day."""

import re
from datetime import date
from functools import lru_cache

from billing.statements.limits import MAX_CACHED_CHARS

# SWIFT's pivot: years 80 to 99 are of the last century (SWIFT User Handbook, field 61 and 60a).
_PIVOT = 80
# An entry date has no year. It is the day nearest to the value date, so at most half a year away.
_HALF_YEAR = 183
_ISO = re.compile(
    r"([0-9]{4})-([0-9]{2})-([0-9]{2})(?:Z|[+-][0-9]{2}:[0-9]{2}|T[0-9:.]{5,20}(?:Z|[+-][0-9]{2}:?[0-9]{2})?)?"
)
_COMPACT = re.compile(
    r"([0-9]{4})([0-9]{2})([0-9]{2})(?:[0-9]{2,6}(?:\.[0-9]{0,6})?)?(?:\[[^\]]{0,12}\]?)?"
)
_ORDERS = {"ymd": (0, 1, 2), "dmy": (2, 1, 0), "mdy": (2, 0, 1)}
_SEPARATED = re.compile(r"([0-9]{1,4})[./-]([0-9]{1,2})[./-]([0-9]{1,4})\.?(?:[T ].{0,20})?")


def calendar_day(year: int, month: int, day: int) -> date | None:
    """The date, or None if there is no such day."""
    try:
        return date(year, month, day)
    except ValueError:
        return None


def iso_day(text: str) -> date | None:
    """The day of an xs:date or xs:dateTime as printed; an offset does not move it."""
    return _iso_day(text) if len(text) <= MAX_CACHED_CHARS else None


@lru_cache(maxsize=4096)
def _iso_day(text: str) -> date | None:
    match = _ISO.fullmatch(text)
    return calendar_day(*map(int, match.groups())) if match else None


def compact_day(text: str) -> date | None:
    """The day of an OFX date-time such as 20260131120000.000[-5:EST] (OFX 2.3, 3.2.8.2)."""
    return _compact_day(text) if len(text) <= MAX_CACHED_CHARS else None


@lru_cache(maxsize=4096)
def _compact_day(text: str) -> date | None:
    match = _COMPACT.fullmatch(text)
    return calendar_day(*map(int, match.groups())) if match else None


def short_year(two_digits: int) -> int:
    """The full year of two digits, by SWIFT's pivot."""
    return two_digits + (1900 if two_digits >= _PIVOT else 2000)


@lru_cache(maxsize=4096)
def swift_day(text: str) -> date | None:
    """The day of YYMMDD."""
    return calendar_day(short_year(int(text[:2])), int(text[2:4]), int(text[4:6]))


@lru_cache(maxsize=4096)
def entry_day(month_and_day: str, near: date) -> date | None:
    """The day of MMDD nearest to `near`, which may be in the year before or after."""
    month, day = int(month_and_day[:2]), int(month_and_day[2:4])
    choices = [calendar_day(year, month, day) for year in (near.year - 1, near.year, near.year + 1)]
    days = [day for day in choices if day is not None and abs((day - near).days) <= _HALF_YEAR]
    return min(days, key=lambda day: abs((day - near).days), default=None)


def separated_day(text: str, order: str) -> date | None:
    """The day of three numbers separated by `.`, `/` or `-`; `order` is ymd, dmy or mdy."""
    return _separated_day(text, order) if len(text) <= MAX_CACHED_CHARS else None


@lru_cache(maxsize=4096)
def _separated_day(text: str, order: str) -> date | None:
    match = _SEPARATED.fullmatch(text)
    if match is None:
        return None
    parts = match.groups()
    year, month, day = (parts[place] for place in _ORDERS[order])
    if len(year) not in {2, 4} or len(month) > 2 or len(day) > 2:
        return None
    return calendar_day(
        int(year) if len(year) == 4 else short_year(int(year)), int(month), int(day)
    )
