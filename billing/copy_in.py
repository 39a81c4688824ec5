"""Many rows at once by COPY, Postgres' fastest way in, with errors as SQLAlchemy raises them.

Rows are text lines, their columns parted by tabs: https://www.postgresql.org/docs/current/sql-copy.html
("Text Format").
"""

from collections.abc import Iterable
from itertools import islice
from typing import Any

import psycopg2  # type: ignore[import-untyped]
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

#: Lines that are made, and sent, in one go.
SENT_AT_ONCE = 250
#: A column that has no value.
NULL = "\\N"
_ESCAPES = str.maketrans({"\\": "\\\\", "\t": "\\t", "\n": "\\n", "\r": "\\r"})


def text(value: str | None) -> str:
    """A text column."""
    if value is None:
        return NULL
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
    connection = session.connection()
    raw: Any = connection.connection
    statement = f"COPY {table} ({columns}) FROM STDIN"
    source = _Lines(lines)
    try:
        with raw.cursor() as cursor:
            cursor.copy_expert(statement, source)
    except psycopg2.Error as error:
        if source.error is not None:
            # Postgres was only told that the copy was given up.
            raise source.error from None
        is_gone = connection.dialect.is_disconnect(error, raw, None)
        if is_gone:
            connection.invalidate(error)
        raise DBAPIError.instance(
            statement,
            None,
            error,
            psycopg2.Error,
            hide_parameters=True,
            connection_invalidated=is_gone,
            dialect=connection.dialect,
        ) from error
