"""Fields 61 and 86 of an MT940 made into one entry."""

from billing.statements.canonical import Detail, Entry, Status
from billing.statements.currencies import NO_CURRENCY
from billing.statements.draft import Draft
from billing.statements.mt940_fields import Line
from billing.statements.mt940_purpose import Purpose


def entry_of(line: Line, purpose: Purpose, position: str, draft: Draft) -> Entry:
    """The entry of field 61, with the purpose of its field 86, in the currency of its statement."""
    currency = draft.currency or NO_CURRENCY
    fields = purpose.fields
    if line.iban and not fields.get("counterparty_iban"):
        fields["counterparty_iban"] = line.iban
    detail = Detail(amount_minor=line.amount_minor, currency=currency, **fields)
    booked = None if draft.format == "MT942" else Status.BOOKED
    return Entry(
        position=position,
        amount_minor=line.amount_minor,
        currency=currency,
        is_credit=line.mark in {"C", "RD", "EC"},
        status=Status.EXPECTED if line.mark in {"EC", "ED"} else booked,
        is_reversal=line.mark in {"RC", "RD"},
        booking_date=line.booking_date,
        value_date=line.value_date,
        bank_reference=line.bank_reference,
        customer_reference=line.customer_reference,
        type_code=line.type_code,
        corrects=None,
        note="\n".join([text for text in (purpose.note, line.supplement) if text]) or None,
        details=(detail,),
    )
