"""The elements of camt messages: units, and paths inside them, in every version.

The paths are those of ISO 20022 camt.052, camt.053 and camt.054, versions 1 to 13.
"""

from collections.abc import Callable

from billing.statements.camt.parser import OUTSIDE, Units
from billing.statements.canonical import Family, Status
from billing.statements.references import drop_placeholder

# message element without the V01 of its first version -> format, family
MESSAGES = {
    "BkToCstmrAcctRpt": ("camt.052", Family.REPORT),
    "BkToCstmrStmt": ("camt.053", Family.STATEMENT),
    "BkToCstmrDbtCdtNtfctn": ("camt.054", Family.NOTIFICATION),
}
UNITS: Units = {
    OUTSIDE: {name + version: name for name in MESSAGES for version in ("", "V01")},
    "BkToCstmrAcctRpt": {"Rpt": "statement"},
    "BkToCstmrStmt": {"Stmt": "statement"},
    "BkToCstmrDbtCdtNtfctn": {"Ntfctn": "statement"},
    "statement": {"Acct": "account", "Ntry": "entry", "Bal": "balance", "TxsSummry": "summary"},
    "entry": {"NtryDtls/TxDtls": "detail", "TxDtls": "detail"},
    "detail": {"RmtInf/Strd": "structured", "RtrInf": "returned"},
    "structured": {},
    "returned": {},
    "account": {},
    "balance": {},
    "summary": {},
}
CONTAINERS = frozenset({*MESSAGES, "statement"})
# Since version 8 a party is wrapped in Pty.
WRAPPERS = frozenset({"Pty"})
# Booked balances only; available balances (OPAV, CLAV, FWAV ...) are other sums.
OPENING = ("OPBD", "PRCD")
CLOSING = ("CLBD",)
# The balance between two pages of one statement.
INTERIM = "ITBD"
BALANCE_KINDS = frozenset({*OPENING, *CLOSING, INTERIM})
FLAGS = {"true": True, "1": True, "false": False, "0": False}
DIRECTIONS = {"CRDT": 1, "DBIT": -1}
BOOKED, VALUE = ("BookgDt/Dt", "BookgDt/DtTm"), ("ValDt/Dt", "ValDt/DtTm")
STATUSES = {
    "BOOK": Status.BOOKED,
    "PDNG": Status.PENDING,
    "INFO": Status.INFORMATION,
    "FUTR": Status.FUTURE,
}
REFERENCE_KINDS = (
    "CdtrRefInf/Tp/CdOrPrtry/Cd",
    "CdtrRefInf/Tp/CdOrPrtry/Prtry",
    "CdtrRefInf/Tp/Cd",
    "CdtrRefInf/Tp/Prtry",
)
DOCUMENT_KINDS = ("RfrdDocInf/Tp/CdOrPrtry/Cd", "RfrdDocInf/RfrdDocTp/Cd")
# A path of TxDtls -> the field of a Detail, and the function that cleans its text.
Fields = dict[str, tuple[str, Callable[[str], str | None] | None]]
_FIELDS: Fields = {
    "Refs/EndToEndId": ("end_to_end_id", drop_placeholder),
    "Refs/TxId": ("transaction_id", drop_placeholder),
    "Refs/UETR": ("uetr", drop_placeholder),
    "Refs/AcctSvcrRef": ("bank_reference", drop_placeholder),
    "Refs/InstrId": ("instruction_id", drop_placeholder),
    "Refs/MndtId": ("mandate_id", drop_placeholder),
    "AddtlTxInf": ("note", None),
}


def _fields_of(party: str) -> Fields:
    """The fields of a transaction whose counterparty is `party`: Dbtr or Cdtr."""
    return _FIELDS | {
        f"RltdPties/{party}/Nm": ("counterparty", None),
        f"RltdPties/{party}/Agt/FinInstnId/Nm": ("counterparty", None),
        f"RltdPties/{party}Acct/Id/IBAN": ("counterparty_iban", None),
        f"RltdPties/{party}Acct/Id/Othr/Id": ("counterparty_account", None),
        f"RltdPties/{party}Acct/Id/PrtryAcct/Id": ("counterparty_account", None),
        f"RltdAgts/{party}Agt/FinInstnId/BICFI": ("counterparty_bank", None),
        f"RltdAgts/{party}Agt/FinInstnId/BIC": ("counterparty_bank", None),
        f"RltdPties/Ultmt{party}/Nm": ("ultimate_counterparty", None),
    }


DEBTOR, CREDITOR = _fields_of("Dbtr"), _fields_of("Cdtr")
DEBTOR_IBAN, CREDITOR_IBAN = (f"RltdPties/{party}Acct/Id/IBAN" for party in ("Dbtr", "Cdtr"))
