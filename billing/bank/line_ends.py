"""The end of every stored bank line: its transfers, or the reason why it pays nothing.

A line of a held statement has the statement's named holds beside it.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from sqlalchemy import text
from sqlalchemy.orm import Session

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


def explain(session: Session) -> None:
    """Store the reason of each line that pays nothing because of its account, state or day."""
    session.execute(text(_EXPLAIN))


def finish(session: Session, keys: Sequence[str], *, reworded: set[str]) -> None:
    """Mark these lines as split; one without a transfer gets its reason."""
    session.execute(text(_FINISH), {"keys": list(keys), "reworded": sorted(reworded)})


def split_again(session: Session, keys: Iterable[str]) -> None:
    """Look at these lines again: they were taken for our own payments."""
    session.execute(text(_SPLIT_AGAIN), {"keys": sorted(keys)})


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
