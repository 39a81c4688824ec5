"""Invoices and transfers for tests of matching; a test states only the facts it is about."""

import datetime as dt

from billing.bank.matching.open_items import OpenItems
from billing.bank.matching.rules import match
from billing.bank.matching.types import IncomingTransfer, IssuedInvoice, MatchingPolicy
from billing.statements.canonical import Reference
from billing.statements.references import creditor_reference as rf
from tests.billing.statements.writing import OWN_IBAN

DAY = dt.date(2026, 3, 10)
PAYER = "DE89370400440532013000"


def invoice(
    id, due=8900, *, account=None, state="open", currency="EUR", names=(), total=None, **more
):
    return IssuedInvoice(
        id=id,
        account_id=id if account is None else account,
        reference=rf(id),
        number=f"BT-2026-{id:06d}",
        currency=currency,
        due_minor=due if state == "open" else 0,
        total_minor=total or due,
        state=state,
        issued_on=more.pop("issued_on", DAY - dt.timedelta(days=10)),
        names=names,
        **more,
    )


def incoming(amount=8900, *texts, ref=None, kind="SCOR", id=1, **more):
    fields = {
        "order": f"{id:06d}",
        "currency": "EUR",
        "booking_date": DAY,
        "receiving": OWN_IBAN,
        "payer_name": "Anna Schmidt",
        "payer_iban": PAYER,
    } | more
    structured = tuple(
        Reference(kind, value) for value in ([ref] if isinstance(ref, str) else ref or ())
    )
    return IncomingTransfer(
        id=id, amount_minor=amount, structured=structured, texts=texts, **fields
    )


def open_items(*invoices, **more):
    return OpenItems({each.id: each for each in invoices}, **more)


def decide(transfer, *invoices, policy=None, **more):
    [decision] = match([transfer], open_items(*invoices, **more), policy or MatchingPolicy())
    return decision
