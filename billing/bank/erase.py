"""Erasure of the personal data in a closed account's payments; the money stays.

The received files are not touched: they are the bank's, and hold other customers too.
"""

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from sqlalchemy.orm import Session

from billing.postgres import sql

#: Fields of a payment in a line's wording that hold the payer or the payer's words.
_PERSONAL: dict[str, object] = {
    "counterparty": None,
    "counterparty_iban": None,
    "counterparty_account": None,
    "counterparty_bank": None,
    "ultimate_counterparty": None,
    "mandate_id": None,
    "remittance": [],
    "note": None,
    "detail_note": None,
}
_TRANSFERS = """
UPDATE billing.transfers AS t SET payer_iban = NULL
WHERE t.id IN (
    SELECT a.transfer_id FROM billing.allocations AS a
    JOIN billing.transfer_invoices AS i ON i.id = a.transfer_invoice_id
    WHERE i.account_id = ANY(%(ids)s::bigint[])
    UNION ALL
    SELECT u.transfer_id FROM billing.unapplied_cash AS u
    WHERE u.account_id = ANY(%(ids)s::bigint[]))
RETURNING t.line::text, t.place
"""
# Another format's lines about the same payment are erased too.
_WORDINGS = """
SELECT l.key::text, w.line::text, w.digest::text, w.payload
FROM billing.bank_lines AS l
JOIN billing.bank_lines AS o ON o.key = l.key
  OR (o.account = l.account AND o.bank_reference = l.bank_reference
      AND o.amount_minor = l.amount_minor AND o.currency = l.currency
      AND o.booking_date = l.booking_date AND o.format <> l.format)
JOIN billing.line_wordings AS w ON w.line = o.key
WHERE l.key = ANY(%(lines)s::uuid[])
"""
_REWRITE = """
UPDATE billing.line_wordings AS w SET payload = new.payload
FROM unnest(%(lines)s::uuid[], %(digests)s::uuid[], %(payloads)s::jsonb[])
     AS new (line, digest, payload)
WHERE w.line = new.line AND w.digest = new.digest
"""


def erase(session: Session, account_ids: Sequence[int]) -> None:
    """Erase the payers of these accounts: names, IBANs, and the words of their payments.

    In a line that is a batch, the payments of others stay as they are.
    """
    connection = session.connection()
    accounts = {"ids": sql.numbers(account_ids)}
    for table in ("payers", "customer_names"):
        connection.exec_driver_sql(
            f"DELETE FROM billing.{table} WHERE account_id = ANY(%(ids)s::bigint[])",  # noqa: S608
            accounts,
        )
    places: dict[str, set[int]] = defaultdict(set)
    for line, place in connection.exec_driver_sql(_TRANSFERS, accounts).all():
        places[line].add(place)
    if not places:
        return
    wordings = connection.exec_driver_sql(_WORDINGS, {"lines": sql.texts(places)}).all()
    payloads = [erased(payload, places[of_line]) for of_line, _, _, payload in wordings]
    connection.exec_driver_sql(
        _REWRITE,
        {
            "lines": sql.texts([line for _, line, _, _ in wordings]),
            "digests": sql.texts([digest for _, _, digest, _ in wordings]),
            "payloads": sql.objects(payloads),
        },
    )


def erased(payload: dict[str, Any], places: set[int]) -> dict[str, Any]:
    """A wording without the personal data of the payments at these places."""
    details = payload["details"]
    if not details:
        return _without_personal_data(payload)
    kept = [
        _without_personal_data(detail) if place in places else detail
        for place, detail in enumerate(details)
    ]
    return {**payload, "details": kept}


def _without_personal_data(wording: dict[str, Any]) -> dict[str, Any]:
    return wording | {name: empty for name, empty in _PERSONAL.items() if name in wording}
