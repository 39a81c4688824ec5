"""What field 86 of an MT940 says about a payment, in the three dialects that most banks speak.

Else as plain lines.
"""

import re
from functools import lru_cache
from typing import NamedTuple

from billing.statements.canonical import Reference
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
_NAME = ("32", "33")
# The Netherlands and some others: /TAG/value, in any order.
_SLASHED = re.compile(
    r"/(EREF|REMI|NAME|IBAN|BIC|TRTP|MARF|CSID|BENM|ORDP|CNTP|ISDT|RTRN|PREF|CREF|KREF|PURP|ULTD|ULTB|ULTC|TRCD|SVCL|NRTX)/"
)
_SLASHED_START = re.compile(
    r".{0,40}?/(?:EREF|REMI|TRTP|BENM|ORDP|CNTP|PREF|RTRN|MARF)/", re.DOTALL
)


class Purpose(NamedTuple):
    """The parts of field 86; lines are kept apart.

    Because a bank may break a reference between two.
    """

    remittance: tuple[str, ...] = ()
    references: tuple[Reference, ...] = ()
    end_to_end_id: str | None = None
    instruction_id: str | None = None
    mandate_id: str | None = None
    name: str | None = None
    iban: str | None = None
    account: str | None = None
    bank: str | None = None
    ultimate: str | None = None
    return_reason: str | None = None
    note: str | None = None


def read_purpose(lines: list[str]) -> Purpose:
    """Field 86 from its lines. Reads anything.

    What has no known form is remittance text as it stands.
    """
    joined = "".join(lines)
    numbered = _NUMBERED.match(joined)
    if numbered:
        return _read_numbered(joined, numbered.group(1))
    if _SLASHED_START.match(joined):
        return _read_slashed(joined)
    return Purpose(remittance=_kept(lines))


def _kept(lines: list[str]) -> tuple[str, ...]:
    return tuple([plain for line in lines if (plain := line.strip())])


@lru_cache(maxsize=64)
def _subfields(separator: str) -> re.Pattern[str]:
    return re.compile(re.escape(separator) + "([0-9]{2})")


def _read_numbered(joined: str, separator: str) -> Purpose:
    _, *parts = _subfields(separator).split(joined)
    values: dict[str, str] = {}
    pieces: list[str] = []
    for code, text in zip(parts[::2], parts[1::2], strict=True):
        if code in _PURPOSE:
            pieces.append(text)
        else:
            values.setdefault(code, text.strip(" ") if code not in _NAME else text)
    tagged = _sepa_tags(pieces)
    account = values.get("31")
    iban = plain_iban(account)
    name = "".join(values[code] for code in _NAME if code in values)
    return Purpose(
        remittance=_kept(tagged.get("", []) + tagged.get(_TEXT, [])),
        end_to_end_id=_value(tagged, "EREF"),
        instruction_id=_value(tagged, "KREF"),
        mandate_id=_value(tagged, "MREF"),
        name=name.strip() or None,
        iban=iban,
        account=None if iban else account or None,
        bank=values.get("30") or None,
        ultimate=_value(tagged, "ABWA"),
        # 000 is no reason
        return_reason=values.get("34", "") if values.get("34", "").strip("0") else None,
        note=values.get("00") or None,
    )


def _value(tagged: dict[str, list[str]], tag: str) -> str | None:
    pieces = tagged.get(tag)
    return meant("".join(pieces)) if pieces else None


def _sepa_tags(pieces: list[str]) -> dict[str, list[str]]:
    """The pieces by SEPA tag; a value runs on into the next piece.

    Text before any tag has the empty tag.
    """
    found: dict[str, list[str]] = {}
    tag = ""
    for piece in pieces:
        start = 0
        for match in _SEPA.finditer(piece) if "+" in piece else ():
            name = match[1]
            if tag in _IN_TEXT and name not in _BEHIND_TEXT:
                continue
            if match.start() > start:
                found.setdefault(tag, []).append(piece[start : match.start()])
            tag, start = name, match.end()
        found.setdefault(tag, []).append(piece[start:] if start else piece)
    return found


def _read_slashed(joined: str) -> Purpose:
    head, *parts = _SLASHED.split(joined)
    values: dict[str, str] = {}
    for tag, text in zip(parts[::2], parts[1::2], strict=True):
        values.setdefault(tag, text.strip("/ "))
    name, iban, bank = values.get("NAME"), values.get("IBAN"), values.get("BIC")
    if values.get("CNTP"):
        iban, bank, name = (*values["CNTP"].split("/"), "", "", "")[:3]
    remittance, references = _remittance_of(values.get("REMI", ""))
    return Purpose(
        remittance=_kept([head, *remittance]),
        references=references,
        end_to_end_id=meant(values.get("EREF")),
        instruction_id=meant(values.get("KREF") or values.get("PREF")),
        mandate_id=meant(values.get("MARF")),
        name=name or None,
        iban=plain_iban(iban),
        account=None if plain_iban(iban) else iban or None,
        bank=bank or None,
        ultimate=values.get("ULTD") or values.get("ULTB") or None,
        return_reason=values.get("RTRN") or None,
    )


def _remittance_of(text: str) -> tuple[list[str], tuple[Reference, ...]]:
    """The value of /REMI/: free text, or a structured reference as STRD/CUR/reference."""
    if text.startswith("STRD/"):
        _, kind, *rest = text.split("/")
        return [], (Reference(kind, "/".join(rest).strip("/ ")),)
    return [re.sub(r"^(?:USTD|UNST)/+", "", text)], ()


def read_ns(lines: list[str]) -> Purpose:
    """The German field NS: two digits and a value a line.

    01 to 14 purpose, 15 and 16 name, 33 bank, 34 account.
    """
    values = [(line[:2], line[2:].strip()) for line in lines]
    purpose = [text for code, text in values if code.isdigit() and 1 <= int(code) <= 14]
    found = dict(reversed(values))
    return Purpose(
        remittance=_kept(purpose),
        name=" ".join(text for code, text in values if code in {"15", "16"}) or None,
        account=found.get("34"),
        bank=found.get("33"),
        note=found.get("17"),
    )
