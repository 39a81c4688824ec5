"""The stored wording of a line, read: transactions, references, texts, signs of a return.

A mark is the bank's: a flag, a code or a reason. A word is anybody's: our own bookkeeper writes
`refund` too. So a mark may prove a return, and a word only asks for a reviewer.
"""

import re
import unicodedata
from collections.abc import Mapping
from typing import Any, NamedTuple

from billing.statements.canonical import Reference
from billing.statements.references import drop_placeholder, is_usable_bank_id
from billing.statements.return_codes import is_return_code

#: Words by which banks announce that money goes back, folded: German, French, Italian, Polish,
#: Finnish, Swedish, Danish, Dutch, Spanish, English.
_BANK_WORDS = re.compile(
    r"(?<!\bNO )(?<!\bNOT )(?<!\bNOTHING )(?<!\bKEINE )(?<!\bSANS )(?<!\bSIN )"
    r"\b(RUECKLASTSCHRIFT\w*|RUECKUEBERWEISUNG\w*|RUECKBUCHUNG\w*|RUECKRUF\w*|RUECKGABE\w*"
    r"|RUECKSCHECK\w*|RETOURE\w*|RUECKBELASTUNG\w*|STORNO\w*|STORNIER\w*|NICHT EINGELOEST"
    r"|REJET\w*|IMPAYE\w*|RETOUR\w*|EXTOURNE\w*|CONTREPASSATION\w*"
    r"|INSOLUT\w*|RESPINT\w*|STORNAT\w*|RICHIAMO|RESTITU\w*"
    r"|ZWROT\w*|ZWROC\w*|ODRZUC\w*|STORNOW\w*|COFNI\w*"
    r"|PALAUTU\w*|PALAUTET\w*|HYLA\w*|HYLKAY\w*|PERUUT\w*"
    r"|RETUR(?!N(S|ED)?\b)\w*|ATERFORING|ATERTAG\w*|ATERKALL\w*|AVVISA\w*|ATERBOKNING|STORNERING\w*"
    r"|TILBAGEFOR\w*|TILBAKEFOR\w*"
    r"|TERUGBOEK\w*|STORNEER\w*|GEWEIGERD|TERUGGEBOEKT|GERETOURNEERD"
    r"|DEVOL\w*|DEVUELT\w*|RECHAZ\w*|RETROCE\w*|IMPAGAD\w*"
    r"|(?<!TAX )(?<!VAT )RETURN(S|ED)?|REVERSAL|REVERSED|CHARGE ?BACK\w*|REJECT(ED|ION)?"
    r"|RECALL(ED)?|UNPAID|DISHONOU?RED|BOUNCED|NSF|INSUFFICIENT FUNDS)\b"
    # a code of 0 behind the word, as Swiss banks put it, denies it
    r"(?![ ?:=/-]+0{1,3}\b)"
)
#: Words by which a business refunds, and some banks return.
_REFUND_WORDS = re.compile(
    r"\b(REFUND\w*|REIMBURS\w*|ERSTATTUNG\w*|RUECKERSTATTUNG\w*|RUECKZAHLUNG\w*"
    r"|REMBOURS\w*|RIMBORS\w*|REEMBOLS\w*|REINTEGRO\w*|TERUGBETAL\w*|TERUGSTORTING\w*"
    r"|ATERBETAL\w*|TILBAGEBETAL\w*|HYVITY\w*|REFUNDACJ\w*)\b"
)
_LETTERS = str.maketrans({"Ä": "AE", "Ö": "OE", "Ü": "UE", "ß": "SS", "Ł": "L", "Ø": "O"})
_SWEDISH = str.maketrans({"Ä": "A", "Ö": "O", "Å": "A"})
#: Identifiers that a bank or the scheme gives to one payment, and to its return.
_BANK_IDS = ("uetr", "transaction_id", "bank_reference", "detail_bank_reference")
#: Identifiers that the payer, or we, write: they may repeat.
_OTHER_IDS = ("customer_reference", "end_to_end_id")


class Part(NamedTuple):
    """A transaction of a line, with its line's wording and format (`of`).

    `identifiers`: those that can tell it from other payments (`identifiers_of`).
    """

    line: str
    place: int
    account: str
    currency: str
    amount_minor: int
    booking_date: Any
    of: str
    payload: dict[str, Any]
    detail: dict[str, Any]
    identifiers: frozenset[str]


def parts_of_line(line: Any) -> list[Part]:
    """The transactions of a row of `billing.bank_lines` with the line's wording."""
    of_line = (line.account, line.currency)
    wording = (line.booking_date, line.format, line.payload)
    return [
        Part(
            line.key,
            place,
            *of_line,
            amount,
            *wording,
            detail,
            identifiers_of(own_wording(line.payload), detail),
        )
        for place, amount, detail in parts_of(line.payload, line.amount_minor)
    ]


def own_wording(payload: dict[str, Any]) -> dict[str, Any]:
    """The wording of the line that counts for each transaction: none in a batch."""
    return {} if payload["details"] else payload


def parts_of(payload: dict[str, Any], amount: int) -> list[tuple[int, int, dict[str, Any]]]:
    """The (place, minor units, detail) of each transaction of a line, if they add up to it."""
    details = payload["details"]
    if details and payload["split_agrees"]:
        return [(place, detail["amount_minor"], detail) for place, detail in enumerate(details)]
    return [(0, amount, {} if details else payload)]


def references(*wordings: dict[str, Any]) -> list[Reference]:
    """The references in the structured fields, each once."""
    values = [
        Reference(**reference)
        for wording in wordings
        for reference in wording.get("references", ())
    ]
    return list(dict.fromkeys(values))


def texts(*wordings: dict[str, Any]) -> list[str]:
    """The payer's words, a notice's among them; lines of one text may break a word."""
    return [
        line
        for wording in wordings
        for line in (
            *wording.get("remittance", ()),
            *[wording[name] for name in ("end_to_end_id", "note") if wording.get(name)],
        )
    ]


def bank_mark(payload: Mapping[str, Any], detail: Mapping[str, Any], of: str) -> str | None:
    """The bank's own mark of a return, in words; None if there is none. `of`: the line's format."""
    if payload["is_reversal"]:
        return "the bank marks it as a reversal"
    if payload["corrects"]:
        return "the bank says that it corrects another line"
    reason = detail.get("return_reason")
    if reason and not _is_no_reason(reason):
        return f"the bank gives a reason for a return: {reason}"
    codes = (payload["type_code"], payload.get("detail_type_code"), detail.get("type_code"))
    for code in codes:
        if code and is_return_code(code, of=of):
            return f"the bank's code says that it is a return: {code}"
    return None


def _is_no_reason(reason: str) -> bool:
    """Whether it is a number of the German field ?34 other than 901 to 989, which name returns."""
    is_number = len(reason) == 3 and reason.isascii() and reason.isdigit()
    return is_number and not 900 < int(reason) < 990


def return_words(payload: Mapping[str, Any], detail: Mapping[str, Any]) -> str | None:
    """The first word that speaks of a return by a bank."""
    return _word(_BANK_WORDS, payload, detail)


def refund_words(payload: Mapping[str, Any], detail: Mapping[str, Any]) -> str | None:
    """The first word that speaks of a refund, which may be ours."""
    return _word(_REFUND_WORDS, payload, detail)


def _word(
    pattern: re.Pattern[str], payload: Mapping[str, Any], detail: Mapping[str, Any]
) -> str | None:
    texts = [
        *detail.get("remittance", ()),
        detail.get("note"),
        detail.get("detail_note"),
        payload["note"],
        payload["type_code"],
    ]
    upper = " ".join(text for text in texts if text).upper()
    for letters in (_LETTERS, _SWEDISH):
        plain = unicodedata.normalize(
            "NFKD", unicodedata.normalize("NFC", upper).translate(letters)
        )
        match = pattern.search("".join(c for c in plain if not unicodedata.combining(c)))
        if match:
            return match[0]
    return None


def identifiers_of(payload: Mapping[str, Any], detail: Mapping[str, Any]) -> frozenset[str]:
    """The identifiers that can tell a payment from others, without placeholders."""
    return bank_ids_of(payload, detail) | _usable(_OTHER_IDS, payload, detail)


def bank_ids_of(payload: Mapping[str, Any], detail: Mapping[str, Any]) -> frozenset[str]:
    """Those that the bank or the scheme gave; `corrects` names the line that it undoes."""
    return _usable((*_BANK_IDS, "corrects"), payload, detail)


def _usable(names: tuple[str, ...], *wordings: Mapping[str, Any]) -> frozenset[str]:
    texts = [wording.get(name) for wording in wordings for name in names]
    return frozenset(
        text.strip()
        for text in texts
        if text and drop_placeholder(text) and is_usable_bank_id(text)
    )
