"""What matching needs, out of the tables: undecided transfers, invoices, payers, past payments."""

import datetime as dt
from typing import Any, NamedTuple

from sqlalchemy import select, text
from sqlalchemy.orm import Session

from billing.bank.matching.types import (
    Earlier,
    Incoming,
    Invoice,
    OpenItems,
    Trust,
    earlier_by_likeness,
)
from billing.bank.matching.vetoes import DOUBLE_WITHIN
from billing.bank.transfers import is_return, parts_of
from billing.statements.canonical import Reference
from models.transfers import Payer

#: Transfers that one run decides about: some seconds, and all that came in an ordinary day.
AT_ONCE = 5_000

#: Of a line: whether a statement that is not held lists it, its first wording, and how many it has.
_UNDECIDED = """
SELECT t.id, t.version, t.line::text, t.place, t.account, t.currency, t.amount_minor,
       t.booking_date, t.payer_iban, t.customer_id, t.state, l.amount_minor AS line_minor,
       w.payload, w.wordings, e.payload AS more
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
WHERE t.state = ANY(:states)
  AND NOT EXISTS (SELECT FROM billing.transfer_decisions AS d
                  WHERE d.id = t.decision_id AND d.actor <> 'rule')
  AND EXISTS (SELECT FROM billing.statement_lines AS s
              JOIN billing.statements AS st ON st.digest = s.statement
              WHERE s.line = t.line AND NOT st.is_held)
ORDER BY t.state <> 'open', t.booking_date, t.id LIMIT :limit
"""


class Undecided(NamedTuple):
    """A transfer as matching sees it, with its version and what the bank said of it."""

    incoming: Incoming
    version: int
    payload: dict[str, Any]
    detail: dict[str, Any]
    is_return: bool


def undecided(
    session: Session, *, states: tuple[str, ...] = ("open", "waiting"), limit: int = AT_ONCE
) -> list[Undecided]:
    """Transfers of statements that are not held, and that no person has decided about.

    New ones come first, so that a long queue never keeps them waiting. What a person has once
    decided, even if undone since, is theirs.
    """
    rows = session.execute(text(_UNDECIDED), {"states": list(states), "limit": limit}).all()
    return [_undecided(row) for row in rows]


def _undecided(row: Any) -> Undecided:
    parts = {place: detail for place, _, detail in parts_of(row.payload, row.line_minor)}
    detail = parts.get(row.place, {})
    more = row.more if row.more and not row.more["details"] else {}
    incoming = Incoming(
        id=row.id,
        order=f"{row.line}/{row.place:06d}",
        amount_minor=row.amount_minor,
        currency=row.currency,
        booking_date=row.booking_date,
        receiving=row.account,
        structured=tuple(_references(detail, more)),
        texts=tuple(_texts(detail, more)),
        payer_name=detail.get("counterparty") or more.get("counterparty"),
        payer_iban=detail.get("counterparty_iban") or more.get("counterparty_iban"),
        virtual_owner=row.customer_id,
        doubts=tuple(_doubts(row, detail)),
    )
    return Undecided(
        incoming,
        row.version,
        row.payload,
        detail,
        row.amount_minor < 0 and is_return(row.payload, detail),
    )


def _references(*said: dict[str, Any]) -> list[Reference]:
    found = [Reference(**one) for each in said for one in each.get("references", ())]
    return list(dict.fromkeys(found))


def _texts(*said: dict[str, Any]) -> list[str]:
    """The payer's words, a notification's among them; lines of one text may break a word."""
    return [
        line
        for each in said
        for line in (
            *each.get("remittance", ()),
            *[each[name] for name in ("end_to_end_id", "note") if each.get(name)],
        )
    ]


def _doubts(row: Any, detail: dict[str, Any]) -> list[str]:
    found = []
    if row.wordings > 1:
        found.append("two statements say different things about this line")
    if row.payload["details"] and not row.payload["split_agrees"]:
        found.append("a batch whose transactions do not add up to it")
    elif not row.payload["split_agrees"]:
        found.append("its amount is stated in another way inside the line")
    if row.amount_minor > 0 and is_return(row.payload, detail):
        found.append("the bank marks it as a reversal or a return")
    return found


_INVOICES = """
SELECT i.id, i.account_id, i.reference, i.number, i.currency,
       i.due_minor - i.settled_minor AS due_minor, i.due_minor AS total_minor, i.state,
       i.issued_at::date AS issued_on, a.name, a.billing_email,
       EXISTS (SELECT FROM billing.suspensions AS s WHERE s.account_id = i.account_id
               AND s.reason = 'dispute' AND s.lifted_at IS NULL) AS is_contested
FROM billing.transfer_invoices AS i LEFT JOIN igny8_tenants AS a ON a.id = i.account_id
"""


def open_items(session: Session, *, since: dt.date) -> OpenItems:
    """Every invoice that was ever issued, every payer, and payments since shortly before `since`.

    Closed invoices count too: their references are how a late or double payment shows itself.
    """
    invoices = {
        row.id: Invoice(
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
    return OpenItems(
        invoices,
        payers=_payers(session),
        earlier=earlier_by_likeness(_earlier(session, since - DOUBLE_WITHIN)),
    )


def _payers(session: Session) -> dict[str, dict[int, Trust]]:
    found: dict[str, dict[int, Trust]] = {}
    for one in session.scalars(select(Payer)):
        trust = Trust(one.confirmed, one.matched, one.declined)
        found.setdefault(one.iban, {})[one.account_id] = trust
    return found


_EARLIER = """
SELECT t.payer_iban, t.amount_minor, t.currency, t.booking_date,
       array_agg(a.transfer_invoice_id) AS invoices
FROM billing.transfers AS t JOIN billing.allocations AS a ON a.transfer_id = t.id
WHERE t.booking_date >= :since AND a.undoes IS NULL
GROUP BY t.id
"""


def _earlier(session: Session, since: dt.date) -> list[Earlier]:
    rows = session.execute(text(_EARLIER), {"since": since})
    return [
        Earlier(row.payer_iban, row.amount_minor, row.currency, frozenset(row.invoices), row[3])
        for row in rows
    ]
