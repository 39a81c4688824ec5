"""Payment references and IBANs: find, normalise and check them.

A valid check digit is no proof, for 1 % of random texts pass modulo 97 and 10 % pass modulo 10. The
proof is that we issued the reference.
"""

import re
from collections.abc import Callable
from enum import StrEnum
from functools import lru_cache
from typing import NamedTuple

from stdnum import iso11649, numdb
from stdnum.be import ogm_vcs
from stdnum.ch import esr
from stdnum.exceptions import ValidationError
from stdnum.iso7064 import mod_97_10

from billing.statements.limits import MAX_CACHED_CHARS

# Words for "no reference" in fields that must have one (EPC guidelines, SWIFT field 61).
_PLACEHOLDERS = frozenset(
    {"NOTPROVIDED", "NOT PROVIDED", "NOTAVAILABLE", "NONREF", "NON REF", "NOREF"}
    | {"NONE", "N/A", "NA"}
)
_BLANKS = re.compile(r"\s+")
_IBAN_FORM = re.compile(r"[A-Z]{2}[0-9]{2}[A-Z0-9]{11,30}")
_SHORTEST_IBAN = 15
# The registry of ISO 13616 that python-stdnum carries: DE -> 8!n10!n.
_IBAN_COUNTRIES = numdb.get("iban")
_BBAN_PART = re.compile(r"([0-9]+)!")
#: The note on an account number that the bank states as an IBAN but cut short.
IBAN_CUT = "the counterparty's account looks like an IBAN of the wrong length: the bank cut it"
# Swiss QR-IBANs have an institution number from 30000 to 31999 (SIX, Swiss implementation
# guidelines QR-bill).
_QR_IID = range(30_000, 32_000)


class Scheme(StrEnum):
    """The kinds of structured references with check digits."""

    RF = "RF"  # ISO 11649 creditor reference
    OGM = "OGM"  # Belgium, gestructureerde mededeling, VCS
    QRR = "QRR"  # Switzerland, 27 digits; 26 and a check digit, as the former ESR
    FI = "FI"  # Finland, viitenumero


class CheckedReference(NamedTuple):
    """A reference as written and as normalised; `is_valid` is False if it was mistyped."""

    scheme: Scheme
    value: str
    is_valid: bool
    written: str


def drop_placeholder(text: str | None) -> str | None:
    """The stripped text, or None if it is empty or a placeholder such as NOTPROVIDED."""
    if text is None:
        return None
    stripped = text.strip()
    return None if not stripped or stripped.upper() in _PLACEHOLDERS else stripped


def is_usable_bank_id(text: str | None) -> bool:
    """Whether a bank's reference can tell entries apart.

    A placeholder, a single repeated character and 1000...0 can't.
    """
    reference = drop_placeholder(text)
    if reference is None or len(set(reference)) == 1:
        return False
    return reference.rstrip("0") != "1"


def plain_iban(text: str | None) -> str | None:
    """The text in upper case without blanks if it has the form of an IBAN, else None.

    Neither its check digits nor its length are tested: see `party_account`.
    """
    if text is None or not _SHORTEST_IBAN <= len(text) <= MAX_CACHED_CHARS:
        return None
    return _iban_of(text)


@lru_cache(maxsize=4096)
def _iban_of(text: str) -> str | None:
    plain = "".join(text.split()).upper()
    return plain if _IBAN_FORM.fullmatch(plain) else None


@lru_cache(maxsize=256)
def _iban_length(country: str) -> int | None:
    """The length of a country's IBANs by the registry of ISO 13616, None if it is not there."""
    _, facts = _IBAN_COUNTRIES.info(country)[0]
    parts = _BBAN_PART.findall(facts.get("bban", ""))
    return 4 + sum(map(int, parts)) if parts else None


def is_cut_iban(text: str | None) -> bool:
    """Whether a text looks like an IBAN and is shorter or longer than its country's IBANs."""
    plain = plain_iban(text)
    if plain is None:
        return False
    length = _iban_length(plain[:2])
    return length is not None and length != len(plain)


class PartyAccount(NamedTuple):
    """The account of a counterparty: an IBAN, or else another number with a note on it."""

    iban: str | None = None
    other: str | None = None
    note: str | None = None


def party_account(text: str | None) -> PartyAccount:
    """Read the account of a counterparty; an IBAN that the bank cut is a number with a note."""
    if not text:
        return _NO_ACCOUNT
    if len(text) > MAX_CACHED_CHARS:
        return PartyAccount(None, text.strip() or None)
    return _party_account(text)


_NO_ACCOUNT = PartyAccount()


@lru_cache(maxsize=4096)
def _party_account(text: str) -> PartyAccount:
    number = text.strip()
    if not number:
        return _NO_ACCOUNT
    if is_cut_iban(number):
        return PartyAccount(None, number, IBAN_CUT)
    iban = plain_iban(number)
    return PartyAccount(iban) if iban else PartyAccount(None, number)


def is_qr_iban(iban: str) -> bool:
    """Whether an IBAN is a Swiss or Liechtenstein QR-IBAN, which takes QRR and nothing else."""
    return iban[:2] in {"CH", "LI"} and iban[4:9].isdigit() and int(iban[4:9]) in _QR_IID


def fits_account(reference: CheckedReference, iban: str) -> bool:
    """Whether the receiving account takes the scheme: QRR needs a QR-IBAN, RF another."""
    if reference.scheme is Scheme.QRR:
        return is_qr_iban(iban)
    return reference.scheme is not Scheme.RF or not is_qr_iban(iban)


def is_valid_fi(digits: str) -> bool:
    """Whether the digits are a Finnish viitenumero with the right check digit (Finance Finland).

    It has 4 to 20 digits, weighed 7-3-1 from the right; the last one completes the sum to a ten.
    """
    if not re.fullmatch(r"[0-9]{4,20}", digits):
        return False
    weighed = sum(
        int(digit) * (7, 3, 1)[place % 3] for place, digit in enumerate(reversed(digits[:-1]))
    )
    return -weighed % 10 == int(digits[-1])


def _check_with(validate: Callable[[str], str]) -> Callable[[str], bool]:
    def check(text: str) -> bool:
        try:
            validate(text)
        except (ValidationError, ValueError):
            return False
        return True

    return check


_is_valid_rf = _check_with(iso11649.validate)
_is_valid_ogm = _check_with(ogm_vcs.validate)
_is_valid_qrr = _check_with(esr.validate)

_CHECKS: dict[Scheme, tuple[re.Pattern[str], Callable[[str], bool]]] = {
    Scheme.RF: (re.compile(r"RF[0-9]{2}[A-Z0-9]{1,21}"), _is_valid_rf),
    Scheme.QRR: (re.compile(r"[0-9]{27}"), _is_valid_qrr),
    Scheme.OGM: (re.compile(r"[0-9]{12}"), _is_valid_ogm),
    Scheme.FI: (re.compile(r"[0-9]{4,20}"), is_valid_fi),
}


def check_reference(text: str, *schemes: Scheme) -> CheckedReference | None:
    """Read a text as a reference of one of the schemes, by default RF, QRR or OGM.

    A text that fits several forms (12 digits: OGM or FI) becomes the first with valid check digits,
    else the first. None if it fits no form.
    """
    plain = _BLANKS.sub("", text).upper()
    first: CheckedReference | None = None
    for scheme in schemes or (Scheme.RF, Scheme.QRR, Scheme.OGM):
        form, is_valid = _CHECKS[scheme]
        bare = re.sub(r"[+*/]", "", plain) if scheme is Scheme.OGM else plain
        if form.fullmatch(bare):
            reference = CheckedReference(scheme, bare, is_valid(bare), text)
            if reference.is_valid:
                return reference
            first = first or reference
    return first


# Forms that are recognisable in free text: RF and digits, the Belgian frame, 27 digits in a row or
# in groups of five.
_IN_TEXT = (
    (
        Scheme.RF,
        re.compile(r"(?<![A-Z0-9])RF[0-9]{2}(?: ?[A-Z0-9]{4}){0,5} ?[A-Z0-9]{1,4}(?![A-Z0-9])"),
    ),
    (
        Scheme.OGM,
        re.compile(r"(?:\+{3}|\*{3}) ?[0-9]{3} ?/ ?[0-9]{4} ?/ ?[0-9]{5} ?(?:\+{3}|\*{3})"),
    ),
    (Scheme.QRR, re.compile(r"(?<![0-9])[0-9]{2}(?: ?[0-9]{5}){5}(?![0-9])")),
)


def find_references(text: str) -> tuple[CheckedReference, ...]:
    """Find the references in free text, mistyped ones included.

    RF in groups of four may run into the payer's next word; the longest valid part of it counts.
    """
    upper = text.upper()
    matches = [(scheme, match[0]) for scheme, form in _IN_TEXT for match in form.finditer(upper)]
    references = [
        _longest_valid(written) if scheme is Scheme.RF else check_reference(written, scheme)
        for scheme, written in matches
    ]
    return tuple(reference for reference in references if reference is not None)


def _longest_valid(written: str) -> CheckedReference | None:
    words = written.split(" ")
    for end in range(len(words), 0, -1):
        reference = check_reference(" ".join(words[:end]), Scheme.RF)
        if reference is not None and reference.is_valid:
            return reference
    return check_reference(written, Scheme.RF) or check_reference(words[0], Scheme.RF)


#: Digits of our references after RF and the check digits: enough for ten thousand million.
_OWN_DIGITS = 10


def creditor_reference(number: int) -> str:
    """The creditor reference (ISO 11649) of the n-th invoice: RF18 0000000001 without the blank.

    All have one length, so that no reference is the beginning of another.
    """
    body = f"{number:0{_OWN_DIGITS}d}"
    assert len(body) == _OWN_DIGITS, "a reference has room for ten digits"
    return f"RF{mod_97_10.calc_check_digits(f'{body}RF')}{body}"


def without_zeros(reference: str) -> str:
    """A creditor reference without zeros in front of its body: one spelling for all.

    They do not change the check digits, so banks add and remove them freely.
    """
    return reference[:4] + reference[4:].lstrip("0")
