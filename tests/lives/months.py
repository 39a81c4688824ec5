"""Months as Stripe counts them: from an anchor, a 31st falls on the last day of a shorter month."""

import calendar
import datetime as dt


def at(second):
    return dt.datetime.fromtimestamp(second, dt.UTC)


def months_later(second, count):
    """The second that is so many months after this one."""
    start = at(second)
    year, month = divmod(start.year * 12 + start.month - 1 + count, 12)
    day = min(start.day, calendar.monthrange(year, month + 1)[1])
    return int(start.replace(year=year, month=month + 1, day=day).timestamp())


def between(start, end):
    """The number of months of a period, at least one."""
    return max(1, round((end - start) / (365.2425 / 12 * 86_400)))
