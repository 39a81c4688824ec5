"""What field 86 of an MT940 says about a payment, in the three dialects that most banks speak.

Else as plain lines.
"""

import re
from functools import lru_cache
from typing import NamedTuple

from billing.statements.canonical import Detail, Reference
from billing.statements.limits import MAX_SUBFIELDS
from billing.statements.references import meant, plain_iban

# Germany and neighbours: business code, then ?20 to ?29 and ?60 to ?63 purpose, ?30 bank, ?31
# account, ?32 and ?33 name (DFÜ agreement, annex 3, chapter 8). The separator is the bank's choice.
_NUMBERED = re.compile(r"[0-9]{3}([^A-Za-z0-9\s])(?=[0-9]{2})")
_PURPOSE = frozenset(
    {*(f"{code}" for code in range(20, 30)), *(f"{code}" for code in range(60, 64))}
)
_CODES = frozenset(f"{code:02d}" for code in range(100))
_TAGS = ("EREF", "KREF", "MREF", "CRED", "DEBT", "COAM", "OAMT", "SVWZ", "ABWA", "ABWE")
_SEPA = re.compile(rf"\b({'|'.join(_TAGS)})\+")
_SEPA_STARTS = {f"{tag}+": tag for tag in _TAGS}
# The payer's text begins here; what looks like a tag behind it is the payer's, except the two that
# may follow.
_TEXT, _BEHIND_TEXT = "SVWZ", frozenset({"ABWA", "ABWE"})
_IN_TEXT = frozenset({_TEXT, *_BEHIND_TEXT})
# The Netherlands and some others: /TAG/value, in any order.
_SLASHED = re.compile(
    r"/(EREF|REMI|NAME|IBAN|BIC|TRTP|MARF|CSID|BENM|ORDP|CNTP|ISDT|RTRN|PREF|CREF|KREF|PURP|ULTD|ULTB|ULTC|TRCD|SVCL|NRTX)/"
)
_SLASHED_START = re.compile(
    r".{0,40}?/(?:EREF|REMI|TRTP|BENM|ORDP|CNTP|PREF|RTRN|MARF)/", re.DOTALL
)


# What field 86 says: the only detail of the entry, and a note on the entry. Lines of the remittance
# are kept apart, because a bank may break a reference between two.
Purpose = tuple[Detail, str | None]


def read_purpose(lines: list[str], amount_minor: int, currency: str) -> Purpose:
    """Field 86 from its lines, with the amount of its field 61. Reads anything.

    What has no known form is remittance text as it stands.
    """
    joined = "".join(lines)
    numbered = _NUMBERED.match(joined)
    if numbered:
        return _read_numbered(joined, numbered[1], amount_minor, currency)
    if _SLASHED_START.match(joined):
        return _read_slashed(joined, amount_minor, currency)
    return Detail(amount_minor, currency, remittance=_kept(lines)), None


def _kept(lines: list[str]) -> tuple[str, ...]:
    return tuple([plain for line in lines if (plain := line.strip())])


@lru_cache(maxsize=64)
def _subfields(separator: str) -> re.Pattern[str]:
    return re.compile(re.escape(separator) + "([0-9]{2})")


class _Places(NamedTuple):
    """Which subfields are the purpose, and where the others stand: the first counts of two alike.

    Where there is none, it is the place behind the last.
    """

    purpose: tuple[int, ...]
    note: int
    bank: int
    account: int
    name: int
    more_name: int
    reason: int


def _places(codes: tuple[str, ...]) -> _Places:
    purpose = tuple([place for place, code in enumerate(codes) if code in _PURPOSE])
    others = ("00", "30", "31", "32", "33", "34")
    return _Places(
        purpose, *[codes.index(code) if code in codes else len(codes) for code in others]
    )


# A bank writes its subfields in the same order again and again.
_USUAL_SUBFIELDS = 32
_known_places = lru_cache(maxsize=1024)(_places)


def _read_numbered(joined: str, separator: str, amount_minor: int, currency: str) -> Purpose:
    texts = joined.split(separator, _USUAL_SUBFIELDS + 1)
    del texts[0]  # the business code
    codes = tuple([text[:2] for text in texts])
    if len(codes) <= _USUAL_SUBFIELDS and _CODES.issuperset(codes):
        texts = [text[2:] for text in texts]
        places = _known_places(codes)
    else:  # a separator stands in a text, too
        parts = _subfields(separator).split(joined, MAX_SUBFIELDS)
        codes, texts = tuple(parts[1::2]), parts[2::2]
        places = _places(codes)
    texts.append("")
    purpose, note, bank, number, name, more_name, cause = places
    tagged = _sepa_tags([texts[place] for place in purpose])
    iban, account = _account(texts[number])
    reason = texts[cause].strip(" ")
    detail = Detail(  # by place: names would double what a detail costs
        amount_minor,
        currency,
        meant("".join(tagged["EREF"])) if "EREF" in tagged else None,
        None,
        None,
        None,
        meant("".join(tagged["KREF"])) if "KREF" in tagged else None,
        meant("".join(tagged["MREF"])) if "MREF" in tagged else None,
        (),
        _kept(tagged[""] + tagged[_TEXT] if _TEXT in tagged else tagged[""]),
        (texts[name] + texts[more_name]).strip() or None,
        iban,
        account,
        texts[bank].strip(" ") or None,
        meant("".join(tagged["ABWA"])) if "ABWA" in tagged else None,
        reason if reason.strip("0") else None,  # 000 is no reason
    )
    return detail, texts[note].strip(" ") or None


def _account(text: str | None) -> tuple[str | None, str | None]:
    """The other side's account: its IBAN, or else its number as it stands."""
    account = text.strip(" ") if text else None
    iban = plain_iban(account)
    return iban, None if iban else account or None


def _sepa_tags(pieces: list[str]) -> dict[str, list[str]]:
    """The pieces by SEPA tag; a value runs on into the next piece.

    Text before any tag has the empty tag.
    """
    tag = ""
    texts: list[str] = []
    found = {tag: texts}
    for piece in pieces:
        if "+" not in piece:
            texts.append(piece)
            continue
        begun = _SEPA_STARTS.get(piece[:5])
        if begun and tag not in _IN_TEXT and piece.find("+", 5) < 0:
            tag = begun  # as nearly all are: no pattern needed
            texts = found.setdefault(tag, [])
            texts.append(piece[5:])
            continue
        start = 0
        for match in _SEPA.finditer(piece):
            name = match[1]
            if tag in _IN_TEXT and name not in _BEHIND_TEXT:
                continue
            begin, end = match.span()
            if begin > start:
                texts.append(piece[start:begin])
            tag, start = name, end
            texts = found.setdefault(tag, [])
        texts.append(piece[start:])
    return found


def _read_slashed(joined: str, amount_minor: int, currency: str) -> Purpose:
    head, *parts = _SLASHED.split(joined)
    values: dict[str, str] = {}
    for tag, text in zip(parts[::2], parts[1::2], strict=True):
        values.setdefault(tag, text.strip("/ "))
    name, iban, bank = values.get("NAME"), values.get("IBAN"), values.get("BIC")
    if values.get("CNTP"):
        iban, bank, name = (*values["CNTP"].split("/"), "", "", "")[:3]
    remittance, references = _remittance_of(values.get("REMI", ""))
    account_iban, account = _account(iban)
    detail = Detail(
        amount_minor,
        currency,
        remittance=_kept([head, *remittance]),
        references=references,
        end_to_end_id=meant(values.get("EREF")),
        instruction_id=meant(values.get("KREF") or values.get("PREF")),
        mandate_id=meant(values.get("MARF")),
        counterparty=name or None,
        counterparty_iban=account_iban,
        counterparty_account=account,
        counterparty_bank=bank or None,
        ultimate_counterparty=values.get("ULTD") or values.get("ULTB") or None,
        return_reason=values.get("RTRN") or None,
    )
    return detail, None


def _remittance_of(text: str) -> tuple[list[str], tuple[Reference, ...]]:
    """The value of /REMI/: free text, or a structured reference as STRD/CUR/reference."""
    if text.startswith("STRD/"):
        _, kind, *rest = text.split("/")
        return [], (Reference(kind, "/".join(rest).strip("/ ")),)
    return [re.sub(r"^(?:USTD|UNST)/+", "", text)], ()


def read_ns(lines: list[str], amount_minor: int, currency: str) -> Purpose:
    """The German field NS: two digits and a value a line.

    01 to 14 purpose, 15 and 16 name, 33 bank, 34 account.
    """
    values = [(line[:2], line[2:].strip()) for line in lines]
    purpose = [text for code, text in values if code.isdigit() and 1 <= int(code) <= 14]
    found = dict(reversed(values))
    detail = Detail(
        amount_minor,
        currency,
        remittance=_kept(purpose),
        counterparty=" ".join(text for code, text in values if code in {"15", "16"}) or None,
        counterparty_account=found.get("34"),
        counterparty_bank=found.get("33"),
    )
    return detail, found.get("17")
