"""The references and invoice numbers in a transfer's text: ours, others', mistyped ones.

Check digits prove nothing. The proof is that the whole token is a reference that we issued.
"""

import re
import string
import unicodedata
from collections.abc import Iterable, Iterator
from typing import NamedTuple, TypeVar

from billing.bank.matching.open_items import IssuedInvoice, OpenItems
from billing.bank.matching.types import IncomingTransfer
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
#: Words by which payers and banks mark returned money, in the languages of SEPA.
_RETURN_WORDS = re.compile(
    r"\b(RETURN(ED)?|REFUND(ED)?|REVERSAL|REVERSED|CHARGEBACK|REJECT(ED|ION)?|RECALL(ED)?|STORNO"
    r"|R(UE|Ü)CKLASTSCHRIFT|R(UE|Ü)CK(UE|Ü)BERWEISUNG|R(UE|Ü)CKGABE|R(UE|Ü)CKZAHLUNG|RETOURE"
    r"|ERSTATTUNG|REMBOURSEMENT|REJET|RETOUR|STORNERING|RIMBORSO|DEVOLUCI[OÓ]N|TERUGBETALING|ZWROT)\b"
)
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
    """

    named: tuple[IssuedInvoice, ...]
    is_structured: bool
    foreign: tuple[str, ...]
    mistyped: tuple[tuple[str, tuple[IssuedInvoice, ...]], ...]
    numbered: tuple[IssuedInvoice, ...]
    at_odds: tuple[str, ...]
    mentions_return: bool


def normalised(text: str) -> str:
    """NFKC, upper case, single blanks; no control, bidirectional or zero-width characters."""
    plain = unicodedata.normalize("NFKC", text[:MAX_TEXT]).upper()
    kept = "".join(
        " " if character.isspace() else character
        for character in plain
        if character.isspace() or unicodedata.category(character)[0] != "C"
    )
    return " ".join(kept.split())


def read(incoming: IncomingTransfer, open_items: OpenItems) -> RemittanceText:
    """Read a transfer's text, structured and unstructured."""
    lines = [normalised(text) for text in incoming.texts]
    whole = " ".join(lines)
    structured, at_odds, references = _structured(incoming, open_items)
    references += [*find_references(whole), *find_references("".join(lines))]
    named = _unique([*structured, *_issued_in(lines, open_items)])
    ours = [invoice.reference for invoice in named]
    strange = [
        reference
        for reference in references
        if reference.scheme is Scheme.RF and not _is_part(reference.value, ours)
    ]
    invalid = _unique([reference.value for reference in strange if not reference.is_valid])
    return RemittanceText(
        named=named,
        is_structured=bool(structured),
        foreign=_unique([reference.value for reference in strange if reference.is_valid]),
        mistyped=tuple((value, _near(value, open_items)) for value in invalid),
        numbered=_numbered(whole, open_items),
        at_odds=tuple(at_odds),
        mentions_return=bool(_RETURN_WORDS.search(whole)),
    )


def _structured(
    incoming: IncomingTransfer, open_items: OpenItems
) -> tuple[list[IssuedInvoice], list[str], list[CheckedReference]]:
    """The invoices of the structured references, doubts about them, and others' references."""
    invoices, at_odds, others = [], [], []
    for field in incoming.structured:
        reference = check_reference(normalised(field.value))
        if reference is None:
            continue
        invoice = open_items.by_reference.get(reference.value)
        if invoice is None:
            others.append(reference)
            continue
        invoices.append(invoice)
        if field.kind.upper() not in _KIND_OF_RF:
            at_odds.append(f"{reference.value} is marked {field.kind}, not SCOR")
        if not fits_account(reference, incoming.receiving):
            at_odds.append(f"{reference.value} does not go with the account {incoming.receiving}")
    return invoices, at_odds, others


def _issued_in(lines: list[str], open_items: OpenItems) -> list[IssuedInvoice]:
    """Issued references that stand in the text as whole tokens, with blanks in them or not.

    A line may end inside a reference, because formats break lines where they are full.
    """
    letters, starts_token = _letters(lines)
    invoices = []
    for length in sorted(open_items.lengths):
        for start in _places_of_rf(letters):
            end = start + length
            if starts_token[start] and (end >= len(letters) or starts_token[end]):
                invoice = open_items.by_reference.get(letters[start:end])
                if invoice is not None:
                    invoices.append(invoice)
    return invoices


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


def _is_part(value: str, ours: list[str]) -> bool:
    """Whether it is one of our references with a word glued to it, or cut at the end of a line."""
    return any(value.startswith(own) or own.startswith(value[:SURE]) for own in ours)


def _near(value: str, open_items: OpenItems) -> tuple[IssuedInvoice, ...]:
    """Invoices whose reference differs from this by one typing error."""
    issued = open_items.by_reference
    near = {issued[spelling] for spelling in _corrections(value) if spelling in issued}
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
    """Invoices whose number stands in the text as a token of its own."""
    tokens = re.findall(r"[A-Z0-9]+(?:[-/][A-Z0-9]+)*", text)
    issued = open_items.by_number
    return _unique([issued[token] for token in tokens if token in issued])


_T = TypeVar("_T")


def _unique(values: Iterable[_T]) -> tuple[_T, ...]:
    return tuple(dict.fromkeys(values))
