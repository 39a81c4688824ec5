"""Fast ways into Postgres for batches: plain statements, COPY, and columns as array literals.

SQLAlchemy's share of a statement costs as much as Postgres' share of a small one, so the hot path
talks to psycopg2 directly. Errors are raised as SQLAlchemy raises them. One array literal a column
is the fastest way to pass many rows to a statement (decision 0003): 200 ids cost 94 us, as a plain
list 410. Reads of a few ids pass a list.
"""

import datetime as dt
import io
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import psycopg2  # type: ignore[import-untyped]
from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

Row = tuple[Any, ...]
#: A statement with its values.
Statement = tuple[str, Mapping[str, object]]

#: Characters that psycopg2 sends at once.
COPY_CHUNK = 2**16
#: Between two columns of COPY: the unit separator, which no printable text contains.
SEPARATOR = "\x1f"
#: NULL in COPY, written as Python writes None, so that most lines are one f-string.
NULL = "None"
_FORMAT = "(DELIMITER E'\\x1f', NULL 'None')"
_ESCAPES = str.maketrans({"\\": "\\\\", SEPARATOR: "\\x1f", "\n": "\\n", "\r": "\\r"})


def rows(session: Session, statement: str, values: Mapping[str, object]) -> list[Row]:
    """Run a statement in the session's transaction and return its rows."""
    return rows_of_each(session, [(statement, values)])[0]


def rows_of_each(session: Session, statements: Sequence[Statement]) -> list[list[Row]]:
    """Run these statements one after the other and return the rows of each.

    Each statement has a snapshot of its own: it sees what was committed before it began.
    """
    connection = session.connection()
    answers: list[list[Row]] = []
    with _cursor(connection) as cursor:
        for statement, values in statements:
            try:
                cursor.execute(statement, values)
                answers.append(cursor.fetchall())
            except psycopg2.Error as error:
                raise as_sqlalchemy(connection, statement, error) from error
    return answers


def copy(session: Session, table: str, columns: str, lines: Iterable[str]) -> None:
    """Insert rows by COPY, all or none.

    Args:
        session: The transaction.
        table: The table, with its schema.
        columns: Its columns, separated by commas.
        lines: One text per row with its line end, its columns set apart by SEPARATOR; text columns
            go through `copy_text` unless they are known to be plain
            (https://www.postgresql.org/docs/current/sql-copy.html, "Text Format").

    Raises:
        sqlalchemy.exc.IntegrityError: And the like, as a statement would.
    """
    statement = f"COPY {table} ({columns}) FROM STDIN {_FORMAT}"
    connection = session.connection()
    with _cursor(connection) as cursor:
        try:
            cursor.copy_expert(statement, io.StringIO("".join(lines)), size=COPY_CHUNK)
        except psycopg2.Error as error:
            raise as_sqlalchemy(connection, statement, error) from error


def _cursor(connection: Connection) -> Any:
    """A cursor of the driver, in the transaction of this connection."""
    return connection.connection.cursor()


def as_sqlalchemy(connection: Connection, statement: str, error: Any) -> DBAPIError:
    """The driver's error as SQLAlchemy raises it; a broken connection is not used again."""
    is_gone = connection.dialect.is_disconnect(error, connection.connection, None)
    if is_gone:
        connection.invalidate(error)
    wrapped = DBAPIError.instance(
        statement,
        None,
        error,
        psycopg2.Error,
        hide_parameters=True,
        connection_invalidated=is_gone,
        dialect=connection.dialect,
    )
    assert isinstance(wrapped, DBAPIError), "psycopg2's errors are the driver's"
    return wrapped


def insert(
    session: Session,
    table: str,
    types: Mapping[str, str],
    values: Sequence[Sequence[Any]],
    *,
    constants: Mapping[str, object] | None = None,
    tail: str = "",
) -> list[Row]:
    """Insert rows in the order given, in one statement.

    Args:
        session: The transaction.
        table: The table, with its schema.
        types: The Postgres type of each column.
        values: The rows, their values in the order of `types`.
        constants: Columns that have one value in all rows.
        tail: The end of the statement, after the SELECT: ON CONFLICT, RETURNING.

    Returns:
        The rows of RETURNING; empty without it.
    """
    if not values:
        return []
    columns = dict(zip(types, zip(*values, strict=True), strict=True))
    same = constants or {}
    names = ", ".join([*types, *same])
    given = ", ".join([*(f"new.{name}" for name in types), *(f"%({name})s" for name in same)])
    arrays = ", ".join(f"%({name})s::{kind}[]" for name, kind in types.items())
    statement = (
        f"INSERT INTO {table} ({names}) SELECT {given} FROM unnest({arrays})"  # noqa: S608 - ours
        f" WITH ORDINALITY AS new ({', '.join(types)}, place) ORDER BY place {tail}"
    )
    literals = {name: LITERALS[types[name]](column) for name, column in columns.items()}
    result = session.connection().exec_driver_sql(statement, {**literals, **same})
    return [tuple(row) for row in result] if result.returns_rows else []


def numbers(values: Iterable[int | None]) -> str:
    """`{1,2,NULL}`, for a cast to bigint[] or integer[]."""
    return "{" + ",".join(["NULL" if value is None else str(value) for value in values]) + "}"


def flags(values: Iterable[bool]) -> str:
    """`{true,false}`, for a cast to boolean[]."""
    return "{" + ",".join([str(value).lower() for value in values]) + "}"


def texts(values: Iterable[str | None]) -> str:
    """`{"a","b",NULL}` with quotes and backslashes escaped, for a cast to any type's array."""
    return "{" + ",".join(["NULL" if value is None else _quoted(value) for value in values]) + "}"


def objects(values: Iterable[Mapping[str, object] | list[object] | None]) -> str:
    """JSON documents, for a cast to jsonb[]."""
    return texts([None if value is None else json.dumps(value) for value in values])


def times(values: Iterable[dt.datetime | None]) -> str:
    """Points in time, for a cast to timestamptz[]."""
    return texts([None if value is None else value.isoformat() for value in values])


def binaries(values: Iterable[bytes | None]) -> str:
    """Bytes in hexadecimal, for a cast to bytea[]."""
    literals = ["NULL" if value is None else f'"\\\\x{value.hex()}"' for value in values]
    return "{" + ",".join(literals) + "}"


#: The array literal of a column, by its Postgres type.
LITERALS: Mapping[str, Callable[[Iterable[Any]], str]] = {
    "bigint": numbers,
    "int": numbers,
    "smallint": numbers,
    "boolean": flags,
    "text": texts,
    "uuid": texts,
    "date": texts,
    "json": texts,
    "jsonb": objects,
    "timestamptz": times,
    "bytea": binaries,
}


def _quoted(value: str) -> str:
    if "\\" in value or '"' in value:
        value = value.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{value}"'


def copy_text(value: str | None) -> str:
    """A text column of COPY."""
    if value is None:
        return NULL
    if value == NULL:
        return "\\x4eone"
    # In printable text only the backslash means something to COPY.
    return value if value.isprintable() and "\\" not in value else value.translate(_ESCAPES)
