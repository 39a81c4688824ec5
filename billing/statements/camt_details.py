"""One transaction of a camt entry: its amount, its identifiers, and who is on the other side."""

from typing import NamedTuple

from billing.statements.camt_fields import direction, first, money, type_code
from billing.statements.canonical import Detail, Reference
from billing.statements.references import meant, plain_iban
from billing.statements.xml_units import Leaves


class Side(NamedTuple):
    """What the details of an entry need to know of it."""

    sign: int
    is_reversal: bool
    own_iban: str | None


class _Paths(NamedTuple):
    """Where a party's particulars stand."""

    name: tuple[str, ...]
    iban: str
    account: tuple[str, ...]
    bank: tuple[str, ...]
    ultimate: str


_PARTIES = {
    party: _Paths(
        name=(f"RltdPties/{party}/Nm", f"RltdPties/{party}/Agt/FinInstnId/Nm"),
        iban=f"RltdPties/{party}Acct/Id/IBAN",
        account=(f"RltdPties/{party}Acct/Id/Othr/Id", f"RltdPties/{party}Acct/Id/PrtryAcct/Id"),
        bank=(f"RltdAgts/{party}Agt/FinInstnId/BICFI", f"RltdAgts/{party}Agt/FinInstnId/BIC"),
        ultimate=f"RltdPties/Ultmt{party}/Nm",
    )
    for party in ("Dbtr", "Cdtr")
}


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
    leaves: Leaves, structured: list[Leaves], side: Side, amount: int | None, currency: str | None
) -> Detail:
    """One TxDtls, whose amount was read by `amount_of`."""
    party = _counterparty(leaves, side)
    return Detail(
        amount_minor=amount,
        currency=currency,
        end_to_end_id=meant(first(leaves, "Refs/EndToEndId")),
        transaction_id=meant(first(leaves, "Refs/TxId")),
        uetr=meant(first(leaves, "Refs/UETR")),
        bank_reference=meant(first(leaves, "Refs/AcctSvcrRef")),
        instruction_id=meant(first(leaves, "Refs/InstrId")),
        mandate_id=meant(first(leaves, "Refs/MndtId")),
        references=tuple(_references(structured)),
        remittance=_remittance(leaves, structured),
        counterparty=first(leaves, *party.name),
        counterparty_iban=plain_iban(first(leaves, party.iban)),
        counterparty_account=first(leaves, *party.account),
        counterparty_bank=first(leaves, *party.bank),
        ultimate_counterparty=first(leaves, party.ultimate),
        return_reason=_return_reason(leaves),
        type_code=type_code(leaves),
        note=first(leaves, "AddtlTxInf"),
    )


def _counterparty(leaves: Leaves, side: Side) -> _Paths:
    """Who is not us: the debtor of a credit.

    A reversal names the parties of the transaction that it takes back.
    """
    one, other = _PARTIES["Dbtr"], _PARTIES["Cdtr"]
    if (side.sign > 0) == side.is_reversal:
        one, other = other, one
    if side.own_iban is None or plain_iban(first(leaves, one.iban)) != side.own_iban:
        return one
    # some banks swap the roles in reversals, some do not; our own account tells
    return other if plain_iban(first(leaves, other.iban)) != side.own_iban else one


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


def _remittance(leaves: Leaves, structured: list[Leaves]) -> tuple[str, ...]:
    lines = [*leaves.get("RmtInf/Ustrd", ())]
    for group in structured:
        lines += group.get("AddtlRmtInf", ())
    return tuple(lines)


def _return_reason(leaves: Leaves) -> str | None:
    if not any(path.startswith("RtrInf/") for path in leaves):
        return None
    return (
        first(leaves, "RtrInf/Rsn/Cd", "RtrInf/Rsn/Prtry", "RtrInf/RtrRsn/Cd", "RtrInf/AddtlInf")
        or "not stated"
    )
