"""One entry from the fields 61 and 86 of an MT940."""

from billing.currencies import NO_CURRENCY
from billing.statements.canonical import Entry, Status
from billing.statements.mt940.fields import Line
from billing.statements.mt940.purpose import Purpose

_CREDITS, _EXPECTED = frozenset({"C", "RD", "EC"}), frozenset({"EC", "ED"})
_REVERSALS = frozenset({"RC", "RD"})


def entry_of(line: Line, purpose: Purpose, *, position: str, message: str) -> Entry:
    """The entry of a field 61 with the purpose of its field 86; `message` is MT940 or MT942."""
    detail, note = purpose
    if line.iban and not detail.counterparty_iban:
        detail = detail._replace(counterparty_iban=line.iban)
    if line.supplement:
        note = f"{note}\n{line.supplement}" if note else line.supplement
    status = None if message == "MT942" else Status.BOOKED
    return Entry(
        position=position,
        amount_minor=line.amount_minor,
        currency=detail.currency or NO_CURRENCY,
        is_credit=line.mark in _CREDITS,
        status=Status.EXPECTED if line.mark in _EXPECTED else status,
        is_reversal=line.mark in _REVERSALS,
        booking_date=line.booking_date,
        value_date=line.value_date,
        bank_reference=line.bank_reference,
        customer_reference=line.customer_reference,
        type_code=line.type_code,
        corrects=None,
        note=note or None,
        details=(detail,),
    )
