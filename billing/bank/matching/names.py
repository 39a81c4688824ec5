"""Names, folded for comparison. They rank suggestions; they never decide."""

import unicodedata
from collections.abc import Iterable
from functools import lru_cache

#: Letters that accents alone do not fold.
_LETTERS = str.maketrans(
    {"ä": "ae", "ö": "oe", "ü": "ue", "ß": "ss", "æ": "ae", "ø": "oe", "å": "aa", "ł": "l"}
)
#: Legal forms and forms of address, which many share.
_COMMON = frozenset(
    (
        "ab",
        "ag",
        "as",
        "asa",
        "bv",
        "co",
        "corp",
        "cv",
        "eg",
        "ek",
        "ev",
        "gbr",
        "gmbh",
        "inc",
        "kft",
        "kg",
        "kgaa",
        "limited",
        "llc",
        "llp",
        "ltd",
        "mbh",
        "nv",
        "ohg",
        "oy",
        "oyj",
        "plc",
        "pty",
        "sa",
        "sarl",
        "sas",
        "sc",
        "se",
        "sl",
        "spa",
        "spol",
        "sro",
        "srl",
        "ug",
        "und",
        "and",
        "the",
        "mr",
        "mrs",
        "ms",
        "herr",
        "frau",
    )
)
#: Names on invoices and statements are short; more is somebody's prose.
MAX_NAME = 140


@lru_cache(maxsize=20_000)
def folded(name: str) -> frozenset[str]:
    """The words of a name, without accents, case and legal form."""
    lower = name[:MAX_NAME].lower().translate(_LETTERS)
    plain = unicodedata.normalize("NFKD", lower)
    bare = "".join(each for each in plain if not unicodedata.combining(each))
    words = "".join(each if each.isalnum() else " " for each in bare.replace(".", "")).split()
    return frozenset(words) - _COMMON


def likeness(name: str | None, others: Iterable[str]) -> int:
    """How much of the words two names share, 0 to 100; the best of `others`."""
    words = folded(name) if name else frozenset()
    best = 0
    for other in others:
        theirs = folded(other)
        if words and theirs:
            best = max(best, 100 * len(words & theirs) // len(words | theirs))
    return best
