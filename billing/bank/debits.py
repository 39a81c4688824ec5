"""Debits that may be returns: which debits become transfers, though most are our own payments.

A debit may be a return if the bank marks it, if its words speak of one, if it names an invoice of
ours, or if a payment of its amount came that shares an identifier or the other side with it.
"""

import json
import re
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from sqlalchemy import text
from sqlalchemy.orm import Session

from billing.bank import wordings
from billing.bank.matching import remittance
from billing.bank.matching.open_items import IssuedInvoice, OpenItems, folded
from billing.bank.matching.types import IncomingTransfer
from billing.bank.return_signs import bank_mark, identifiers_of, refund_words, return_words

#: The days in which a payment may come back (a direct debit without mandate: 13 months), and the
#: days by which a return may be booked before its payment.
RETURN_DAYS, EARLY_DAYS = 400, 7
#: Pairs of a debit and a payment of its amount that one batch compares: a second or two.
MAX_PAIRS = 50_000
_HEAD = re.compile(r"R\W{0,2}F\W{0,2}([0-9])\W{0,2}([0-9])")
_NUMBER = re.compile(r"[A-Z0-9]+(?:[-/][A-Z0-9]+)*")


class Part(NamedTuple):
    """A transaction of a line, with its line's wording and format (`of`)."""

    line: str
    place: int
    account: str
    currency: str
    amount_minor: int
    booking_date: Any
    of: str
    payload: dict[str, Any]
    detail: dict[str, Any]

    @property
    def own(self) -> dict[str, Any]:
        """The wording of the line that counts for this transaction: none in a batch."""
        return {} if self.payload["details"] else self.payload


#: Invoices that a text may name: by the first four characters of the reference, or by number.
_ISSUED = """
SELECT i.id, i.account_id, i.reference, i.number, i.currency, i.due_minor, i.state,
       i.issued_at::date AS issued_on
FROM billing.transfer_invoices AS i
WHERE left(i.reference, 4) = ANY(:heads) OR upper(i.number) = ANY(:numbers)
ORDER BY i.id
"""
_BATCH = """
WITH batch AS (SELECT * FROM jsonb_to_recordset(CAST(:batch AS jsonb))
               AS b (number int, account text, currency text, amount bigint, day date))
"""
#: Payments received of the amount of these debits.
_PAYMENTS = f"""
{_BATCH}
SELECT b.number, t.line::text, t.place, w.payload, l.amount_minor
FROM batch AS b JOIN billing.transfers AS t
  ON t.account = b.account AND t.currency = b.currency AND t.amount_minor = -b.amount
 AND t.booking_date BETWEEN b.day - {RETURN_DAYS} AND b.day + {EARLY_DAYS}
JOIN billing.bank_lines AS l ON l.key = t.line
JOIN billing.line_wordings AS w ON w.line = t.line
LIMIT {MAX_PAIRS}
"""  # noqa: S608
#: Debits of the amount of these payments that were taken for our own payments.
_OWN_PAYMENTS = f"""
{_BATCH}
SELECT b.number, l.key::text AS line, 0 AS place, w.payload, l.amount_minor
FROM batch AS b JOIN billing.bank_lines AS l
  ON l.account = b.account AND l.currency = b.currency AND l.amount_minor = -b.amount
 AND l.booking_date BETWEEN b.day - {EARLY_DAYS} AND b.day + {RETURN_DAYS}
 AND l.pays_nothing = 'own_payment'
JOIN billing.line_wordings AS w ON w.line = l.key
LIMIT {MAX_PAIRS}
"""  # noqa: S608


def returns_among(session: Session, debits: Sequence[Part]) -> list[Part]:
    """Those of these debits that may be returns."""
    marked = {number for number, debit in enumerate(debits) if _speaks_of_return(debit)}
    issued = issued_in(session, debits)
    named = {number for number, debit in enumerate(debits) if named_in(debit, issued)}
    rest = [number for number in range(len(debits)) if number not in marked | named]
    rows = _same_amount(session, _PAYMENTS, debits, rest)
    shared = {row.number for row in rows if _may_undo(debits[row.number], _part(row))}
    return [debits[number] for number in sorted(marked | named | shared)]


def early_returns(session: Session, payments: Sequence[Part]) -> set[str]:
    """Lines of debits, taken for our own payments before, that may take these payments back."""
    rows = _same_amount(session, _OWN_PAYMENTS, payments, range(len(payments)))
    return {row.line for row in rows if _may_undo(_part(row), payments[row.number])}


def _speaks_of_return(debit: Part) -> bool:
    return bool(
        bank_mark(debit.payload, debit.detail, debit.of)
        or return_words(debit.payload, debit.detail)
    )


def _same_amount(
    session: Session, query: str, parts: Sequence[Part], numbers: Iterable[int]
) -> Sequence[Any]:
    batch = [
        {
            "number": number,
            "account": parts[number].account,
            "currency": parts[number].currency,
            "amount": parts[number].amount_minor,
            "day": str(parts[number].booking_date),
        }
        for number in numbers
    ]
    return session.execute(text(query), {"batch": json.dumps(batch)}).all() if batch else ()


def _part(row: Any) -> Part:
    details = {place: part for place, _, part in wordings.parts_of(row.payload, row.amount_minor)}
    detail = details.get(row.place, {})
    return Part(row.line, row.place, "", "", row.amount_minor, None, "", row.payload, detail)


def _may_undo(debit: Part, payment: Part) -> bool:
    """Whether a debit of a payment's amount may be its return, or our refund of it."""
    ids = identifiers_of(debit.own, debit.detail) & identifiers_of(payment.own, payment.detail)
    iban, name = (debit.detail.get(field) for field in ("counterparty_iban", "counterparty"))
    is_same_iban = bool(iban) and iban == payment.detail.get("counterparty_iban")
    words = folded(name or "")
    is_same_name = bool(words) and words == folded(payment.detail.get("counterparty") or "")
    is_refund = bool(refund_words(debit.payload, debit.detail))
    return bool(ids) or is_same_iban or is_same_name or is_refund


def issued_in(session: Session, debits: Sequence[Part]) -> OpenItems:
    """The invoices that the texts of these debits may name."""
    heads: set[str] = set()
    numbers: set[str] = set()
    for debit in debits:
        values = [reference.value for reference in wordings.references(debit.detail)]
        whole = " ".join(map(remittance.normalised, [*values, *wordings.texts(debit.detail)]))
        heads.update("RF" + "".join(match.groups()) for match in _HEAD.finditer(whole))
        numbers.update(token for token in _NUMBER.findall(whole) if "-" in token or "/" in token)
    if not heads and not numbers:
        return OpenItems({})
    rows = session.execute(text(_ISSUED), {"heads": list(heads), "numbers": list(numbers)})
    return OpenItems({row.id: _issued(row) for row in rows})


def _issued(row: Any) -> IssuedInvoice:
    return IssuedInvoice(
        id=row.id,
        account_id=row.account_id,
        reference=row.reference,
        number=row.number,
        currency=row.currency,
        due_minor=row.due_minor,
        total_minor=row.due_minor,
        state=row.state,
        issued_on=row.issued_on,
    )


def named_in(debit: Part, issued: OpenItems) -> tuple[IssuedInvoice, ...]:
    """The invoices that a debit names, by reference or by number."""
    if not issued.invoices:
        return ()
    incoming = IncomingTransfer(
        id=0,
        order="",
        amount_minor=-debit.amount_minor,
        currency=debit.currency,
        booking_date=debit.booking_date,
        receiving=debit.account,
        structured=tuple(wordings.references(debit.detail)),
        texts=tuple(wordings.texts(debit.detail)),
    )
    found = remittance.read(incoming, issued)
    return tuple(dict.fromkeys((*found.named, *found.numbered)))
