"""Many rows at once by COPY, Postgres' fastest way in, with errors as SQLAlchemy raises them.

Rows are text lines, their columns parted by tabs: https://www.postgresql.org/docs/current/sql-copy.html
("Text Format").
"""

import io
from collections.abc import Sequence
from typing import Any

import psycopg2  # type: ignore[import-untyped]
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

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


def rows(session: Session, table: str, columns: str, lines: Sequence[str]) -> None:
    """Insert these lines, each with its line end, all or none.

    Raises sqlalchemy.exc.IntegrityError and the like, as a statement would.
    """
    if not lines:
        return
    connection = session.connection()
    raw: Any = connection.connection
    statement = f"COPY {table} ({columns}) FROM STDIN"
    try:
        with raw.cursor() as cursor:
            cursor.copy_expert(statement, io.StringIO("".join(lines)), size=2**20)
    except psycopg2.Error as error:
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
