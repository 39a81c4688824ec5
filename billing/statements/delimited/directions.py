"""Words for credits and debits in columns that no profile reads as the sign of the amount."""

import re
from dataclasses import dataclass
from functools import lru_cache

from billing.statements.delimited.numbers import looks_like_number
from billing.statements.delimited.profiles import GENERIC, SIGN_WORDS, Profile

# A column whose cells are such words in at least one of so many rows is about the direction.
_SHARE = 2
# Longest cell that may be such a word: "ACH debit" is, a description is not.
_MAX_CHARS = 32
_TOKEN = re.compile(r"\w+")


def sign_of(word: str) -> int | None:
    """1 for a word that means a credit, -1 for a debit, None for any other."""
    return SIGN_WORDS.get(word.strip().casefold())


@lru_cache(maxsize=4096)
def _loose_sign_of(cell: str) -> int | None:
    """The sign of a word, or of the only such word of a few, as in "ACH debit"."""
    sign = sign_of(cell)
    if sign is not None:
        return sign
    tokens = _TOKEN.findall(cell.casefold())
    signs = {SIGN_WORDS[token] for token in tokens if len(token) > 3 and token in SIGN_WORDS}
    return signs.pop() if len(signs) == 1 and "card" not in tokens else None


@dataclass(slots=True)
class _Column:
    """A column: its cells, those with such words, and those that contradict the amount.

    `exact` are the cells that are such a word and nothing else.
    """

    name: str
    cells: int = 0
    words: int = 0
    exact: int = 0
    contradicting: int = 0

    def is_doubtful(self, *, is_signed: bool) -> bool:
        """Whether its words contradict the amounts: one is enough if no amount has a sign."""
        if not self.contradicting or self.words * _SHARE < self.cells:
            return False
        return not is_signed or self.contradicting * 2 > self.words


class Directions:
    """Takes the rows of a file, and compares such words with the signs of the amounts.

    Nothing is compared where the profile reads a column for the direction, has one column for
    credits and one for debits, or knows that the bank signs every amount.
    """

    def __init__(self, profile: Profile, columns: dict[str, int]) -> None:
        self._sign = -1 if profile.inverted else 1
        self._is_generic = profile is GENERIC
        amounts = [columns[name] for name in profile.amount if name in columns]
        is_read = any(name in columns for name in profile.direction)
        is_read = is_read or profile.signed
        self._amount = amounts[0] if amounts and not is_read else None
        self._names = {place: name for name, place in columns.items()}
        self._columns: dict[int, _Column] = {}
        self._has_negative = False

    def take(self, row: list[str]) -> None:
        """Take one row after the header."""
        place = self._amount
        if place is None or place >= len(row) or not looks_like_number(row[place]):
            return
        sign = self._sign * (-1 if _is_negative(row[place]) else 1)
        self._has_negative = self._has_negative or _is_negative(row[place])
        for at, cell in enumerate(row):
            if at != place and cell.strip():
                self._compare(at, cell, sign)

    def _compare(self, at: int, cell: str, sign: int) -> None:
        column = self._columns.get(at)
        if column is None:
            name = self._names.get(at, f"number {at + 1}")
            column = self._columns[at] = _Column(name)
        column.cells += 1
        word_sign = _loose_sign_of(cell) if len(cell) <= _MAX_CHARS else None
        if word_sign is not None:
            column.words += 1
            column.exact += sign_of(cell) is not None
            column.contradicting += word_sign != sign

    def conclude(self) -> tuple[int | None, str]:
        """The place of the column that gives the sign, and else the doubt in words.

        Words give the sign only in the file of an unknown bank, which is held anyway, where one
        column has nothing else and every amount is unsigned.
        """
        doubtful = {
            at: column
            for at, column in self._columns.items()
            if column.is_doubtful(is_signed=self._has_negative)
        }
        if not doubtful:
            return None, ""
        [at, column], *others = doubtful.items()
        is_clear = self._is_generic and not self._has_negative and column.exact == column.cells
        if is_clear and not others:
            return at, ""
        return None, (
            f"the words of column {column.name!a} contradict the sign of {column.contradicting}"
            " amounts: a profile for this bank must say how to read it"
        )


def _is_negative(cell: str) -> bool:
    plain = cell.strip()
    marks = ("-", "\u2212", "\u2013", "(")
    return plain.startswith(marks) or plain.endswith(marks[:3]) or plain[-2:].upper() == "DR"
