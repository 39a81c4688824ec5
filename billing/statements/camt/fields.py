"""What one camt element says, from its texts by path.

One table of paths serves every version (ISO 20022 camt.05x, 1 to 13).
"""

from collections.abc import Sequence

from billing.statements.camt.units import Leaves
from billing.statements.canonical import Account, Balance, Detail, Entry, Status
from billing.statements.dates import iso_day
from billing.statements.errors import BadDirection, MissingField, RepeatedField
from billing.statements.money import currency_exponent, to_minor
from billing.statements.references import drop_placeholder, plain_iban

# Since version 8 a party stands inside Pty; before, it did not.
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
    """The first text that is there; empty ones were never collected."""
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
    """Unsigned minor units and currency of an amount that must be there, once.

    Raises MissingField, RepeatedField and the errors of MoneyRefused.
    """
    amount, currency = _single(leaves, path, position), _single(leaves, f"{path}@Ccy", position)
    return to_minor(
        amount, exponent=currency_exponent(currency, position), position=position
    ), currency


def direction(leaves: Leaves, position: str) -> int:
    """1 for CRDT, -1 for DBIT, by CdtDbtInd alone: a reversal never flips the sign.

    Raises BadDirection.
    """
    said = _single(leaves, "CdtDbtInd", position)
    sign = _DIRECTIONS.get(said)
    if sign is None:
        raise BadDirection(position, text=said)
    return sign


def reversal(leaves: Leaves, position: str) -> bool:
    """RvslInd, an xs:boolean; absent is false. Raises BadDirection for any other word."""
    said = first(leaves, "RvslInd")
    if said is None:
        return False
    if said not in _FLAGS:
        raise BadDirection(position, text=said)
    return _FLAGS[said]


def status(leaves: Leaves) -> Status | None:
    """Sts, a text until version 7 and Cd or Prtry since.

    None when absent, which only a statement may take as booked.
    """
    said = first(leaves, "Sts", "Sts/Cd", "Sts/Prtry")
    return None if said is None else _STATUSES.get(said, Status.OTHER)


def type_code(leaves: Leaves) -> str | None:
    """Bank transaction code as domain-family-subfamily, or the bank's own."""
    domain = leaves.get("BkTxCd/Domn/Cd")
    if domain is None:
        return first(leaves, "BkTxCd/Prtry/Cd")
    code = domain[0]
    for path in ("BkTxCd/Domn/Fmly/Cd", "BkTxCd/Domn/Fmly/SubFmlyCd"):
        if path in leaves:
            code += f"-{leaves[path][0]}"
    return code


def account(leaves: Leaves) -> Account:
    """Our account, from Acct."""
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
    """One balance of the account, signed."""
    amount, currency = money(leaves, "Amt", position)
    day = first(leaves, "Dt/Dt", "Dt/DtTm")
    return Balance(
        kind, direction(leaves, position) * amount, currency, iso_day(day) if day else None
    )


def entry(leaves: Leaves, details: Sequence[Detail], position: str) -> Entry:
    """An entry with the details that were read for it.

    Raises the errors of MoneyRefused, MissingField, RepeatedField.
    """
    amount, currency = money(leaves, "Amt", position)
    sign = direction(leaves, position)
    booked, value = first(leaves, *_BOOKED), first(leaves, *_VALUE)
    return Entry(
        position=position,
        amount_minor=sign * amount,
        currency=currency,
        is_credit=sign > 0,
        status=status(leaves),
        is_reversal=reversal(leaves, position),
        booking_date=iso_day(booked) if booked else None,
        value_date=iso_day(value) if value else None,
        bank_reference=drop_placeholder(first(leaves, "AcctSvcrRef")),
        customer_reference=drop_placeholder(first(leaves, "NtryRef")),
        type_code=type_code(leaves),
        corrects=None,
        note=first(leaves, "AddtlNtryInf"),
        details=details,
    )


def impossible_dates(leaves: Leaves) -> list[str]:
    """The dates of an entry that no calendar has."""
    said = (first(leaves, *paths) for paths in (_BOOKED, _VALUE))
    return [day for day in said if day and iso_day(day) is None]
