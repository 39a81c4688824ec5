"""The end of every stored bank line: its transfers, or the reason why it pays nothing.

A line of a held statement has the statement's named holds beside it. A line is the money: its
transactions only split it, and only where they add up to it.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from sqlalchemy import text
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.orm import Session

from billing.bank import debits
from billing.bank.matching import remittance
from billing.bank.wordings import Part, parts_of_line
from billing.context import Context
from models.transfers import Transfer

#: Lines that one transaction splits.
SPLIT_AT_ONCE = 500
#: reason -> why such a line pays nothing, as operators read it
PAYS_NOTHING = {
    "own_payment": "money that we paid, and nothing shows a return",
    "no_amount": "an amount of 0",
    "not_booked": "the bank has not booked it: pending, expected or information",
    "other_format": "money of the account is recognised in another format",
    "account_unknown": "the account is not registered as ours",
    "account_currency": "the account is not registered in this currency",
    "no_date": "neither the line nor the closing balance has a day",
    "reworded": "another download has the same line in other words",
}
#: The format in which the account `b` recognises money on the day of the line `l`.
FORMAT_IN_FORCE = """
COALESCE((SELECT c.format FROM billing.bank_format_switches AS c
          WHERE c.number = b.number AND c.currency = b.currency AND c.from_day <= l.booking_date
          ORDER BY c.from_day DESC LIMIT 1), b.format)
"""
#: Lines without an end that can't have a transfer.
_EXPLAIN = f"""
UPDATE billing.bank_lines AS l SET pays_nothing = r.reason
FROM (
    SELECT l.key, CASE
        WHEN b.number IS NULL THEN CASE
            WHEN EXISTS (SELECT FROM billing.bank_accounts AS a WHERE a.number = l.account)
            THEN 'account_currency' ELSE 'account_unknown' END
        WHEN l.format <> {FORMAT_IN_FORCE} THEN 'other_format'
        WHEN l.status <> 'BOOK' THEN 'not_booked'
        WHEN l.booking_date IS NULL THEN 'no_date' END AS reason
    FROM billing.bank_lines AS l
    LEFT JOIN billing.bank_accounts AS b ON b.number = l.account AND b.currency = l.currency
    WHERE NOT l.is_split AND l.pays_nothing IS NULL) AS r
WHERE l.key = r.key AND r.reason IS NOT NULL AND NOT l.is_split AND l.pays_nothing IS NULL
"""  # noqa: S608
_FINISH = """
UPDATE billing.bank_lines AS l SET is_split = true, pays_nothing = CASE
    WHEN l.key = ANY(CAST(:reworded AS uuid[])) THEN 'reworded'
    WHEN EXISTS (SELECT FROM billing.transfers AS t WHERE t.line = l.key) THEN NULL
    WHEN l.amount_minor < 0 THEN 'own_payment' ELSE 'no_amount' END
WHERE l.key = ANY(CAST(:keys AS uuid[]))
"""
_SPLIT_AGAIN = """
UPDATE billing.bank_lines SET is_split = false, pays_nothing = NULL
WHERE key = ANY(CAST(:keys AS uuid[])) AND pays_nothing = 'own_payment'
"""
_FORGET = """
UPDATE billing.bank_lines SET pays_nothing = NULL WHERE account = :account AND NOT is_split
"""


#: Lines without an end of accounts that are ours, in the format in which the account recognises
#: money on their day.
_UNSPLIT_LINES = f"""
SELECT l.key::text, l.account, l.currency, l.amount_minor, l.booking_date, l.format, b.customer_id,
       (SELECT w.payload FROM billing.line_wordings AS w WHERE w.line = l.key
        ORDER BY w.digest LIMIT 1) AS payload
FROM billing.bank_lines AS l
JOIN billing.bank_accounts AS b ON b.number = l.account AND b.currency = l.currency
WHERE NOT l.is_split AND l.pays_nothing IS NULL AND l.status = 'BOOK'
  AND l.booking_date IS NOT NULL AND l.format = {FORMAT_IN_FORCE}
ORDER BY l.key LIMIT :limit FOR UPDATE OF l SKIP LOCKED
"""  # noqa: S608
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


def split_lines(ctx: Context, *, limit: int = SPLIT_AT_ONCE) -> int:
    """Give lines their end: transfers, or the reason why they pay nothing.

    Return the number of lines that were split into transfers, or could have been.
    """
    ctx.session.execute(text(_EXPLAIN))
    lines = ctx.session.execute(text(_UNSPLIT_LINES), {"limit": limit}).all()
    keys = [line.key for line in lines]
    same = reworded(ctx.session, keys)
    parts = [part for line in lines if line.key not in same for part in parts_of_line(line)]
    payments = [part for part in parts if part.amount_minor > 0]
    customer_ids = {(line.account, line.currency): line.customer_id for line in lines}
    if payments:
        _insert(ctx, payments, customer_ids)
    returns, early = debits.returns_among(ctx.session, parts)
    if returns:
        _insert(ctx, returns, customer_ids)
    ctx.session.execute(text(_FINISH), {"keys": keys, "reworded": sorted(same)})
    if not early:
        return len(lines)
    # They were taken for our own payments: look at them again.
    ctx.session.execute(text(_SPLIT_AGAIN), {"keys": sorted(early)})
    return len(lines) + split_lines(ctx, limit=limit)


def _insert(
    ctx: Context, parts: Sequence[Part], customer_ids: Mapping[tuple[str, str], int | None]
) -> None:
    """Make the transfers of these transactions."""
    rows = [
        {
            "line": part.line,
            "place": part.place,
            "account": part.account,
            "currency": part.currency,
            "amount_minor": part.amount_minor,
            "booking_date": part.booking_date,
            "payer_iban": part.detail.get("counterparty_iban"),
            "customer_id": customer_ids[part.account, part.currency],
            "recorded_at": ctx.now,
        }
        for part in parts
    ]
    ctx.session.execute(upsert(Transfer).on_conflict_do_nothing(), rows)


class Pair(NamedTuple):
    """A line, and one of an overlapping download that differs in words; `is_paid`: it pays."""

    key: str
    statement: str
    other: str
    payload: Mapping[str, Any]
    other_payload: Mapping[str, Any]
    is_paid: bool


def reworded(session: Session, keys: Sequence[str]) -> dict[str, str]:
    """Those of these lines that another download words differently: line -> the line that pays.

    It concerns lines without a reference of the bank, such as those of most CSV files. Two lines
    are the same payment if the downloads overlap, each has only one of them, amount and day are
    equal, and one text has all words of the other.
    """
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


def forget(session: Session, account: str) -> None:
    """Forget why the lines of an account could not be split, because its registration changed."""
    session.execute(text(_FORGET), {"account": account})


@dataclass(frozen=True, slots=True)
class LineEnd:
    """The number and sum of lines with one end.

    `end`: transfer, held, pays_nothing, or none for a line that matching has not seen. `why`: the
    reasons of the hold, or why it pays nothing.
    """

    end: str
    why: str
    currency: str
    lines: int
    amount_minor: int


#: A line is held while every statement that lists it is held.
_ENDS = """
WITH held AS (
    SELECT m.line, string_agg(DISTINCT r.hold->>'reason', ', ') AS reasons
    FROM billing.statements AS s
    JOIN billing.statement_lines AS m ON m.statement = s.digest
    CROSS JOIN jsonb_array_elements(s.holds || s.chain_holds) AS r (hold)
    WHERE s.is_held AND NOT EXISTS (
        SELECT FROM billing.statement_lines AS o JOIN billing.statements AS t
          ON t.digest = o.statement AND NOT t.is_held WHERE o.line = m.line)
    GROUP BY m.line)
SELECT CASE WHEN h.line IS NOT NULL THEN 'held' WHEN l.pays_nothing IS NOT NULL THEN 'pays_nothing'
            WHEN l.is_split THEN 'transfer' ELSE 'none' END AS end,
       COALESCE(h.reasons, l.pays_nothing, '') AS reason, l.currency,
       count(*) AS lines, sum(l.amount_minor)::bigint AS amount_minor
FROM billing.bank_lines AS l LEFT JOIN held AS h ON h.line = l.key
"""
_OF_FILES = """
WHERE l.key IN (SELECT m.line FROM billing.statement_lines AS m
                JOIN billing.file_statements AS f ON f.statement = m.statement
                WHERE f.file_id = ANY(:file_ids))
"""
_GROUPED = "GROUP BY 1, 2, 3 ORDER BY 1 DESC, 2, 3"


def ends_of_files(session: Session, file_ids: Sequence[int]) -> list[LineEnd]:
    """Sum up the ends of the lines of these files."""
    rows = session.execute(text(_ENDS + _OF_FILES + _GROUPED), {"file_ids": list(file_ids)})
    return [_line_end(*row) for row in rows]


def ends(session: Session) -> list[LineEnd]:
    """Sum up the ends of all stored lines."""
    return [_line_end(*row) for row in session.execute(text(_ENDS + _GROUPED))]


def _line_end(end: str, reason: str, currency: str, lines: int, amount_minor: int) -> LineEnd:
    why = f"{reason}: {PAYS_NOTHING[reason]}" if reason in PAYS_NOTHING else reason
    return LineEnd(end, why, currency, lines, amount_minor)
