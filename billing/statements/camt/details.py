"""One transaction of a camt entry: its amount, its identifiers, and who is on the other side."""

from collections.abc import Callable
from typing import Any, NamedTuple

from billing.statements.camt.fields import direction, first, money, type_code
from billing.statements.camt.units import Leaves
from billing.statements.canonical import Detail, Reference
from billing.statements.references import drop_placeholder, plain_iban


class Side(NamedTuple):
    """What the details of an entry need to know of it."""

    sign: int
    is_reversal: bool
    own_iban: str | None


def _drop_placeholder(texts: list[str]) -> str | None:
    return drop_placeholder(texts[0])


def _iban(texts: list[str]) -> str | None:
    return plain_iban(texts[0])


def _text(texts: list[str]) -> str:
    return texts[0]


# A path of TxDtls -> the field of a Detail, and how its texts are read.
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
    """The fields of a transaction whose other side is `party`, the debtor or the creditor."""
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


_DEBTOR, _CREDITOR = _fields_of("Dbtr"), _fields_of("Cdtr")
_DEBTOR_IBAN, _CREDITOR_IBAN = (f"RltdPties/{party}Acct/Id/IBAN" for party in ("Dbtr", "Cdtr"))


def amount_of(leaves: Leaves, side: Side, position: str) -> tuple[int, int | None, str | None]:
    """Sign, signed minor units and currency of one TxDtls.

    It is the transaction's own Amt or TxAmt, never the instructed amount or a charge. Raises the
    errors of MoneyRefused and StructureRefused.
    """
    sign = direction(leaves, position) if "CdtDbtInd" in leaves else side.sign
    path = "Amt" if "Amt" in leaves else "AmtDtls/TxAmt/Amt"
    if path not in leaves:
        return sign, None, None
    unsigned, currency = money(leaves, path, position)
    return sign, sign * unsigned, currency


def detail_of(
    leaves: Leaves,
    side: Side,
    amount: int | None,
    currency: str | None,
    *,
    structured: list[Leaves],
    returned: Leaves | None,
) -> Detail:
    """One TxDtls, whose amount was read by `amount_of`.

    `structured` has its RmtInf/Strd, and `returned` its RtrInf, None for one that did not come
    back. Only what is there is looked at: most transactions have few of the fields.
    """
    fields = _counterparty(leaves, side)
    found: dict[str, Any] = {"amount_minor": amount, "currency": currency}
    for path, texts in leaves.items():
        if path in fields:
            name, read = fields[path]
            if name not in found:
                found[name] = read(texts)
    if structured:
        found["references"] = tuple(_references(structured))
        lines = [line for group in structured for line in group.get("AddtlRmtInf", ())]
        found["remittance"] = (*found.get("remittance", ()), *lines)
    if returned is not None:
        found["return_reason"] = _return_reason(returned)
    return Detail(**found, type_code=type_code(leaves))


def _counterparty(leaves: Leaves, side: Side) -> Fields:
    """The fields of who is not us: the debtor of a credit.

    A reversal names the parties of the transaction that it takes back.
    """
    is_debtor = (side.sign > 0) is not side.is_reversal
    if side.own_iban is not None:
        # some banks swap the roles in reversals, some do not; our own account tells
        debtor = plain_iban(first(leaves, _DEBTOR_IBAN)) == side.own_iban
        creditor = plain_iban(first(leaves, _CREDITOR_IBAN)) == side.own_iban
        if debtor is not creditor:
            is_debtor = creditor
    return _DEBTOR if is_debtor else _CREDITOR


def _references(structured: list[Leaves]) -> list[Reference]:
    found = []
    for leaves in structured:
        kind = first(
            leaves,
            *(
                f"CdtrRefInf/Tp/{path}"
                for path in ("CdOrPrtry/Cd", "CdOrPrtry/Prtry", "Cd", "Prtry")
            ),
        )
        found += [
            Reference(kind or "", text)
            for path in ("Ref", "CdtrRef")
            for text in leaves.get(f"CdtrRefInf/{path}", ())
        ]
        kind = first(leaves, "RfrdDocInf/Tp/CdOrPrtry/Cd", "RfrdDocInf/RfrdDocTp/Cd")
        found += [
            Reference(kind or "document", text)
            for path in ("Nb", "RfrdDocNb")
            for text in leaves.get(f"RfrdDocInf/{path}", ())
        ]
    return found


def _return_reason(leaves: Leaves) -> str:
    return first(leaves, "Rsn/Cd", "Rsn/Prtry", "RtrRsn/Cd", "AddtlInf") or "not stated"
