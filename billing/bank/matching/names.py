"""Names folded for comparison: they rank suggestions and raise vetoes; they never match."""

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
_PAYMENT_WORDS = """abonnement betaling client credits customer danke euro factura facture factuur
faktura fattura gutschrift invoice jahr kunde lasku merci monat month number nummer pago pagamento
paiement payment plan rechnung referenz reference rekening starter subscription thanks thank
transfer uberweisung ueberweisung year zahlung"""
#: Words of payments: a customer with one of them as its whole name is not named by it.
_PAYMENT = frozenset(_PAYMENT_WORDS.split())
#: A shorter word alone names nobody.
_SHORTEST_ALONE = 4
#: Names that share so many percent of their words are the same name; another customer's name must
#: be so much more similar than the invoice's own.
SAME_NAME, MORE = 60, 30
#: Characters of a name that are read: names on invoices and statements are short.
MAX_NAME = 140


def words_of(text: str) -> frozenset[str]:
    """The words of a text, without accents and case."""
    plain = unicodedata.normalize("NFKD", text.lower().translate(_LETTERS)).replace(".", "")
    bare = "".join(character for character in plain if not unicodedata.combining(character))
    return frozenset(
        "".join(character if character.isalnum() else " " for character in bare).split()
    )


@lru_cache(maxsize=20_000)
def folded(name: str) -> frozenset[str]:
    """The words of a name, without accents, case and legal form."""
    return words_of(name[:MAX_NAME]) - _COMMON


def folded_all(names: Iterable[str]) -> frozenset[str]:
    """The words of all these names."""
    return frozenset().union(*[folded(name) for name in names])


def likeness(name: str | None, others: Iterable[str]) -> int:
    """The percentage of words that a name shares with the most similar of `others`."""
    words = folded(name) if name else frozenset()
    best = 0
    for other in others:
        other_words = folded(other)
        if words and other_words:
            best = max(best, 100 * len(words & other_words) // len(words | other_words))
    return best


def is_named(names: Iterable[str], words: frozenset[str]) -> bool:
    """Whether all words of one of the names are among these words.

    One short word, or a word of payments, is no name.
    """
    return any(_is_distinctive(name) and folded(name) <= words for name in names)


def _is_distinctive(name: str) -> bool:
    words = folded(name)
    if len(words) != 1:
        return bool(words)
    [word] = words
    return len(word) >= _SHORTEST_ALONE and word not in _PAYMENT
