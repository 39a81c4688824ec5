"""Field 86 of an MT940: the details of a payment, in three common dialects or as plain lines."""

import re
from functools import lru_cache

from billing.statements.canonical import Detail, Reference
from billing.statements.limits import MAX_SUBFIELDS
from billing.statements.references import PartyAccount, drop_placeholder, party_account
from billing.statements.return_codes import BUSINESS_CODES

# Germany, Poland and neighbours: business code, then ?20 to ?29 and ?60 to ?63 purpose, ?30 bank,
# ?31 account, ?32 and ?33 name (DFÜ agreement, annex 3, chapter 8). Polish banks state the IBAN in
# ?38, and some send the code in a line of its own before. The bank chooses the separator.
_NUMBERED = re.compile(r"([0-9]{3})(?:\s?\1)?(?P<mark>[^A-Za-z0-9\s])(?=[0-9]{2})")
# The same without a code: then a second subfield must follow, for the payer's text may begin so.
_UNCODED = re.compile(
    r"(?P<mark>[?~^<>|!@#$%&*+=§¬])(?:00|20)(?=.*?(?P=mark)(?:1[0-9]|2[0-9]|3[0-8]|6[0-3]))"
)
_PURPOSE = frozenset(
    {*(f"{code}" for code in range(20, 30)), *(f"{code}" for code in range(60, 64))}
)
_TAGS = ("EREF", "KREF", "MREF", "CRED", "DEBT", "COAM", "OAMT", "SVWZ", "ABWA", "ABWE")
_SEPA = re.compile(rf"\b({'|'.join(_TAGS)})\+")
# The payer's text begins at SVWZ. A later tag is part of it, except the two that may follow.
_TEXT, _AFTER_TEXT = "SVWZ", frozenset({"ABWA", "ABWE"})
_IN_TEXT = frozenset({_TEXT, *_AFTER_TEXT})
# The Netherlands and some others: /TAG/value, in any order.
_SLASHED = re.compile(
    r"/(EREF|REMI|NAME|IBAN|BIC|TRTP|MARF|CSID|BENM|ORDP|CNTP|ISDT|RTRN|PREF|CREF|KREF|PURP|ULTD|ULTB|ULTC|TRCD|SVCL|NRTX)/"
)
_SLASHED_START = re.compile(
    r".{0,40}?/(?:EREF|REMI|TRTP|BENM|ORDP|CNTP|PREF|RTRN|MARF)/", re.DOTALL
)


# The only detail of the entry, and a note on the entry. The lines of the remittance stay separate,
# because a bank may break a reference between two.
Purpose = tuple[Detail, str | None]


def read_purpose(lines: list[str], amount_minor: int, currency: str) -> Purpose:
    """Read field 86 from its lines; `amount_minor` is the amount of its field 61.

    A text of no known form is kept as remittance.
    """
    joined = "".join(lines)
    numbered = _NUMBERED.match(joined) or _UNCODED.match(joined)
    if numbered:
        return _read_numbered(joined, numbered["mark"], amount_minor, currency)
    if _SLASHED_START.match(joined):
        return _read_slashed(joined, amount_minor, currency)
    return Detail(amount_minor, currency, remittance=_stripped(lines)), None


def _stripped(lines: list[str]) -> tuple[str, ...]:
    return tuple([plain for line in lines if (plain := line.strip())])


@lru_cache(maxsize=64)
def _subfields(separator: str) -> re.Pattern[str]:
    return re.compile(re.escape(separator) + "([0-9]{2})")


def _read_numbered(joined: str, separator: str, amount_minor: int, currency: str) -> Purpose:
    parts = _subfields(separator).split(joined, MAX_SUBFIELDS)
    codes, texts = parts[1::2], parts[2::2]
    values = dict(zip(reversed(codes), reversed(texts), strict=True))  # the first of two counts
    tagged = _sepa_tags([text for code, text in zip(codes, texts, strict=True) if code in _PURPOSE])
    iban, account, account_note = _account(values)
    reason = values.get("34", "").strip(" ")
    code_reason = f"business code {joined[:3]}" if joined[:3] in BUSINESS_CODES else None
    detail = Detail(
        amount_minor,
        currency,
        end_to_end_id=_tag_value(tagged, "EREF"),
        instruction_id=_tag_value(tagged, "KREF"),
        mandate_id=_tag_value(tagged, "MREF"),
        remittance=_stripped(tagged.get("", []) + tagged.get(_TEXT, [])),
        counterparty=(values.get("32", "") + values.get("33", "")).strip() or None,
        counterparty_iban=iban,
        counterparty_account=account,
        counterparty_bank=values.get("30", "").strip(" ") or None,
        ultimate_counterparty=_tag_value(tagged, "ABWA"),
        return_reason=reason if reason.strip("0") else code_reason,  # 000 is no reason
        note=account_note,
    )
    return detail, values.get("00", "").strip(" ") or None


def _tag_value(tagged: dict[str, list[str]], tag: str) -> str | None:
    return drop_placeholder("".join(tagged[tag])) if tag in tagged else None


def _account(values: dict[str, str]) -> PartyAccount:
    """The counterparty's account: the IBAN of ?38 or ?31, or else the number of one of them."""
    german, polish = party_account(values.get("31")), party_account(values.get("38"))
    if polish.iban or (polish.other and not german.iban):
        return polish
    return german


def _sepa_tags(pieces: list[str]) -> dict[str, list[str]]:
    """Group the pieces by SEPA tag; a value may continue in the next piece.

    Text before any tag has the empty tag.
    """
    tag = ""
    tagged: dict[str, list[str]] = {}
    for piece in pieces:
        start = 0
        for match in _SEPA.finditer(piece) if "+" in piece else ():
            if tag in _IN_TEXT and match[1] not in _AFTER_TEXT:
                continue
            if match.start() > start:
                tagged.setdefault(tag, []).append(piece[start : match.start()])
            tag, start = match[1], match.end()
        tagged.setdefault(tag, []).append(piece[start:])
    return tagged


def _read_slashed(joined: str, amount_minor: int, currency: str) -> Purpose:
    head, *parts = _SLASHED.split(joined)
    values: dict[str, str] = {}
    for tag, text in zip(parts[::2], parts[1::2], strict=True):
        values.setdefault(tag, text.strip("/ "))
    name, iban, bank = values.get("NAME"), values.get("IBAN"), values.get("BIC")
    if values.get("CNTP"):
        iban, bank, name = (*values["CNTP"].split("/"), "", "", "")[:3]
    remittance, references = _remittance_of(values.get("REMI", ""))
    account_iban, account, account_note = party_account(iban)
    detail = Detail(
        amount_minor,
        currency,
        remittance=_stripped([head, *remittance]),
        references=references,
        end_to_end_id=drop_placeholder(values.get("EREF")),
        instruction_id=drop_placeholder(values.get("KREF") or values.get("PREF")),
        mandate_id=drop_placeholder(values.get("MARF")),
        counterparty=name or None,
        counterparty_iban=account_iban,
        counterparty_account=account,
        counterparty_bank=bank or None,
        ultimate_counterparty=values.get("ULTD") or values.get("ULTB") or None,
        return_reason=values.get("RTRN") or None,
        note=account_note,
    )
    return detail, None


def _remittance_of(text: str) -> tuple[list[str], tuple[Reference, ...]]:
    """Read the value of /REMI/: free text, or a structured reference as STRD/CUR/reference."""
    if text.startswith("STRD/"):
        _, kind, *rest = text.split("/")
        return [], (Reference(kind, "/".join(rest).strip("/ ")),)
    return [re.sub(r"^(?:USTD|UNST)/+", "", text)], ()


def read_ns(lines: list[str], amount_minor: int, currency: str) -> Purpose:
    """Read the German field NS, with two digits and a value on each line.

    01 to 14 are the purpose, 15 and 16 the name, 33 the bank and 34 the account.
    """
    values = [(line[:2], line[2:].strip()) for line in lines]
    purpose = [text for code, text in values if code.isdigit() and 1 <= int(code) <= 14]
    first_values = dict(reversed(values))
    detail = Detail(
        amount_minor,
        currency,
        remittance=_stripped(purpose),
        counterparty=" ".join(text for code, text in values if code in {"15", "16"}) or None,
        counterparty_account=first_values.get("34"),
        counterparty_bank=first_values.get("33"),
    )
    return detail, first_values.get("17")
