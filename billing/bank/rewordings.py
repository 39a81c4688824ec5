"""Lines that two overlapping downloads word differently: one payment, not two.

It concerns lines without a reference of the bank, such as those of most CSV files. Two lines are
the same payment if the downloads overlap, each has only one of them, amount and day are equal, and
one text has all words of the other.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from sqlalchemy import text
from sqlalchemy.orm import Session

from billing.bank.matching import remittance

#: Statements that cover days of those with these lines, and do not follow or precede them.
_OVERLAPPING = """
SELECT a.digest::text AS statement, b.digest::text AS other
FROM billing.statements AS a
JOIN billing.statements AS b ON b.account = a.account AND b.format = a.format
 AND b.currency IS NOT DISTINCT FROM a.currency AND b.digest <> a.digest
 AND COALESCE(b.from_date, b.opening_day) <= COALESCE(a.to_date, a.closing_day)
 AND COALESCE(a.from_date, a.opening_day) <= COALESCE(b.to_date, b.closing_day)
WHERE a.digest IN (SELECT m.statement FROM billing.statement_lines AS m
                   WHERE m.line = ANY(CAST(:keys AS uuid[])))
  AND (a.closing_minor = b.opening_minor AND a.opening_minor <> b.opening_minor) IS NOT TRUE
  AND (b.closing_minor = a.opening_minor AND a.opening_minor <> b.opening_minor) IS NOT TRUE
"""
#: Pairs of lines, one in each of two such statements, without a reference, equal in all but words.
_PAIRS = """
SELECT l.key::text, p.statement, o.key::text AS other, v.payload, w.payload AS other_payload,
       o.is_split AND o.pays_nothing IS NULL AS is_paid
FROM unnest(CAST(:statements AS uuid[]), CAST(:others AS uuid[])) AS p (statement, other)
JOIN billing.statement_lines AS m ON m.statement = p.statement
JOIN billing.bank_lines AS l ON l.key = m.line AND l.bank_reference IS NULL
JOIN billing.statement_lines AS n ON n.statement = p.other
JOIN billing.bank_lines AS o ON o.key = n.line AND o.bank_reference IS NULL
 AND o.amount_minor = l.amount_minor AND o.currency = l.currency AND o.status = l.status
 AND o.booking_date = l.booking_date AND o.key <> l.key
JOIN billing.line_wordings AS v ON v.line = l.key
JOIN billing.line_wordings AS w ON w.line = o.key
WHERE l.key = ANY(CAST(:keys AS uuid[]))
  AND NOT EXISTS (SELECT FROM billing.statement_lines AS x
                  WHERE (x.statement, x.line) = (p.other, l.key))
  AND NOT EXISTS (SELECT FROM billing.statement_lines AS x
                  WHERE (x.statement, x.line) = (p.statement, o.key))
ORDER BY l.key, o.key
"""


class Pair(NamedTuple):
    """A line, and one of an overlapping download that differs in words; `is_paid`: it pays."""

    key: str
    statement: str
    other: str
    payload: Mapping[str, Any]
    other_payload: Mapping[str, Any]
    is_paid: bool


def find(session: Session, keys: Sequence[str]) -> dict[str, str]:
    """Those of these lines that another download words differently: line -> the line that pays."""
    if not keys:
        return {}
    overlapping = session.execute(text(_OVERLAPPING), {"keys": list(keys)}).all()
    if not overlapping:
        return {}
    values = {
        "keys": list(keys),
        "statements": [row.statement for row in overlapping],
        "others": [row.other for row in overlapping],
    }
    pairs = [Pair(*row) for row in session.execute(text(_PAIRS), values)]
    # A line that is neither paid nor here has its turn later, and then finds this one paid.
    return pair_off(pair for pair in pairs if pair.is_paid or pair.other in keys)


def pair_off(pairs: Iterable[Pair]) -> dict[str, str]:
    """Pair the lines off, so that a line of a download stands for at most one of another."""
    same: dict[str, str] = {}
    taken: set[tuple[str, str]] = set()
    paying: set[str] = set()
    for pair in pairs:
        if pair.key in same or pair.key in paying or pair.other in same:
            continue
        if (pair.other, pair.statement) in taken or not _is_same(pair.payload, pair.other_payload):
            continue
        same[pair.key] = pair.other
        taken.add((pair.other, pair.statement))
        paying.add(pair.other)
    return same


def _is_same(payload: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Whether one wording has all words of the other, and nothing contradicts."""
    if payload["details"] or other["details"]:
        return False
    for name in ("counterparty_iban", "end_to_end_id", "transaction_id"):
        if payload[name] and other[name] and payload[name] != other[name]:
            return False
    words, other_words = _words(payload), _words(other)
    return bool(words and other_words) and (words <= other_words or other_words <= words)


def _words(payload: Mapping[str, Any]) -> set[str]:
    references = [reference["value"] for reference in payload["references"]]
    texts = [*payload["remittance"], payload["counterparty"] or "", *references]
    return set(remittance.normalised(" ".join(texts)).split())
