"""The references and invoice numbers in a transfer's text: ours, others', mistyped ones.

Check digits prove nothing. The proof is that the whole token is a reference that we issued.
"""

import string
import unicodedata
from collections.abc import Iterable, Iterator
from typing import NamedTuple, TypeVar

from billing.bank.invoicing import references
from billing.bank.matching import issued_references, return_words
from billing.bank.matching.names import words_of
from billing.bank.matching.open_items import OpenItems, number_words
from billing.bank.matching.types import IncomingTransfer, IssuedInvoice
from billing.statements.references import (
    CheckedReference,
    Scheme,
    check_reference,
    find_references,
    fits_account,
)

#: Characters of a transfer's text that are read; the longest real one seen had some 2,000.
MAX_TEXT = 10_000
#: So many first characters of a reference identify it, if it is cut off or followed by letters.
SURE = 8
#: The prefix, the year and the count of an invoice's number.
WORDS_OF_NUMBER = 3
_KIND_OF_RF = frozenset({"", "SCOR", "RF"})


class RemittanceText(NamedTuple):
    """The content of a transfer's text.

    Attributes:
        named: Invoices whose reference is named, structured ones first.
        is_structured: Whether a reference of ours stands in the structured field.
        foreign: Well-formed references that are not ours.
        mistyped: References with wrong check digits, each with the invoices that it may mean.
        numbered: Invoices whose number stands in the text.
        at_odds: Reasons why a structured reference does not agree with its type or account.
        mentions_return: Whether the words speak of returned money.
        words: All words of the text, as names are folded.
    """

    named: tuple[IssuedInvoice, ...]
    is_structured: bool
    foreign: tuple[str, ...]
    mistyped: tuple[tuple[str, tuple[IssuedInvoice, ...]], ...]
    numbered: tuple[IssuedInvoice, ...]
    at_odds: tuple[str, ...]
    mentions_return: bool
    words: frozenset[str]


def normalised(text: str) -> str:
    """NFKC, upper case, single blanks; no control, bidirectional or zero-width characters."""
    plain = unicodedata.normalize("NFKC", text[:MAX_TEXT]).upper()
    kept = "".join(
        character
        for character in plain
        if character.isspace() or unicodedata.category(character)[0] != "C"
    )
    return " ".join(kept.split())


def read(incoming: IncomingTransfer, open_items: OpenItems) -> RemittanceText:
    """Read a transfer's text, structured and unstructured."""
    lines = [normalised(text) for text in incoming.texts]
    whole, glued = " ".join(lines), "".join(lines)
    structured, at_odds, others = _structured(incoming, open_items)
    written = _unique([*structured, *issued_references.issued_in(lines, open_items)])
    strange = [
        reference
        for reference in (*others, *find_references(whole), *find_references(glued))
        if reference.scheme is Scheme.RF and not _is_part(reference.value, written)
    ]
    invalid = _unique([reference.value for reference in strange if not reference.is_valid])
    return RemittanceText(
        named=_unique([open_items.by_reference[references.plain(value)] for value in written]),
        is_structured=bool(structured),
        foreign=_unique([reference.value for reference in strange if reference.is_valid]),
        mistyped=tuple((value, _near(value, open_items)) for value in invalid),
        numbered=_numbered(whole, open_items),
        at_odds=tuple(at_odds),
        mentions_return=return_words.mentions_return(whole),
        words=words_of(whole) | words_of(glued),
    )


def _structured(
    incoming: IncomingTransfer, open_items: OpenItems
) -> tuple[list[str], list[str], list[CheckedReference]]:
    """Structured references that we issued, doubts about them, and others' references."""
    issued, at_odds, others = [], [], []
    for field in incoming.structured:
        reference = check_reference(normalised(field.value))
        if reference is None:
            continue
        if references.plain(reference.value) not in open_items.by_reference:
            others.append(reference)
            continue
        issued.append(reference.value)
        if field.kind.upper() not in _KIND_OF_RF:
            at_odds.append(f"{reference.value} is marked {field.kind}, not SCOR")
        if not fits_account(reference, incoming.receiving):
            at_odds.append(f"{reference.value} does not go with the account {incoming.receiving}")
    return issued, at_odds, others


def _is_part(value: str, written: Iterable[str]) -> bool:
    """Whether it is one of our references with a word glued to it, or cut at the end of a line."""
    return any(value.startswith(own) or own.startswith(value[:SURE]) for own in written)


def _near(value: str, open_items: OpenItems) -> tuple[IssuedInvoice, ...]:
    """Invoices whose reference differs from this by one typing error."""
    issued = open_items.by_reference
    spellings = {references.plain(spelling) for spelling in _corrections(value)}
    near = {issued[spelling] for spelling in spellings if spelling in issued}
    return tuple(sorted(near, key=lambda invoice: invoice.id))


def _corrections(value: str) -> Iterator[str]:
    """Every text that one typing error could have turned into this."""
    letters = string.digits + "RF"
    yield value[:2] + value[2:].replace("O", "0").replace("I", "1").replace("L", "1")
    for at in range(len(value) + 1):
        yield value[:at] + value[at + 1 :]
        yield value[:at] + value[at + 1 : at + 2] + value[at : at + 1] + value[at + 2 :]
        for letter in letters:
            yield value[:at] + letter + value[at + 1 :]
            yield value[:at] + letter + value[at:]


def _numbered(text: str, open_items: OpenItems) -> tuple[IssuedInvoice, ...]:
    """Invoices whose number stands in the text as words of its own, with more or fewer zeros."""
    words = number_words(text)
    spellings = [
        "-".join(words[start : start + count])
        for start in range(len(words))
        for count in range(1, WORDS_OF_NUMBER + 1)
    ]
    issued = open_items.by_number
    return _unique([issued[spelling] for spelling in spellings if spelling in issued])


_T = TypeVar("_T")


def _unique(values: Iterable[_T]) -> tuple[_T, ...]:
    return tuple(dict.fromkeys(values))
