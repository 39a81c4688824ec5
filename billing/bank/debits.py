"""Debits that may be returns: which debits become transfers, though most are our own payments.

A debit may be a return if the bank marks it, if its words speak of one, if it names an invoice of
ours, or if a payment of its amount came that shares an identifier or the other side with it.
"""

import json
import re
from collections.abc import Sequence
from typing import Any

from sqlalchemy import text
from sqlalchemy.orm import Session

from billing.bank import wordings
from billing.bank.matching import remittance
from billing.bank.matching.open_items import OpenItems
from billing.bank.matching.types import IncomingTransfer, IssuedInvoice
from billing.bank.wordings import Part, bank_mark, refund_words, return_words

#: The days in which a payment may come back (a direct debit without mandate: 13 months), and the
#: days by which a return may be booked before its payment.
RETURN_DAYS, EARLY_DAYS = 400, 7
_HEAD = re.compile(r"R\W{0,2}F\W{0,2}([0-9])\W{0,2}([0-9])")
_NUMBER = re.compile(r"[A-Z0-9]+(?:[-/][A-Z0-9]+)*")


#: Invoices that a text may name: by the first four characters of the reference, or by number.
_ISSUED = """
SELECT i.id, i.account_id, i.reference, i.number, i.currency, i.due_minor, i.state,
       i.issued_at::date AS issued_on
FROM billing.transfer_invoices AS i
WHERE left(i.reference, 4) = ANY(:heads) OR upper(i.number) = ANY(:numbers)
ORDER BY i.id
"""
#: Lines of the opposite amounts that share a key with a part: {table} as t, and its line's wording.
_SHARING = """
WITH batch AS (SELECT * FROM jsonb_to_recordset(CAST(:batch AS jsonb))
    AS b (number int, account text, currency text, amount bigint, day date, keys jsonb)),
wanted AS (SELECT b.*, k.key FROM batch AS b, jsonb_array_elements_text(b.keys) AS k (key)),
amounts AS (SELECT DISTINCT account, currency, amount FROM batch),
opposite AS MATERIALIZED (
    SELECT a.account, a.currency, a.amount, t.booking_date, {line} AS line, k.key
    FROM amounts AS a JOIN {table} AS t ON t.account = a.account AND t.currency = a.currency
     AND t.amount_minor = -a.amount AND {condition}
    JOIN billing.line_wordings AS w ON w.line = {line}
    CROSS JOIN LATERAL (SELECT COALESCE(w.payload->'details'->{place}, w.payload) AS x) AS d
    CROSS JOIN LATERAL unnest(ARRAY[
        d.x->>'uetr', d.x->>'transaction_id', d.x->>'bank_reference', d.x->>'end_to_end_id',
        d.x->>'detail_bank_reference', d.x->>'customer_reference', d.x->>'corrects',
        'iban ' || (d.x->>'counterparty_iban'), 'name ' || upper(d.x->>'counterparty'),
        'any']) AS k (key)
    WHERE k.key IS NOT NULL)
SELECT DISTINCT n.number, o.line::text
FROM wanted AS n JOIN opposite AS o USING (account, currency, amount, key)
WHERE o.booking_date BETWEEN n.day - CAST(:before AS int) AND n.day + CAST(:after AS int)
"""
#: Payments received of the amount of these debits.
_PAYMENTS = _SHARING.format(
    table="billing.transfers", line="t.line", place="t.place", condition="true"
)
#: Debits of the amount of these payments that were taken for our own payments.
_OWN_PAYMENTS = _SHARING.format(
    table="billing.bank_lines", line="t.key", place="0", condition="t.pays_nothing = 'own_payment'"
)


def returns_among(session: Session, parts: Sequence[Part]) -> tuple[list[Part], set[str]]:
    """Those debits among these parts that may be returns, and earlier lines that now may be, too.

    The earlier lines were taken for our own payments; a payment among the parts may be what they
    take back. The payments must have their transfers.
    """
    debits = [part for part in parts if part.amount_minor < 0]
    payments = [part for part in parts if part.amount_minor > 0]
    returns = _returns(session, debits) if debits else []
    rows = _sharing(session, _OWN_PAYMENTS, payments, before=EARLY_DAYS, after=RETURN_DAYS)
    return returns, {row.line for row in rows}


def _returns(session: Session, debits: Sequence[Part]) -> list[Part]:
    issued = issued_in(session, debits)
    returns: list[Part] = []
    rest: list[Part] = []
    for debit in debits:
        is_return = _speaks_of_return(debit) or named_in(debit, issued)
        (returns if is_return else rest).append(debit)
    rows = _sharing(session, _PAYMENTS, rest, before=RETURN_DAYS, after=EARLY_DAYS)
    return [*returns, *[rest[number] for number in sorted({row.number for row in rows})]]


def _speaks_of_return(debit: Part) -> bool:
    return bool(
        bank_mark(debit.payload, debit.detail, debit.of)
        or return_words(debit.payload, debit.detail)
    )


def _sharing(
    session: Session,
    query: str,
    parts: Sequence[Part],
    *,
    before: int,
    after: int,
) -> Sequence[Any]:
    """The number of each part that shares a key with a line of the opposite amount, and the line.

    The line is booked at most so many days before or after the part.
    """
    batch = [
        {
            "number": number,
            "account": part.account,
            "currency": part.currency,
            "amount": part.amount_minor,
            "day": str(part.booking_date),
            "keys": _keys(part),
        }
        for number, part in enumerate(parts)
    ]
    values = {"batch": json.dumps(batch), "before": before, "after": after}
    return session.execute(text(query), values).all() if batch else ()


def _keys(part: Part) -> list[str]:
    """The texts by which a payment and its return, or our refund of it, may be the same."""
    keys = sorted(part.identifiers)
    iban, name = (part.detail.get(field) for field in ("counterparty_iban", "counterparty"))
    keys += [f"iban {iban}"] if iban else []
    keys += [f"name {name.upper()}"] if name else []
    is_refund = part.amount_minor < 0 and refund_words(part.payload, part.detail)
    return [*keys, "any"] if is_refund else keys


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
    remittance_text = remittance.read(incoming, issued)
    return tuple(dict.fromkeys((*remittance_text.named, *remittance_text.numbered)))
