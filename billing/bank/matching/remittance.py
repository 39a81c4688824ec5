"""What a transfer's text says: references that we issued, others', mistyped ones, invoice numbers.

A check digit is no proof; the proof is that the whole token is one that we issued.
"""

import re
import string
import unicodedata
from collections.abc import Iterable, Iterator
from typing import NamedTuple, TypeVar

from billing.bank.matching.types import Incoming, Invoice, OpenItems
from billing.statements.references import (
    CheckedReference,
    Scheme,
    check_reference,
    find_references,
    fits_account,
)

#: Characters of a transfer's text that are looked at; the longest real one seen had some 2,000.
MAX_TEXT = 10_000
#: So many first characters of a reference are taken for that reference, cut or run on.
SURE = 8
#: Words by which payers and banks say that money comes back, in the languages of SEPA.
_RETURN_WORDS = re.compile(
    r"\b(RETURN(ED)?|REFUND(ED)?|REVERSAL|REVERSED|CHARGEBACK|REJECT(ED|ION)?|RECALL(ED)?|STORNO"
    r"|R(UE|Ü)CKLASTSCHRIFT|R(UE|Ü)CK(UE|Ü)BERWEISUNG|R(UE|Ü)CKGABE|R(UE|Ü)CKZAHLUNG|RETOURE"
    r"|ERSTATTUNG|REMBOURSEMENT|REJET|RETOUR|STORNERING|RIMBORSO|DEVOLUCI[OÓ]N|TERUGBETALING|ZWROT)\b"
)
_KIND_OF_RF = frozenset({"", "SCOR", "RF"})


class Said(NamedTuple):
    """What the text says.

    `structured`, `in_text`: invoices whose reference is named there. `foreign`: references of
    good form that are not ours. `mistyped`: bad ones, with the invoices that they may mean.
    `numbered`: invoices whose number stands in the text. `at_odds`: why a structured reference
    does not agree with its type or with the account that received it.
    """

    structured: tuple[Invoice, ...]
    in_text: tuple[Invoice, ...]
    foreign: tuple[str, ...]
    mistyped: tuple[tuple[str, tuple[Invoice, ...]], ...]
    numbered: tuple[Invoice, ...]
    at_odds: tuple[str, ...]
    speaks_of_return: bool

    @property
    def named(self) -> tuple[Invoice, ...]:
        """Every invoice whose reference is named, each once."""
        return _once([*self.structured, *self.in_text])


def normalised(text: str) -> str:
    """NFKC, upper case, single blanks; no control, bidirectional or zero-width characters."""
    plain = unicodedata.normalize("NFKC", text[:MAX_TEXT]).upper()
    kept = "".join(
        " " if each.isspace() else each
        for each in plain
        if each.isspace() or unicodedata.category(each)[0] != "C"
    )
    return " ".join(kept.split())


def read(incoming: Incoming, open_items: OpenItems) -> Said:
    """What a transfer says about what it pays."""
    lines = [normalised(text) for text in incoming.texts]
    structured, at_odds, others = _structured(incoming, open_items)
    in_text = _issued_in(lines, open_items)
    whole = " ".join(lines)
    found = [*others, *find_references(whole), *find_references("".join(lines))]
    ours = [invoice.reference for invoice in (*structured, *in_text)]
    strange = [one for one in found if one.scheme is Scheme.RF and not _is_part(one.value, ours)]
    bad = [one.value for one in strange if not one.is_valid]
    return Said(
        structured=structured,
        in_text=in_text,
        foreign=_once([one.value for one in strange if one.is_valid]),
        mistyped=tuple((value, _near(value, open_items)) for value in _once(bad)),
        numbered=_numbered(whole, open_items),
        at_odds=at_odds,
        speaks_of_return=bool(_RETURN_WORDS.search(whole)),
    )


def _structured(
    incoming: Incoming, open_items: OpenItems
) -> tuple[tuple[Invoice, ...], tuple[str, ...], list[CheckedReference]]:
    invoices, at_odds, others = [], [], []
    for reference in incoming.structured:
        found = check_reference(normalised(reference.value))
        if found is None:
            continue
        invoice = open_items.by_reference.get(found.value)
        if invoice is None:
            others.append(found)
            continue
        invoices.append(invoice)
        if reference.kind.upper() not in _KIND_OF_RF:
            at_odds.append(f"{found.value} is marked {reference.kind}, not SCOR")
        if not fits_account(found, incoming.receiving):
            at_odds.append(f"{found.value} does not go with the account {incoming.receiving}")
    return _once(invoices), tuple(at_odds), others


def _issued_in(lines: list[str], open_items: OpenItems) -> tuple[Invoice, ...]:
    """Issued references that stand in the text as whole tokens, whatever blanks are in them.

    A line may end inside a reference, for formats break lines where they are full.
    """
    bare, begins = _bare(lines)
    found = []
    for length in sorted(open_items.lengths):
        for at in _starts(bare):
            end = at + length
            if begins[at] and (end >= len(bare) or begins[end]):
                invoice = open_items.by_reference.get(bare[at:end])
                if invoice is not None:
                    found.append(invoice)
    return _once(found)


def _starts(bare: str) -> Iterator[int]:
    at = bare.find("RF")
    while at >= 0:
        yield at
        at = bare.find("RF", at + 1)


def _bare(lines: list[str]) -> tuple[str, list[bool]]:
    """Letters and digits alone, and whether a new token may begin at each of them."""
    kept: list[str] = []
    begins: list[bool] = []
    for line in lines:
        is_new = True
        for each in line:
            if each.isalnum():
                kept.append(each)
                begins.append(is_new)
                is_new = False
            else:
                is_new = True
    return "".join(kept), begins


def _is_part(value: str, ours: list[str]) -> bool:
    """Whether it is one of ours with the next word glued to it, or broken by the end of a line."""
    return any(value.startswith(one) or one.startswith(value[:SURE]) for one in ours)


def _near(value: str, open_items: OpenItems) -> tuple[Invoice, ...]:
    """Issued references that one slip of the hand makes into this."""
    near = {open_items.by_reference[one] for one in _slips(value) if one in open_items.by_reference}
    return tuple(sorted(near, key=lambda invoice: invoice.id))


def _slips(value: str) -> Iterator[str]:
    letters = string.digits + "RF"
    yield value[:2] + value[2:].replace("O", "0").replace("I", "1").replace("L", "1")
    for at in range(len(value) + 1):
        yield value[:at] + value[at + 1 :]
        yield value[:at] + value[at + 1 : at + 2] + value[at : at + 1] + value[at + 2 :]
        for letter in letters:
            yield value[:at] + letter + value[at + 1 :]
            yield value[:at] + letter + value[at:]


def _numbered(text: str, open_items: OpenItems) -> tuple[Invoice, ...]:
    """Invoices whose number stands in the text as a token of its own."""
    tokens = re.findall(r"[A-Z0-9]+(?:[-/][A-Z0-9]+)*", text)
    return _once([open_items.by_number[one] for one in tokens if one in open_items.by_number])


_T = TypeVar("_T")


def _once(values: Iterable[_T]) -> tuple[_T, ...]:
    return tuple(dict.fromkeys(values))
