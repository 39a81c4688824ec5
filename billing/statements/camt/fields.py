"""The fields of camt elements, read from their texts by path.

The same paths serve every version (ISO 20022 camt.05x, 1 to 13).
"""

from collections.abc import Sequence

from billing.statements.camt.units import Leaves
from billing.statements.canonical import Account, Balance, Detail, Entry, Status
from billing.statements.dates import iso_day
from billing.statements.errors import BadDirection, MissingField, RepeatedField
from billing.statements.money import currency_exponent, to_minor
from billing.statements.references import drop_placeholder, plain_iban

# Since version 8 a party is wrapped in Pty.
WRAPPERS = frozenset({"Pty"})
_FLAGS = {"true": True, "1": True, "false": False, "0": False}
_DIRECTIONS = {"CRDT": 1, "DBIT": -1}
_BOOKED, _VALUE = ("BookgDt/Dt", "BookgDt/DtTm"), ("ValDt/Dt", "ValDt/DtTm")
_STATUSES = {
    "BOOK": Status.BOOKED,
    "PDNG": Status.PENDING,
    "INFO": Status.INFORMATION,
    "FUTR": Status.FUTURE,
}


def first(leaves: Leaves, *paths: str) -> str | None:
    """The first text under the first of the paths that has one."""
    for path in paths:
        if path in leaves:
            return leaves[path][0]
    return None


def _single(leaves: Leaves, path: str, position: str) -> str:
    texts = leaves.get(path)
    if texts is None:
        raise MissingField(position, field=path)
    if len(texts) > 1:
        raise RepeatedField(position, field=path)
    return texts[0]


def money(leaves: Leaves, path: str, position: str) -> tuple[int, str]:
    """The unsigned minor units and the currency of an amount that must be there once.

    Raises MissingField, RepeatedField and the errors of MoneyRefused.
    """
    amount, currency = _single(leaves, path, position), _single(leaves, f"{path}@Ccy", position)
    exponent = currency_exponent(currency, position)
    return to_minor(amount, exponent=exponent, position=position), currency


def direction(leaves: Leaves, position: str) -> int:
    """1 for CRDT and -1 for DBIT, by CdtDbtInd alone: a reversal never flips the sign.

    Raises BadDirection.
    """
    indicator = _single(leaves, "CdtDbtInd", position)
    sign = _DIRECTIONS.get(indicator)
    if sign is None:
        raise BadDirection(position, text=indicator)
    return sign


def reversal(leaves: Leaves, position: str) -> bool:
    """Whether the entry is a reversal, by RvslInd, an xs:boolean that may be absent.

    Raises BadDirection.
    """
    flag = first(leaves, "RvslInd")
    if flag is None:
        return False
    if flag not in _FLAGS:
        raise BadDirection(position, text=flag)
    return _FLAGS[flag]


def status(leaves: Leaves) -> Status | None:
    """The status, in Sts until version 7 and in Sts/Cd or Sts/Prtry since.

    None if it is absent; only a statement may take that as booked.
    """
    code = first(leaves, "Sts", "Sts/Cd", "Sts/Prtry")
    return None if code is None else _STATUSES.get(code, Status.OTHER)


def type_code(leaves: Leaves) -> str | None:
    """The bank transaction code as domain-family-subfamily, or the bank's own code."""
    domain = leaves.get("BkTxCd/Domn/Cd")
    if domain is None:
        return first(leaves, "BkTxCd/Prtry/Cd")
    code = domain[0]
    for path in ("BkTxCd/Domn/Fmly/Cd", "BkTxCd/Domn/Fmly/SubFmlyCd"):
        if path in leaves:
            code += f"-{leaves[path][0]}"
    return code


def account(leaves: Leaves) -> Account:
    """The account of the statement, from Acct."""
    iban = plain_iban(first(leaves, "Acct/Id/IBAN"))
    return Account(
        iban=iban,
        other=first(leaves, "Acct/Id/Othr/Id", "Acct/Id/PrtryAcct/Id", "Acct/Id/BBAN"),
        bank=first(
            leaves,
            "Acct/Svcr/FinInstnId/BICFI",
            "Acct/Svcr/FinInstnId/BIC",
            "Acct/Svcr/FinInstnId/ClrSysMmbId/MmbId",
        ),
        owner=first(leaves, "Acct/Ownr/Nm"),
        currency=first(leaves, "Acct/Ccy"),
    )


def balance(leaves: Leaves, kind: str, position: str) -> Balance:
    """One balance of the account with its sign."""
    amount, currency = money(leaves, "Amt", position)
    day = first(leaves, "Dt/Dt", "Dt/DtTm")
    return Balance(
        kind, direction(leaves, position) * amount, currency, iso_day(day) if day else None
    )


def entry(leaves: Leaves, details: Sequence[Detail], position: str) -> Entry:
    """Read an entry whose details are read already.

    Raises MissingField, RepeatedField and the errors of MoneyRefused.
    """
    amount, currency = money(leaves, "Amt", position)
    sign = direction(leaves, position)
    booked, value = first(leaves, *_BOOKED), first(leaves, *_VALUE)
    bank_reference = first(leaves, "AcctSvcrRef")
    customer_reference = first(leaves, "NtryRef")
    return Entry(
        position=position,
        amount_minor=sign * amount,
        currency=currency,
        is_credit=sign > 0,
        status=status(leaves),
        is_reversal=reversal(leaves, position),
        booking_date=iso_day(booked) if booked else None,
        value_date=iso_day(value) if value else None,
        bank_reference=drop_placeholder(bank_reference),
        customer_reference=drop_placeholder(customer_reference),
        type_code=type_code(leaves),
        corrects=None,
        note=first(leaves, "AddtlNtryInf"),
        details=details,
    )


def impossible_dates(leaves: Leaves) -> list[str]:
    """The dates of an entry that are no days of the calendar."""
    days = (first(leaves, *paths) for paths in (_BOOKED, _VALUE))
    return [day for day in days if day and iso_day(day) is None]
