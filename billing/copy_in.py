"""Many rows at once by COPY, Postgres' fastest way in, with errors as SQLAlchemy raises them.

Rows are text lines, their columns parted by tabs: https://www.postgresql.org/docs/current/sql-copy.html
("Text Format").
"""

from collections.abc import Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from types import TracebackType
from typing import Any, Self

import psycopg2  # type: ignore[import-untyped]
from sqlalchemy.orm import Session

from billing.driver import as_sqlalchemy, raw_of

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
    statement = f"COPY {table} ({columns}) FROM STDIN"
    source = _Lines(lines)
    connection = session.connection()
    with as_sqlalchemy(connection, statement):
        try:
            _copy(raw_of(connection), statement, source)
        except psycopg2.Error:
            if source.error is not None:
                # Postgres was only told that the copy was given up.
                raise source.error from None
            raise


class Alongside:
    """Copies each part in a thread while the caller works out the next.

    Till the `with` ends, the session's connection is the thread's. The end waits for it, and raises
    the first error as `rows` does.
    """

    def __init__(self, session: Session) -> None:
        self._connection = session.connection()
        self._raw = raw_of(self._connection)
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="copy")
        self._parts: list[tuple[str, Future[None]]] = []

    def run(self, statement: str) -> None:
        """Have a statement without an answer run after all that was put before."""
        self._parts.append((statement, self._thread.submit(_run, self._raw, statement)))

    def put(self, table: str, columns: str, lines: Iterable[str]) -> None:
        """Have these lines, each with its line end, inserted after all that was put before."""
        statement = f"COPY {table} ({columns}) FROM STDIN"
        # Made now: the caller goes on with what they are made of.
        text = _Lines(["".join(lines)])
        self._parts.append((statement, self._thread.submit(_copy, self._raw, statement, text)))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._thread.shutdown()
        if error is None:
            for statement, part in self._parts:
                with as_sqlalchemy(self._connection, statement):
                    part.result()


def _run(raw: Any, statement: str) -> None:
    with raw.cursor() as cursor:
        cursor.execute(statement)


def _copy(raw: Any, statement: str, source: _Lines) -> None:
    with raw.cursor() as cursor:
        cursor.copy_expert(statement, source)
