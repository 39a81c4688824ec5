"""The fields of MT940 and MT942 that carry money, parsed strictly.

Source: SWIFT Standards MT category 9, fields 60a, 61, 62a and 90.
"""

import re
from datetime import date
from functools import lru_cache
from typing import NamedTuple

from billing.statements.canonical import Balance
from billing.statements.dates import entry_day, short_year, swift_day
from billing.statements.errors import BadLine
from billing.statements.money import minor_of
from billing.statements.mt940.marks import Marks
from billing.statements.references import drop_placeholder, party_account, plain_iban

# Field 61: value date, entry date, mark, funds code, amount, transaction type, references. The
# amount matches every mark that a number might have, so that 1.000,50 is never read as 1.
_ENTRY = re.compile(
    r"([0-9]{6})([0-9]{4})?(R?[CD]|E[CD])[A-Z]?([0-9.,']+)([NSF][A-Z0-9 ]{3})?(.*)",
    re.ASCII,
)
# Field 60a, 62a: mark, date, currency, amount.
_BALANCE = re.compile(r"([CD])([0-9]{6})([A-Z]{3})([0-9.,']+)", re.ASCII)
# Field 90: number of entries, currency, amount.
_TOTAL = re.compile(r"([0-9]{1,6})([A-Z]{3})([0-9.,']+)", re.ASCII)
# A reversed credit is negative, a reversed debit positive.
SIGNS = {"C": 1, "D": -1, "RC": -1, "RD": 1, "EC": 1, "ED": -1}


class Line(NamedTuple):
    """Field 61. A day is None if the calendar has no such day; `impossible` lists those."""

    mark: str
    amount_minor: int
    value_date: date | None
    booking_date: date | None
    impossible: tuple[str, ...]
    type_code: str | None
    customer_reference: str | None
    bank_reference: str | None
    iban: str | None
    supplement: str


def read_line(lines: list[str], *, currency: str, marks: Marks, position: str) -> Line:
    """Read field 61 and its other lines; raises BadLine and the errors of MoneyRefused."""
    match = _ENTRY.fullmatch(lines[0].rstrip())
    if match is None:
        raise BadLine(position, field=":61:", text=lines[0])
    day, entry, mark, digits, kind, rest = match.groups()
    amount = minor_of(digits, currency, position, *marks)
    value, booked, impossible = _days(day, entry)
    customer, _, bank = rest.partition("//")
    # some banks pad the reference to 16 characters and append the payer's name
    customer, _, name = customer.strip().partition("  ")
    iban = plain_iban(customer)
    if iban is not None:
        iban = party_account(iban).iban
    supplement = ""
    if name or len(lines) > 1:
        supplement = "\n".join([text.strip() for text in (name, *lines[1:]) if text.strip()])
    return Line(
        mark,
        SIGNS[mark] * amount,
        value,
        booked,
        impossible,
        (kind.strip() or None) if kind else None,
        None if iban else drop_placeholder(customer),
        drop_placeholder(bank),
        iban,
        supplement,
    )


@lru_cache(maxsize=4096)  # the entries of a statement share a few days
def _days(value: str, entry: str | None) -> tuple[date | None, date | None, tuple[str, ...]]:
    """The value date, the booking date, and those of them that are no days of the calendar."""
    valued, booked = swift_day(value), None
    impossible = [] if valued else [value]
    if entry:
        booked = entry_day(entry, valued or _middle_of(value))
        impossible += [] if booked else [entry]
    return valued, booked, tuple(impossible)


def _middle_of(value: str) -> date:
    """A day near an impossible value date, which gives the entry date its year."""
    month = int(value[2:4])
    return date(short_year(int(value[:2])), month if 1 <= month <= 12 else 6, 15)


def read_balance(text: str, *, tag: str, marks: Marks, position: str) -> Balance:
    """Read field 60F, 60M, 62F or 62M; raises BadLine and the errors of MoneyRefused."""
    match = _BALANCE.fullmatch(text.strip())
    if match is None:
        raise BadLine(position, field=f":{tag}:", text=text)
    mark, day, currency, amount = match.groups()
    unsigned = minor_of(amount, currency, position, *marks)
    return Balance(tag, SIGNS[mark] * unsigned, currency, swift_day(day))


def read_total(text: str, *, tag: str, marks: Marks, position: str) -> tuple[int, int]:
    """Read field 90C or 90D: the number of entries and their sum in minor units.

    Raises BadLine and the errors of MoneyRefused.
    """
    match = _TOTAL.fullmatch(text.strip())
    if match is None:
        raise BadLine(position, field=f":{tag}:", text=text)
    count, currency, amount = match.groups()
    return int(count), minor_of(amount, currency, position, *marks)
