"""Statements straight to psycopg2, with errors as SQLAlchemy raises them: for the hot path only.

SQLAlchemy's part of a statement costs as much as Postgres' part of a small one.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import psycopg2  # type: ignore[import-untyped]
from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

Row = tuple[Any, ...]


def rows(session: Session, statement: str, values: Mapping[str, object]) -> list[Row]:
    """Run a statement in the session's transaction; returns what it answers."""
    connection = session.connection()
    with as_sqlalchemy(connection, statement), raw_of(connection).cursor() as cursor:
        cursor.execute(statement, values)
        answer: list[Row] = cursor.fetchall()
    return answer


def raw_of(connection: Connection) -> Any:
    """The driver's own connection, in the transaction of this one."""
    return connection.connection


@contextmanager
def as_sqlalchemy(connection: Connection, statement: str) -> Iterator[None]:
    """Raise the driver's errors as SQLAlchemy does, and have a broken connection forgotten."""
    raw = raw_of(connection)
    try:
        yield
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
