"""Lines of a statement into their tables, in sets; what is there already stays as it is."""

import json
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import TextIO

from sqlalchemy.orm import Session

from billing.bank.intake.line_keys import Keyed
from billing.postgres import arrays
from billing.statements.canonical import Statement

#: Lines that one statement writes: some megabytes with long texts.
AT_ONCE = 1_000

_LINES = """
INSERT INTO billing.bank_lines
    (key, account, format, currency, amount_minor, status, booking_date, bank_reference)
SELECT key, %(account)s, %(format)s, currency, amount_minor, status, booking_date, bank_reference
FROM unnest(%(key)s::uuid[], %(currency)s::text[], %(amount)s::bigint[], %(status)s::text[],
            %(day)s::date[], %(reference)s::text[])
    AS given (key, currency, amount_minor, status, booking_date, bank_reference)
ON CONFLICT (key) DO NOTHING
"""
_WORDINGS = """
INSERT INTO billing.line_wordings (line, digest, payload)
SELECT * FROM unnest(%(key)s::uuid[], %(wording)s::uuid[], %(payload)s::jsonb[])
ON CONFLICT DO NOTHING
"""
_LINKS = """
INSERT INTO billing.statement_lines (statement, line)
SELECT %(statement)s, line FROM unnest(%(key)s::uuid[]) AS given (line)
ON CONFLICT DO NOTHING
"""


def store(
    session: Session,
    lines: Iterable[Keyed],
    *,
    statement: Statement,
    digest: str,
    account: str,
) -> int:
    """Store the lines of this statement; returns how many were new to the account."""
    connection = session.connection()
    new = 0
    for chunk in _chunks(lines):
        columns = {
            "account": account,
            "format": statement.format,
            "statement": digest,
            "key": arrays.texts([line.key for line in chunk]),
            "wording": arrays.texts([line.wording for line in chunk]),
            "payload": arrays.texts([line.payload for line in chunk]),
            "currency": arrays.texts([line.currency for line in chunk]),
            "amount": arrays.numbers([line.amount_minor for line in chunk]),
            "status": arrays.texts([line.status for line in chunk]),
            "day": arrays.texts([line.day for line in chunk]),
            "reference": arrays.texts([line.bank_reference for line in chunk]),
        }
        new += connection.exec_driver_sql(_LINES, columns).rowcount
        connection.exec_driver_sql(_WORDINGS, columns)
        connection.exec_driver_sql(_LINKS, columns)
    return new


def _chunks(lines: Iterable[Keyed]) -> Iterator[list[Keyed]]:
    rest = iter(lines)
    while chunk := list(islice(rest, AT_ONCE)):
        yield chunk


def spool(lines: Iterable[Keyed], out: TextIO) -> list[str]:
    """Write the lines into a file, so that they are made once; returns what tells them apart."""
    said = []
    for line in lines:
        said += [line.key, line.wording]
        out.write(json.dumps(line) + "\n")
    return said


def spooled(source: TextIO) -> Iterator[Keyed]:
    """The lines out of such a file, from its beginning."""
    source.seek(0)
    for line in source:
        yield Keyed(*json.loads(line))
