"""References that we issued, in free text: whole tokens, with blanks or other zeros in them."""

import re
from collections.abc import Iterator

from billing.bank.invoicing import references
from billing.bank.matching.open_items import OpenItems
from billing.statements.references import Scheme, check_reference

#: RF, the check digits, and one digit of the body.
SHORTEST = 5
_RF_DIGITS = re.compile(r"RF[0-9]{3,23}")


def issued_in(lines: list[str], open_items: OpenItems) -> list[str]:
    """References that we issued and that stand in the text as whole tokens, as written there.

    They may have blanks in them, and more or fewer zeros. A line may end inside a reference,
    because formats break lines where they are full.
    """
    letters, starts_token = _letters(lines)
    readings = [
        _reading(_digits_from(start, letters, starts_token), open_items)
        for start in _places_of_rf(letters)
        if starts_token[start]
    ]
    return [reading for reading in readings if reading is not None]


def _digits_from(start: int, letters: str, starts_token: list[bool]) -> list[str]:
    """Each reference of digits that may begin here and end with a token, shortest first."""
    digits = _RF_DIGITS.match(letters, start)
    if digits is None:
        return []
    ends = range(start + SHORTEST, digits.end() + 1)
    return [letters[start:end] for end in ends if end == len(letters) or starts_token[end]]


def _reading(spellings: list[str], open_items: OpenItems) -> str | None:
    """The spelling that we issued: the exact one, else the longest one with right check digits.

    Any shorter one may be the beginning of a reference that is not ours.
    """
    for spelling in spellings:
        invoice = open_items.by_reference.get(references.plain(spelling))
        if invoice is not None and invoice.reference == spelling:
            return spelling
    valid = [spelling for spelling in spellings if _is_valid(spelling)]
    return valid[-1] if valid and references.plain(valid[-1]) in open_items.by_reference else None


def _is_valid(spelling: str) -> bool:
    reference = check_reference(spelling, Scheme.RF)
    return reference is not None and reference.is_valid


def _places_of_rf(letters: str) -> Iterator[int]:
    place = letters.find("RF")
    while place >= 0:
        yield place
        place = letters.find("RF", place + 1)


def _letters(lines: list[str]) -> tuple[str, list[bool]]:
    """The letters and digits alone, and whether a token may start at each of them."""
    letters: list[str] = []
    starts_token: list[bool] = []
    for line in lines:
        is_start = True
        for character in line:
            if character.isalnum():
                letters.append(character)
                starts_token.append(is_start)
                is_start = False
            else:
                is_start = True
    return "".join(letters), starts_token
