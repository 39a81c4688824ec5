"""The rows that matching reads: undecided transfers, invoices, payers, earlier payments."""

from datetime import date
from typing import Any, NamedTuple

from sqlalchemy import select, text
from sqlalchemy.orm import Session

from billing.bank import wordings
from billing.bank.matching.open_items import DOUBLE_WITHIN, OpenItems, by_likeness
from billing.bank.matching.types import (
    EarlierTransfer,
    IncomingTransfer,
    IssuedInvoice,
    PayerHistory,
)
from models.transfers import Payer

#: Transfers that one matching batch takes: a few seconds of work, and an ordinary day's transfers.
MATCH_AT_ONCE = 5_000
#: Transfers without a reviewer's decision whose line stands in a statement that is not held.
#: `payload`: the line's first wording. `notice`: the same payment as another format words it.
#: `twin`: a transfer of the account's other format, near the day on which the format changes.
_UNDECIDED = """
SELECT t.id, t.version, t.line::text, t.place, t.account, t.currency, t.amount_minor,
       t.booking_date, t.payer_iban, t.customer_id, t.state, l.amount_minor AS line_minor,
       l.format, w.payload, w.wordings, e.payload AS notice,
       (SELECT min(o.id) FROM billing.bank_format_switches AS c
        JOIN billing.transfers AS o ON o.currency = c.currency AND o.account = CASE
            WHEN t.booking_date >= c.from_day THEN c.former_number ELSE c.number END
        WHERE c.currency = t.currency AND t.account = CASE
            WHEN t.booking_date >= c.from_day THEN c.number ELSE c.former_number END
          AND t.booking_date BETWEEN c.from_day - 7 AND c.from_day + 7
          AND (o.booking_date >= c.from_day) <> (t.booking_date >= c.from_day)
          AND o.amount_minor = t.amount_minor
          AND o.booking_date BETWEEN t.booking_date - 7 AND t.booking_date + 7
          AND (o.payer_iban = t.payer_iban OR o.payer_iban IS NULL OR t.payer_iban IS NULL)
       ) AS twin
FROM billing.transfers AS t
JOIN billing.bank_lines AS l ON l.key = t.line
JOIN LATERAL (SELECT (array_agg(v.payload ORDER BY v.digest))[1] AS payload, count(*) AS wordings
              FROM billing.line_wordings AS v WHERE v.line = t.line) AS w ON true
LEFT JOIN LATERAL (
    SELECT min(v.payload::text)::jsonb AS payload
    FROM billing.bank_lines AS o JOIN billing.line_wordings AS v ON v.line = o.key
    WHERE o.account = l.account AND o.bank_reference = l.bank_reference AND o.key <> l.key
      AND o.format <> l.format AND o.amount_minor = l.amount_minor AND o.currency = l.currency
      AND o.booking_date = l.booking_date
    HAVING count(*) = 1) AS e ON true
WHERE t.state IN ('open', 'waiting')
  AND NOT EXISTS (SELECT FROM billing.transfer_decisions AS d
                  WHERE d.id = t.decision_id AND d.actor <> 'rule')
  AND EXISTS (SELECT FROM billing.statement_lines AS s
              JOIN billing.statements AS st ON st.digest = s.statement
              WHERE s.line = t.line AND NOT st.is_held)
ORDER BY t.state <> 'open', t.booking_date, t.id LIMIT :limit
"""
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


class UndecidedTransfer(NamedTuple):
    """A transfer as matching sees it, with its version and the bank's words about it.

    `is_return`: money that went, perhaps a return. `of`: the format of its line.
    """

    incoming: IncomingTransfer
    version: int
    payload: dict[str, Any]
    detail: dict[str, Any]
    is_return: bool
    of: str = ""


def undecided(session: Session) -> list[UndecidedTransfer]:
    """Read the transfers that rules may decide: not held, and not decided by a reviewer.

    New ones come first, so that a long review queue never delays them. After a reviewer's decision,
    even if it was undone since, no rule touches a transfer again.
    """
    values = {"limit": MATCH_AT_ONCE}
    return [_undecided(row) for row in session.execute(text(_UNDECIDED), values)]


def _undecided(row: Any) -> UndecidedTransfer:
    details = {place: detail for place, _, detail in wordings.parts_of(row.payload, row.line_minor)}
    detail = details.get(row.place, {})
    notice = row.notice if row.notice and not row.notice["details"] else {}
    is_marked = wordings.bank_mark(row.payload, detail, row.format) is not None
    incoming = IncomingTransfer(
        id=row.id,
        order=f"{row.line}/{row.place:06d}",
        amount_minor=row.amount_minor,
        currency=row.currency,
        booking_date=row.booking_date,
        receiving=row.account,
        structured=tuple(wordings.references(detail, notice)),
        texts=tuple(wordings.texts(detail, notice)),
        payer_name=detail.get("counterparty") or notice.get("counterparty"),
        payer_iban=detail.get("counterparty_iban") or notice.get("counterparty_iban"),
        virtual_owner=row.customer_id,
        doubts=tuple(_doubts(row, is_marked=is_marked)),
    )
    return UndecidedTransfer(
        incoming, row.version, row.payload, detail, row.amount_minor < 0, row.format
    )


def _doubts(row: Any, *, is_marked: bool) -> list[str]:
    doubts = []
    if row.wordings > 1:
        doubts.append("two statements say different things about this line")
    if row.payload["details"] and not row.payload["split_agrees"]:
        doubts.append("a batch whose transactions do not add up to it")
    elif not row.payload["split_agrees"]:
        doubts.append("its amount is stated in another way inside the line")
    if row.amount_minor > 0 and is_marked:
        doubts.append("the bank marks it as a reversal or a return")
    if row.twin:
        doubts.append(f"transfer {row.twin} is perhaps the same payment, in the other format")
    return doubts


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
