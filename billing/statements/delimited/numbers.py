"""Numbers as spreadsheets and banks print them, and the detection of their decimal mark."""

import re
from collections.abc import Iterable

from billing.statements.errors import BadAmount
from billing.statements.money import to_minor

_MINUS = str.maketrans({"\u2212": "-", "\u2013": "-"})
_SYMBOL = r"(?:[A-Z]{3}|[$€£¥₹₺₽]|R\$|kr|zł|Kč|Ft)"
# No number in any style is longer; the pattern below is slow on long runs of blanks.
_MAX_CHARS = 48
# sign, symbol, sign, digits and marks, sign, symbol, and the letters CR and DR of Indian and older
# American exports
_NUMBER = re.compile(
    rf"(?P<before>[+-]?)\s*(?:{_SYMBOL})?\s*(?P<inside>[+-]?)"
    r"(?P<digits>[0-9][0-9.,'\u2019 \u00a0\u202f]*?|[.,][0-9]+)"
    rf"\s*(?P<after>[+-]?)\s*(?:{_SYMBOL})?\s*(?P<letters>CR|DR|Cr|Dr)?",
    re.ASCII,
)
_DECIMAL_END = re.compile(r"([.,])[0-9]{1,2}$")
_GROUP_END = re.compile(r"([.,])[0-9]{3}$")
_BLANK_GROUPS = "'\u2019 \u00a0\u202f"


def looks_like_number(text: str) -> bool:
    """Whether a cell is a number in any style."""
    plain = text.strip().translate(_MINUS).strip("()")
    return len(plain) <= _MAX_CHARS and bool(_NUMBER.fullmatch(plain))


def read_number(text: str, *, exponent: int, decimal: str, group: str, position: str) -> int:
    """Convert a cell to signed minor units; raises the errors of MoneyRefused."""
    plain = text.strip().translate(_MINUS)
    if len(plain) > _MAX_CHARS:
        raise BadAmount(position, text=text)
    is_bracketed = plain.startswith("(") and plain.endswith(")")
    match = _NUMBER.fullmatch(plain[1:-1] if is_bracketed else plain)
    if match is None:
        raise BadAmount(position, text=text)
    signs = [mark for mark in (match["before"], match["inside"], match["after"]) if mark]
    if len(signs) + is_bracketed + bool(match["letters"]) > 1:
        raise BadAmount(position, text=text)
    digits = match["digits"]
    digits = f"0{digits}" if digits.startswith(decimal) else digits
    minor = to_minor(digits, exponent=exponent, position=position, decimal=decimal, group=group)
    is_negative = is_bracketed or signs == ["-"] or (match["letters"] or "").upper() == "DR"
    return -minor if is_negative else minor


def guess_marks(cells: Iterable[str], position: str) -> tuple[str, str]:
    """Guess the decimal and group marks of an unknown bank's file from all its amounts.

    One or two digits after the last mark are decimals, and all cells must agree. Raises BadAmount
    if they disagree, or if nothing shows whether 1.000 is one or a thousand.
    """
    decimals: set[str] = set()
    groups: set[str] = set()
    for cell in cells:
        match = _NUMBER.fullmatch(cell.strip().translate(_MINUS).strip("()"))
        digits = match["digits"] if match else ""
        if match := _DECIMAL_END.search(digits):
            decimals.add(match[1])
        elif match := _GROUP_END.search(digits):
            groups.add(match[1])
    if len(decimals) > 1 or (groups and not decimals) or groups & decimals:
        raise BadAmount(position, text="numbers with an unclear decimal mark")
    decimal = next(iter(decimals), ".")
    return decimal, ("," if decimal == "." else ".") + _BLANK_GROUPS
