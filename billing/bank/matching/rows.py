"""The rows that matching reads: issued invoices, known payers, and earlier payments."""

from datetime import date

from sqlalchemy import select, text
from sqlalchemy.orm import Session

from billing.bank.matching.open_items import DOUBLE_WITHIN, OpenItems, by_likeness
from billing.bank.matching.types import EarlierTransfer, IssuedInvoice, PayerHistory
from models.transfers import Payer

_INVOICES = """
SELECT i.id, i.account_id, i.reference, i.number, i.currency,
       CASE WHEN i.state = 'open' THEN i.due_minor - i.settled_minor - i.waived_minor
            ELSE 0 END AS due_minor,
       i.due_minor AS total_minor, i.state,
       i.issued_at::date AS issued_on, a.name, a.billing_email,
       EXISTS (SELECT FROM billing.suspensions AS s WHERE s.account_id = i.account_id
               AND s.reason = 'dispute' AND s.lifted_at IS NULL) AS is_contested
FROM billing.transfer_invoices AS i LEFT JOIN igny8_tenants AS a ON a.id = i.account_id
"""
_EARLIER = """
SELECT t.payer_iban, t.amount_minor, t.currency, array_agg(a.transfer_invoice_id), t.booking_date
FROM billing.transfers AS t JOIN billing.allocations AS a ON a.transfer_id = t.id
WHERE t.booking_date >= :since AND a.undoes IS NULL
  AND NOT EXISTS (SELECT FROM billing.allocations AS u WHERE u.undoes = a.id)
GROUP BY t.id
"""


def read(session: Session, *, since: date) -> OpenItems:
    """Read every issued invoice, every payer, and the payments since shortly before `since`.

    Closed invoices count too: a late or double payment names the reference of one.
    """
    invoices = {
        row.id: IssuedInvoice(
            id=row.id,
            account_id=row.account_id,
            reference=row.reference,
            number=row.number,
            currency=row.currency,
            due_minor=row.due_minor,
            total_minor=row.total_minor,
            state=row.state,
            issued_on=row.issued_on,
            names=tuple(name for name in (row.name, row.billing_email) if name),
            is_contested=row.is_contested,
        )
        for row in session.execute(text(_INVOICES))
    }
    payers: dict[str, dict[int, PayerHistory]] = {}
    for payer in session.scalars(select(Payer)):
        history = PayerHistory(payer.confirmed, payer.matched, payer.declined)
        payers.setdefault(payer.iban, {})[payer.account_id] = history
    rows = session.execute(text(_EARLIER), {"since": since - DOUBLE_WITHIN})
    earlier = [
        EarlierTransfer(iban, amount, currency, frozenset(invoice_ids), booking_date)
        for iban, amount, currency, invoice_ids, booking_date in rows
    ]
    return OpenItems(invoices, payers, by_likeness(earlier))
