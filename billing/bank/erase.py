"""What names a person in the bank's words about a closed account, blanked; the money stays.

The files as they were received are not touched: they are the bank's, and hold other customers too.
"""

import json
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from sqlalchemy.orm import Session

from billing.postgres import arrays

#: Fields of a payment in a line's wording that say who paid, or what they wrote.
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
# With the lines in which another format tells of the same payment.
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


def blank(session: Session, account_ids: Sequence[int]) -> None:
    """Blank who paid for these accounts: names, accounts, and the words of their payments.

    Of a line that is a batch only their own payments.
    """
    connection = session.connection()
    asked = {"ids": arrays.numbers(account_ids)}
    connection.exec_driver_sql(
        "DELETE FROM billing.payers WHERE account_id = ANY(%(ids)s::bigint[])", asked
    )
    places: dict[str, set[int]] = defaultdict(set)
    for line, place in connection.exec_driver_sql(_TRANSFERS, asked).all():
        places[line].add(place)
    if not places:
        return
    found = connection.exec_driver_sql(_WORDINGS, {"lines": arrays.texts(places)}).all()
    rewritten = [
        (line, digest, blanked(payload, places[of_line]))
        for of_line, line, digest, payload in found
    ]
    connection.exec_driver_sql(
        _REWRITE,
        {
            "lines": arrays.texts([line for line, _, _ in rewritten]),
            "digests": arrays.texts([digest for _, digest, _ in rewritten]),
            "payloads": arrays.texts([json.dumps(payload) for _, _, payload in rewritten]),
        },
    )


def blanked(payload: dict[str, Any], places: set[int]) -> dict[str, Any]:
    """A wording without what is personal in the payments at these places."""
    details = payload["details"]
    if not details:
        return _without(payload)
    kept = [_without(one) if place in places else one for place, one in enumerate(details)]
    return {**payload, "details": kept}


def _without(said: dict[str, Any]) -> dict[str, Any]:
    return said | {name: blank for name, blank in _PERSONAL.items() if name in said}
