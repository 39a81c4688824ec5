"""Fields 61 and 86 of an MT940 made into one entry."""

from billing.currencies import NO_CURRENCY
from billing.statements.canonical import Entry, Status
from billing.statements.mt940.fields import Line
from billing.statements.mt940.purpose import Purpose

_CREDITS, _EXPECTED = frozenset({"C", "RD", "EC"}), frozenset({"EC", "ED"})
_REVERSALS = frozenset({"RC", "RD"})


def entry_of(line: Line, purpose: Purpose, position: str, form: str) -> Entry:
    """The entry of field 61, with the purpose of its field 86; `form` is MT940 or MT942."""
    mark, amount, value, booked, _, kind, customer, bank, iban, supplement = line
    detail, note = purpose
    if iban and not detail.counterparty_iban:
        detail = detail._replace(counterparty_iban=iban)
    if supplement:
        note = f"{note}\n{supplement}" if note else supplement
    status = None if form == "MT942" else Status.BOOKED
    return Entry(  # by place: names would double what an entry costs
        position,
        amount,
        detail.currency or NO_CURRENCY,
        mark in _CREDITS,
        Status.EXPECTED if mark in _EXPECTED else status,
        mark in _REVERSALS,
        booked,
        value,
        bank,
        customer,
        kind,
        None,
        note or None,
        (detail,),
    )
