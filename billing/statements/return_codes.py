"""The codes by which banks mark money that goes back."""

import re

#: ISO 20022 bank transaction codes, sub-family: reversals because of a return, of a cancellation
#: request, of an unpaid direct debit, cheque or card payment, and ACH returns.
_SUB_FAMILIES = frozenset(
    {"RRTN", "RPCR", "PRDD", "UPDD", "UPCQ", "UPCT", "UPTC", "CQRV", "ARET", "AREV"}
)
#: SWIFT field 61: a returned item. N, S and F say who made the entry.
_SWIFT = frozenset({"NRTI", "SRTI", "FRTI"})
#: German business codes (DFÜ agreement, annex 3, chapter 8): returned direct debits and transfers,
#: and the credits that follow them.
BUSINESS_CODES = frozenset({"009", "059", "108", "109", "159", "181", "184"})
#: BAI2 detail type codes: returns, reversals and rejected items. 567, the fee, is no return.
_CREDITS = {"252", "255", "257", "258", "261", "266", "268", "395"}
_DEBITS = {"423", "552", "555", "557", "558", "561", "566", "568", "694"}
_BAI2 = frozenset(_CREDITS | _DEBITS)
#: A code inside a longer one: PMNT-RCDT-RRTN, NRTI+159+0900.
_PART = re.compile(r"[A-Z0-9]+")


def is_return_code(code: str, *, of: str) -> bool:
    """Whether a type code marks a return in this format, such as BAI2."""
    if of == "BAI2":
        return code in _BAI2
    parts = _PART.findall(code.upper())
    has_business_code = len(parts) > 1 and parts[1] in BUSINESS_CODES
    return has_business_code or bool((_SUB_FAMILIES | _SWIFT).intersection(parts))
