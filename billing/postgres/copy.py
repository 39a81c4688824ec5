"""Many rows at once by COPY, Postgres' fastest way in, with errors as SQLAlchemy raises them.

Rows are text lines (https://www.postgresql.org/docs/current/sql-copy.html, "Text Format"). Their
columns are parted by the unit separator, which no printable text holds, and one without a value is
written as Python writes None: so most lines are one f-string.
"""

from collections.abc import Iterable
from itertools import islice

import psycopg2  # type: ignore[import-untyped]
from sqlalchemy.orm import Session

from billing.postgres.driver import as_sqlalchemy, raw_of

#: Lines that are made, and sent, in one go.
SENT_AT_ONCE = 250
#: Between two columns.
SEPARATOR = "\x1f"
NULL = "None"
_FORM = "(DELIMITER E'\\x1f', NULL 'None')"
_ESCAPES = str.maketrans({"\\": "\\\\", SEPARATOR: "\\x1f", "\n": "\\n", "\r": "\\r"})


def text(value: str | None) -> str:
    """A text column."""
    if value is None:
        return NULL
    if value == NULL:
        return "\\x4eone"
    # Of printable text only the backslash means something to COPY.
    return value if value.isprintable() and "\\" not in value else value.translate(_ESCAPES)


def binary(value: bytes) -> str:
    """A bytea column, in hexadecimal."""
    return "\\\\x" + value.hex()


class _Lines:
    """What psycopg2 reads from: Postgres works on the first lines while the next are made."""

    def __init__(self, lines: Iterable[str]) -> None:
        self._lines = iter(lines)
        self.error: Exception | None = None

    def read(self, _size: int) -> str:
        try:
            return "".join(islice(self._lines, SENT_AT_ONCE))
        except Exception as error:
            self.error = error
            raise


def rows(session: Session, table: str, columns: str, lines: Iterable[str]) -> None:
    """Insert these lines, each with its line end, all or none.

    Raises sqlalchemy.exc.IntegrityError and the like, as a statement would.
    """
    statement = f"COPY {table} ({columns}) FROM STDIN {_FORM}"
    source = _Lines(lines)
    connection = session.connection()
    with as_sqlalchemy(connection, statement):
        try:
            with raw_of(connection).cursor() as cursor:
                cursor.copy_expert(statement, source)
        except psycopg2.Error:
            if source.error is not None:
                # Postgres was only told that the copy was given up.
                raise source.error from None
            raise
