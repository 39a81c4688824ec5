"""One transaction of a camt entry: its amount, its identifiers and its counterparty."""

from collections.abc import Callable, Sequence, Sized
from typing import Any, NamedTuple

from billing.statements.camt.fields import direction, first, money, reversal, type_code
from billing.statements.camt.units import Leaves, Unit, parts_of
from billing.statements.canonical import Detail, HoldReason, Reference
from billing.statements.draft import Draft
from billing.statements.errors import MoneyRefused, StructureRefused, TooManyEntries
from billing.statements.limits import MAX_PARTS
from billing.statements.packed import INLINE_DETAILS, Packing, packing_details
from billing.statements.references import drop_placeholder, plain_iban


class Side(NamedTuple):
    """The facts of an entry that its details need."""

    sign: int
    is_reversal: bool
    own_iban: str | None


def _drop_placeholder(texts: list[str]) -> str | None:
    return drop_placeholder(texts[0])


def _iban(texts: list[str]) -> str | None:
    return plain_iban(texts[0])


def _text(texts: list[str]) -> str:
    return texts[0]


# A path of TxDtls -> the field of a Detail, and the function that reads its texts.
Fields = dict[str, tuple[str, Callable[[list[str]], Any]]]
_FIELDS: Fields = {
    "Refs/EndToEndId": ("end_to_end_id", _drop_placeholder),
    "Refs/TxId": ("transaction_id", _drop_placeholder),
    "Refs/UETR": ("uetr", _drop_placeholder),
    "Refs/AcctSvcrRef": ("bank_reference", _drop_placeholder),
    "Refs/InstrId": ("instruction_id", _drop_placeholder),
    "Refs/MndtId": ("mandate_id", _drop_placeholder),
    "RmtInf/Ustrd": ("remittance", tuple),
    "AddtlTxInf": ("note", _text),
}


def _fields_of(party: str) -> Fields:
    """The fields of a transaction whose counterparty is `party`: Dbtr or Cdtr."""
    return _FIELDS | {
        f"RltdPties/{party}/Nm": ("counterparty", _text),
        f"RltdPties/{party}/Agt/FinInstnId/Nm": ("counterparty", _text),
        f"RltdPties/{party}Acct/Id/IBAN": ("counterparty_iban", _iban),
        f"RltdPties/{party}Acct/Id/Othr/Id": ("counterparty_account", _text),
        f"RltdPties/{party}Acct/Id/PrtryAcct/Id": ("counterparty_account", _text),
        f"RltdAgts/{party}Agt/FinInstnId/BICFI": ("counterparty_bank", _text),
        f"RltdAgts/{party}Agt/FinInstnId/BIC": ("counterparty_bank", _text),
        f"RltdPties/Ultmt{party}/Nm": ("ultimate_counterparty", _text),
    }


_NO_TEXT = [""]
_DEBTOR, _CREDITOR = _fields_of("Dbtr"), _fields_of("Cdtr")
_REFERENCE_KINDS = (
    "CdtrRefInf/Tp/CdOrPrtry/Cd",
    "CdtrRefInf/Tp/CdOrPrtry/Prtry",
    "CdtrRefInf/Tp/Cd",
    "CdtrRefInf/Tp/Prtry",
)
_DOCUMENT_KINDS = ("RfrdDocInf/Tp/CdOrPrtry/Cd", "RfrdDocInf/RfrdDocTp/Cd")
_DEBTOR_IBAN, _CREDITOR_IBAN = (f"RltdPties/{party}Acct/Id/IBAN" for party in ("Dbtr", "Cdtr"))


def read_details(entry: Unit, draft: Draft, place: str) -> Sequence[Detail]:
    """Read the transactions of an entry; those of a large batch are kept packed.

    An unreadable amount holds the statement, for the entry carries the money and the detail only
    splits it. Raises BadDirection and TooManyEntries.
    """
    details: list[Detail] = []
    packed: Packing[Detail] | None = None
    side: Side | None = None
    for number, unit in enumerate(parts_of(entry), 1):
        position = f"line {unit.line}, {place}/TxDtls[{number}]"
        draft.budget.spend_units(1, position)
        side = side or _side_of(entry.leaves, draft.account.iban, position)
        details.append(_read_detail(unit, side, draft, position))
        if len(details) > INLINE_DETAILS:
            packed = packed or packing_details()
            packed.extend(details)
            details = []
    if packed is None:
        return tuple(details)
    packed.extend(details)
    return packed.finish()


def _side_of(entry: Leaves, own_iban: str | None, position: str) -> Side:
    return Side(direction(entry, position), reversal(entry, position), own_iban)


def _read_detail(unit: Unit, side: Side, draft: Draft, position: str) -> Detail:
    amount, currency = None, None
    try:
        sign, amount, currency = _amount_of(unit.leaves, side, position)
    except (MoneyRefused, StructureRefused) as refusal:
        draft.hold(HoldReason.DETAIL_UNREADABLE, str(refusal), position)
        sign = side.sign
    if sign != side.sign:
        side = side._replace(sign=sign)
    return _detail_of(unit, side, amount, currency)


def _amount_of(leaves: Leaves, side: Side, position: str) -> tuple[int, int | None, str | None]:
    """The sign, signed minor units and currency of one TxDtls.

    The amount is the transaction's own Amt or TxAmt, never the instructed amount or a charge.
    Raises the errors of MoneyRefused and StructureRefused.
    """
    sign = direction(leaves, position) if "CdtDbtInd" in leaves else side.sign
    path = "Amt" if "Amt" in leaves else "AmtDtls/TxAmt/Amt"
    if path not in leaves:
        return sign, None, None
    unsigned, currency = money(leaves, path, position)
    return sign, sign * unsigned, currency


def _detail_of(unit: Unit, side: Side, amount: int | None, currency: str | None) -> Detail:
    """The detail of one TxDtls. Its texts are looped over, for most have few of the fields."""
    leaves = unit.leaves
    fields = _counterparty_fields(leaves, side)
    values: dict[str, Any] = {"amount_minor": amount, "currency": currency}
    for path, texts in leaves.items():
        if path in fields:
            name, read = fields[path]
            if name not in values:
                values[name] = read(texts)
    structured, returned = _inner_units(unit)
    if structured:
        values["references"] = tuple(_references(structured))
        lines = [line for group in structured for line in group.get("AddtlRmtInf", ())]
        values["remittance"] = (*values.get("remittance", ()), *lines)
    if returned:
        values["return_reason"] = _return_reason(returned)
    return Detail(**values, type_code=type_code(leaves))


def _inner_units(unit: Unit) -> tuple[list[Leaves], Leaves]:
    """The texts of each RmtInf/Strd, and those of RtrInf, which a returned transaction has."""
    structured: list[Leaves] = []
    returned: Leaves = {}
    for part in parts_of(unit):
        if part.kind == "returned":
            returned = part.leaves
        else:
            structured.append(part.leaves)
            check_parts(structured, part.line)
    return structured, returned


def check_parts(parts: Sized, line: int) -> None:
    """Refuse a file with too many parts of one transaction or statement."""
    if len(parts) > MAX_PARTS:
        raise TooManyEntries(f"line {line}", limit=MAX_PARTS)


def _counterparty_fields(leaves: Leaves, side: Side) -> Fields:
    """The fields of the debtor for a credit, of the creditor for a debit.

    A reversal names the parties of the transaction that it reverses.
    """
    is_debtor = (side.sign > 0) is not side.is_reversal
    if side.own_iban is not None:
        # some banks swap the roles in reversals; the party with our own account is not the other
        debtor = _iban(leaves.get(_DEBTOR_IBAN, _NO_TEXT)) == side.own_iban
        creditor = _iban(leaves.get(_CREDITOR_IBAN, _NO_TEXT)) == side.own_iban
        if debtor is not creditor:
            is_debtor = creditor
    return _DEBTOR if is_debtor else _CREDITOR


def _references(structured: list[Leaves]) -> list[Reference]:
    references = []
    for leaves in structured:
        kind = first(leaves, *_REFERENCE_KINDS) or ""
        for path in ("CdtrRefInf/Ref", "CdtrRefInf/CdtrRef"):
            references += [Reference(kind, text) for text in leaves.get(path, ())]
        kind = first(leaves, *_DOCUMENT_KINDS) or "document"
        for path in ("RfrdDocInf/Nb", "RfrdDocInf/RfrdDocNb"):
            references += [Reference(kind, text) for text in leaves.get(path, ())]
    return references


def _return_reason(leaves: Leaves) -> str:
    return first(leaves, "Rsn/Cd", "Rsn/Prtry", "RtrRsn/Cd", "AddtlInf") or "not stated"
