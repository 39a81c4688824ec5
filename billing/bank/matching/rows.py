"""The rows that matching reads: undecided transfers, invoices, payers, earlier payments."""

import json
import re
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from sqlalchemy import select, text
from sqlalchemy.orm import Session

from billing.bank import wordings
from billing.bank.matching import remittance
from billing.bank.matching.open_items import (
    DOUBLE_WITHIN,
    MAX_BEARERS,
    OpenItems,
    by_likeness,
    folded_all,
)
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
#: Invoices that transfers may concern: named by reference or number; paid by one of these payments
#: lately; open ones of the named accounts and those at hand, and of an amount that came; one of
#: each account whose name has a word of a payer's, of many such accounts some more than count.
_INVOICES = """
WITH named AS (
    SELECT id, account_id FROM billing.transfer_invoices
    WHERE reference = ANY(ARRAY(
        SELECT left(r, 4) || lpad(ltrim(substr(r, 5), '0'), 10, '0')
        FROM unnest(%(references)s::text[]) AS r))
    UNION SELECT id, account_id FROM billing.transfer_invoices
    WHERE number = ANY(%(numbers)s::text[])),
wanted AS (
    SELECT id FROM named
    UNION SELECT unnest(%(ids)s::bigint[])
    UNION SELECT o.id FROM billing.transfer_invoices AS o WHERE o.state = 'open' AND o.account_id IN
        (SELECT account_id FROM named UNION SELECT unnest(%(accounts)s::bigint[]))
    UNION SELECT o.id
        FROM unnest(%(currencies)s::text[], %(amounts)s::bigint[]) AS a (currency, due)
        JOIN billing.transfer_invoices AS o ON o.state = 'open' AND o.currency = a.currency
         AND o.due_minor - o.settled_minor - o.waived_minor = a.due
    UNION SELECT l.id FROM unnest(%(words)s::text[]) AS w (word)
        CROSS JOIN LATERAL (SELECT n.account_id FROM billing.customer_names AS n
                            WHERE n.words @> ARRAY[w.word] LIMIT %(bearers)s) AS b
        CROSS JOIN LATERAL (SELECT i.id FROM billing.transfer_invoices AS i
                            WHERE i.account_id = b.account_id ORDER BY i.id DESC LIMIT 1) AS l)
SELECT i.id, i.account_id, i.reference, i.number, i.currency,
       CASE WHEN i.state = 'open' THEN i.due_minor - i.settled_minor - i.waived_minor
            ELSE 0 END AS due_minor,
       i.due_minor AS total_minor, i.state,
       i.issued_at::date AS issued_on, a.name, a.billing_email,
       EXISTS (SELECT FROM billing.suspensions AS s WHERE s.account_id = i.account_id
               AND s.reason = 'dispute' AND s.lifted_at IS NULL) AS is_contested
FROM wanted JOIN billing.transfer_invoices AS i ON i.id = wanted.id
LEFT JOIN igny8_tenants AS a ON a.id = i.account_id
"""
#: Past payments of these amounts around these days that still stand on invoices.
_EARLIER = """
SELECT t.payer_iban, t.amount_minor, t.currency, array_agg(a.transfer_invoice_id), t.booking_date
FROM billing.transfers AS t JOIN billing.allocations AS a ON a.transfer_id = t.id
WHERE t.id IN (
    SELECT e.id FROM unnest(%(currencies)s::text[], %(amounts)s::bigint[], %(days)s::date[])
                     AS n (currency, amount, day)
    JOIN billing.transfers AS e ON e.currency = n.currency AND e.amount_minor = n.amount
     AND e.booking_date BETWEEN n.day - %(within)s AND n.day + %(within)s)
  AND a.undoes IS NULL
  AND NOT EXISTS (SELECT FROM billing.allocations AS u WHERE u.undoes = a.id)
GROUP BY t.id
"""
_TO_READ = """
WITH changed AS (DELETE FROM billing.names_to_read RETURNING account_id)
SELECT DISTINCT c.account_id, a.name, a.billing_email
FROM changed AS c LEFT JOIN igny8_tenants AS a ON a.id = c.account_id ORDER BY 1
"""
_KEEP_NAME = """
INSERT INTO billing.customer_names (account_id, words)
SELECT (name->>'id')::bigint, ARRAY(SELECT jsonb_array_elements_text(name->'words'))
FROM jsonb_array_elements(CAST(:names AS jsonb)) AS name
ON CONFLICT (account_id) DO UPDATE SET words = EXCLUDED.words
"""
#: The number of an invoice of ours, without zeros in front of its words, or in one word.
_NUMBER = re.compile(r"([A-Z]+)(?:-([0-9]{1,4})-([0-9]+)|([0-9]{4})([0-9]{6,}))")


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


def read(session: Session, incoming: Sequence[IncomingTransfer]) -> OpenItems:
    """Read the invoices, payers and past payments that these transfers may concern, by indexes.

    Closed invoices count too: a late or double payment names the reference of one.
    """
    amounts = {(item.currency, item.amount_minor) for item in incoming}
    dated = {(item.currency, item.amount_minor, item.booking_date) for item in incoming}
    past = {**_columns(dated, "currencies", "amounts", "days"), "within": DOUBLE_WITHIN.days}
    payers = _payers(session, {item.payer_iban for item in incoming if item.payer_iban})
    owners = {item.virtual_owner for item in incoming if item.virtual_owner is not None}
    wanted = {
        **_columns(amounts, "currencies", "amounts"),
        "accounts": list(owners.union(*payers.values())),
        "bearers": MAX_BEARERS + 1,
    }
    _read_names(session)
    texts = [remittance.scan(transfer) for transfer in incoming]
    numbers = {number for text in texts for number in text.numbers}
    wanted["references"] = list(frozenset().union(*[text.references for text in texts]))
    wanted["numbers"] = [
        f"{prefix}-{year or glued_year}-{(count or glued_count).zfill(6)}"
        for match in map(_NUMBER.fullmatch, numbers)
        if match
        for prefix, year, count, glued_year, glued_count in [match.groups()]
    ]
    wanted["words"] = list(folded_all({item.payer_name for item in incoming if item.payer_name}))
    connection = session.connection()
    earlier = [
        EarlierTransfer(iban, amount, currency, frozenset(invoice_ids), booking_date)
        for iban, amount, currency, invoice_ids, booking_date in connection.exec_driver_sql(
            _EARLIER, past
        )
    ]
    wanted["ids"] = list({id for transfer in earlier for id in transfer.invoice_ids})
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
        for row in connection.exec_driver_sql(_INVOICES, wanted)
    }
    return OpenItems(invoices, payers, by_likeness(earlier))


def _columns(rows: Iterable[tuple[Any, ...]], *names: str) -> dict[str, list[Any]]:
    """The columns of these rows, by name."""
    columns = list(zip(*sorted(rows), strict=True)) or [()] * len(names)
    return {name: list(column) for name, column in zip(names, columns, strict=True)}


def _read_names(session: Session) -> None:
    """Read the names of accounts that have a new invoice, or that the main app renamed."""
    names = [
        {"id": account_id, "words": sorted(folded_all(filter(None, account_names)))}
        for account_id, *account_names in session.execute(text(_TO_READ))
    ]
    if names:
        session.execute(text(_KEEP_NAME), {"names": json.dumps(names)})


def _payers(session: Session, ibans: Iterable[str]) -> dict[str, dict[int, PayerHistory]]:
    payers: dict[str, dict[int, PayerHistory]] = {}
    for payer in session.scalars(select(Payer).where(Payer.iban.in_(list(ibans)))):
        history = PayerHistory(payer.confirmed, payer.matched, payer.declined)
        payers.setdefault(payer.iban, {})[payer.account_id] = history
    return payers
