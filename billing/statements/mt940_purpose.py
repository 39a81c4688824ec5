"""What field 86 of an MT940 says about a payment, in the three dialects that most banks speak.

Else as plain lines.
"""

import re
from collections.abc import Iterable
from functools import lru_cache
from itertools import chain
from typing import NamedTuple

from billing.statements.canonical import Detail, Reference
from billing.statements.references import meant, plain_iban

# Germany and neighbours: business code, then ?20 to ?29 and ?60 to ?63 purpose, ?30 bank, ?31
# account, ?32 and ?33 name (DFÜ agreement, annex 3, chapter 8). The separator is the bank's choice.
_NUMBERED = re.compile(r"[0-9]{3}([^A-Za-z0-9\s])(?=[0-9]{2})")
_PURPOSE = frozenset(
    {*(f"{code}" for code in range(20, 30)), *(f"{code}" for code in range(60, 64))}
)
_SEPA = re.compile(r"\b(EREF|KREF|MREF|CRED|DEBT|COAM|OAMT|SVWZ|ABWA|ABWE)\+")
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


class Purpose(NamedTuple):
    """What field 86 says: the only detail of the entry, and a note on the entry.

    Lines of the remittance are kept apart, because a bank may break a reference between two.
    """

    detail: Detail
    note: str | None = None


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
    return Purpose(Detail(amount_minor, currency, remittance=_kept(lines)))


def _kept(lines: Iterable[str]) -> tuple[str, ...]:
    return tuple([plain for line in lines if (plain := line.strip())])


@lru_cache(maxsize=64)
def _subfields(separator: str) -> re.Pattern[str]:
    return re.compile(re.escape(separator) + "([0-9]{2})")


def _read_numbered(joined: str, separator: str, amount_minor: int, currency: str) -> Purpose:
    parts = _subfields(separator).split(joined)
    values: dict[str, str] = {}
    pieces: list[str] = []
    for code, text in zip(parts[1::2], parts[2::2], strict=True):
        if code in _PURPOSE:
            pieces.append(text)
        elif code not in values:
            values[code] = text
    tagged = _sepa_tags(pieces)
    value = values.get
    iban, account = _account(value("31"))
    reason = value("34", "").strip(" ")
    detail = Detail(  # by place: names would double what a detail costs
        amount_minor,
        currency,
        _value(tagged, "EREF"),
        None,
        None,
        None,
        _value(tagged, "KREF"),
        _value(tagged, "MREF"),
        (),
        _kept(chain(tagged.get("", ()), tagged.get(_TEXT, ()))),
        (value("32", "") + value("33", "")).strip() or None,
        iban,
        account,
        value("30", "").strip(" ") or None,
        _value(tagged, "ABWA"),
        reason if reason.strip("0") else None,  # 000 is no reason
    )
    return Purpose(detail, value("00", "").strip(" ") or None)


def _value(tagged: dict[str, list[str]], tag: str) -> str | None:
    return meant("".join(tagged[tag])) if tag in tagged else None


def _account(text: str | None) -> tuple[str | None, str | None]:
    """The other side's account: its IBAN, or else its number as it stands."""
    account = text.strip(" ") if text else None
    iban = plain_iban(account)
    return iban, None if iban else account or None


def _sepa_tags(pieces: list[str]) -> dict[str, list[str]]:
    """The pieces by SEPA tag; a value runs on into the next piece.

    Text before any tag has the empty tag.
    """
    found: dict[str, list[str]] = {}
    tag = ""
    for piece in pieces:
        if "+" not in piece:
            found.setdefault(tag, []).append(piece)
            continue
        start = 0
        for match in _SEPA.finditer(piece):
            name = match[1]
            if tag in _IN_TEXT and name not in _BEHIND_TEXT:
                continue
            if match.start() > start:
                found.setdefault(tag, []).append(piece[start : match.start()])
            tag, start = name, match.end()
        found.setdefault(tag, []).append(piece[start:])
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
    return Purpose(detail)


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
    return Purpose(detail, found.get("17"))
