"""The references and invoice numbers in a transfer's text: ours, others', mistyped ones.

Check digits prove nothing. The proof is that the whole token is a reference that we issued.
"""

import re
import string
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from typing import NamedTuple, TypeVar

from billing.bank.matching.open_items import OpenItems, number_words, words_of
from billing.bank.matching.types import IncomingTransfer, IssuedInvoice
from billing.statements.references import (
    CheckedReference,
    Scheme,
    check_reference,
    find_references,
    fits_account,
    without_zeros,
)

#: Characters of a transfer's text that are read; the longest real one seen had some 2,000.
MAX_TEXT = 10_000
#: So many first characters of a reference identify it, if it is cut off or followed by letters.
SURE = 8
#: The prefix, the year and the count of an invoice's number.
WORDS_OF_NUMBER = 3
_KIND_OF_RF = frozenset({"", "SCOR", "RF"})
#: RF, the check digits, and one digit of the body.
SHORTEST = 5
_RF_DIGITS = re.compile(r"RF[0-9]{3,23}")
#: Words by which payers and banks mark returned money, in the languages of SEPA.
_RETURN = (
    "(?:RETURN(?:ED)?|REFUND(?:ED)?|REVERSAL|REVERSED|CHARGEBACK|REJECT(?:ED|ION)?|RECALL(?:ED)?"
    "|STORNO|R(?:UE|Ü)CKLASTSCHRIFT|R(?:UE|Ü)CK(?:UE|Ü)BERWEISUNG|R(?:UE|Ü)CKGABE"
    "|R(?:UE|Ü)CKZAHLUNG|RETOURE|ERSTATTUNG|REMBOURSEMENT|REJET|RETOUR|STORNERING|RIMBORSO"
    "|DEVOLUCI[OÓ]N|TERUGBETALING|ZWROT)"
)
_NO = (
    "(?:NO|NOT|NOTHING|NONE|NEVER|WITHOUT|NON|AUCUNE?|PAS DE|SANS|SENZA|NESSUNA?|SIN|KEINE?"
    "|NICHTS?|OHNE|GEEN|ZONDER|INGEN|BRAK|BEZ)"
)
_RETURN_WORDS = re.compile(rf"\b{_RETURN}\b")
#: A word that denies the next one, or a code of 0 behind it: Swiss banks put `?REJECT?0` into every
#: credit whose reference they could read.
_NO_RETURN = re.compile(
    rf"\b{_NO} (?:WAS |HAS BEEN )?{_RETURN}\b"
    rf"|\b{_RETURN}(?:[ -]?(?:CODE|REASON|STATUS))?[ ?:=/-]+(?:0{{1,3}}|NONE)\b(?![ .,]?[0-9])"
)


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


class Field(NamedTuple):
    """A reference of the structured field; `bare`: without zeros in front."""

    reference: CheckedReference
    bare: str
    kind: str
    fits_account: bool


class Scan(NamedTuple):
    """A transfer's text without regard to invoices: what it may name, and its words.

    Attributes:
        free: Every reference found in the text.
        spellings: At each place where a reference may begin, its possible spellings, as written
            and without zeros in front.
        references: Every spelling of a reference that the text may mean, slips corrected.
        numbers: Texts of a few words that may be an invoice's number, without zeros in front.
    """

    fields: tuple[Field, ...]
    free: tuple[CheckedReference, ...]
    spellings: tuple[tuple[tuple[str, str], ...], ...]
    references: frozenset[str]
    numbers: tuple[str, ...]
    mentions_return: bool
    words: frozenset[str]


@lru_cache(maxsize=10_000)
def scan(incoming: IncomingTransfer) -> Scan:
    """Read a transfer's text, structured and unstructured, before any invoice is known."""
    lines = [normalised(text) for text in incoming.texts]
    values = [(normalised(field.value), field.kind) for field in incoming.structured]
    whole, glued = " ".join(lines), "".join(lines)
    fields = [
        Field(reference, without_zeros(reference.value), kind, fits_account(reference, account))
        for value, kind in values
        for account in [incoming.receiving]
        if (reference := check_reference(value)) is not None
    ]
    free = (*find_references(whole), *find_references(glued))
    spellings = tuple(_spellings(lines))
    references = frozenset(_references([*[field.reference for field in fields], *free], spellings))
    speaks_of_return = mentions_return(whole)
    words = number_words(whole)
    numbers = tuple(
        "-".join(words[start : start + count])
        for start in range(len(words))
        for count in range(1, WORDS_OF_NUMBER + 1)
    )
    all_words = words_of(whole) | words_of(glued)
    return Scan(tuple(fields), free, spellings, references, numbers, speaks_of_return, all_words)


def _references(
    found: Iterable[CheckedReference], spellings: Iterable[tuple[tuple[str, str], ...]]
) -> Iterator[str]:
    for reference in found:
        yield reference.value
        if reference.scheme is Scheme.RF and not reference.is_valid:
            yield from _corrections(reference.value)
    for of_place in spellings:
        yield from [spelling for spelling, _ in of_place]


def read(incoming: IncomingTransfer, open_items: OpenItems) -> RemittanceText:
    """Read a transfer's text, structured and unstructured."""
    text = scan(incoming)
    structured, at_odds, others = _structured(text, incoming, open_items)
    issued = structured | _issued_in(text, open_items)
    strange = [
        reference
        for reference in (*others, *text.free)
        if reference.scheme is Scheme.RF and not _is_part(reference.value, issued)
    ]
    invalid = _unique([reference.value for reference in strange if not reference.is_valid])
    return RemittanceText(
        named=_unique(issued.values()),
        is_structured=bool(structured),
        foreign=_unique([reference.value for reference in strange if reference.is_valid]),
        mistyped=tuple((value, _near(value, open_items)) for value in invalid),
        at_odds=tuple(at_odds),
        mentions_return=text.mentions_return,
        numbered=_numbered(text, open_items),
        words=text.words,
    )


def _structured(
    text: Scan, incoming: IncomingTransfer, open_items: OpenItems
) -> tuple[dict[str, IssuedInvoice], list[str], list[CheckedReference]]:
    """Structured references that we issued, doubts about them, and others' references."""
    issued: dict[str, IssuedInvoice] = {}
    at_odds, others = [], []
    for reference, bare, kind, fits in text.fields:
        invoice = open_items.by_reference.get(bare)
        if invoice is None:
            others.append(reference)
            continue
        issued[reference.value] = invoice
        if kind.upper() not in _KIND_OF_RF:
            at_odds.append(f"{reference.value} is marked {kind}, not SCOR")
        if not fits:
            at_odds.append(f"{reference.value} does not go with the account {incoming.receiving}")
    return issued, at_odds, others


def _issued_in(text: Scan, open_items: OpenItems) -> dict[str, IssuedInvoice]:
    """References that we issued and that stand in the text as whole tokens, as written there.

    They may have blanks in them, and more or fewer zeros. A line may end inside a reference,
    because formats break lines where they are full.
    """
    issued = [_issued(spellings, open_items) for spellings in text.spellings]
    return dict(spelling for spelling in issued if spelling is not None)


def _spellings(lines: list[str]) -> Iterator[tuple[tuple[str, str], ...]]:
    """At each place where a reference may begin as a token, its possible spellings."""
    letters, starts_token = _letters(lines)
    for start in _places_of_rf(letters):
        if starts_token[start] and (found := _digits_from(start, letters, starts_token)):
            yield tuple((spelling, without_zeros(spelling)) for spelling in found)


def _digits_from(start: int, letters: str, starts_token: list[bool]) -> list[str]:
    """Each reference of digits that may begin here and end with a token, shortest first."""
    digits = _RF_DIGITS.match(letters, start)
    if digits is None:
        return []
    ends = range(start + SHORTEST, digits.end() + 1)
    return [letters[start:end] for end in ends if end == len(letters) or starts_token[end]]


def _issued(
    spellings: Sequence[tuple[str, str]], open_items: OpenItems
) -> tuple[str, IssuedInvoice] | None:
    """The spelling that we issued: the exact one, else the longest one with right check digits.

    Any shorter one may be the beginning of a reference that is not ours.
    """
    issued = [(spelling, open_items.by_reference.get(bare)) for spelling, bare in spellings]
    for spelling, invoice in issued:
        if invoice is not None and invoice.reference == spelling:
            return spelling, invoice
    valid = [pair for pair in issued if _is_valid(pair[0])]
    if not valid or valid[-1][1] is None:
        return None
    return valid[-1][0], valid[-1][1]


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


def _is_part(value: str, written: Iterable[str]) -> bool:
    """Whether it is one of our references with a word glued to it, or cut at the end of a line."""
    return any(value.startswith(own) or own.startswith(value[:SURE]) for own in written)


def _near(value: str, open_items: OpenItems) -> tuple[IssuedInvoice, ...]:
    """Invoices whose reference differs from this by one typing error."""
    issued = open_items.by_reference
    spellings = {without_zeros(spelling) for spelling in _corrections(value)}
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


def _numbered(text: Scan, open_items: OpenItems) -> tuple[IssuedInvoice, ...]:
    """Invoices whose number stands in the text as words of its own, with more or fewer zeros."""
    issued = open_items.by_number
    return tuple({issued[spelling]: None for spelling in text.numbers if spelling in issued})


def mentions_return(text: str) -> bool:
    """Whether a normalised text speaks of returned money; "nothing rejected" does not."""
    return bool(_RETURN_WORDS.search(_NO_RETURN.sub(" ", text)))


_T = TypeVar("_T")


def _unique(values: Iterable[_T]) -> tuple[_T, ...]:
    return tuple(dict.fromkeys(values))
