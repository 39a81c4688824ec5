"""Names, folded for comparison. They rank suggestions and raise vetoes; they never match."""

import unicodedata
from collections.abc import Iterable
from functools import lru_cache

#: Letters that accents alone do not fold.
_LETTERS = str.maketrans(
    {"ä": "ae", "ö": "oe", "ü": "ue", "ß": "ss", "æ": "ae", "ø": "oe", "å": "aa", "ł": "l"}
)
_COMMON_WORDS = """ab ag as asa bv co corp cv eg ek ev gbr gmbh inc kft kg kgaa limited llc llp ltd
mbh nv ohg oy oyj plc pty sa sarl sas sc se sl spa spol sro srl ug und and the mr mrs ms herr
frau"""
#: Legal forms and forms of address, which many share.
_COMMON = frozenset(_COMMON_WORDS.split())
#: Characters of a name that are read: names on invoices and statements are short.
MAX_NAME = 140


@lru_cache(maxsize=20_000)
def folded(name: str) -> frozenset[str]:
    """The words of a name, without accents, case and legal form."""
    lower = name[:MAX_NAME].lower().translate(_LETTERS)
    plain = unicodedata.normalize("NFKD", lower).replace(".", "")
    bare = "".join(character for character in plain if not unicodedata.combining(character))
    words = "".join(character if character.isalnum() else " " for character in bare).split()
    return frozenset(words) - _COMMON


def likeness(name: str | None, others: Iterable[str]) -> int:
    """The percentage of words that a name shares with the most similar of `others`."""
    words = folded(name) if name else frozenset()
    best = 0
    for other in others:
        other_words = folded(other)
        if words and other_words:
            best = max(best, 100 * len(words & other_words) // len(words | other_words))
    return best
