"""Statements that are sent to Postgres, counted also where the driver is used directly."""

from contextlib import contextmanager
from typing import ClassVar

import psycopg2.extensions
from sqlalchemy import event

from worker.database import engine


class Counting(psycopg2.extensions.cursor):
    """A cursor that keeps the statements it sends."""

    sent: ClassVar[list[str]] = []

    def execute(self, statement, values=None):
        Counting.sent.append(str(statement))
        return super().execute(statement, values)

    def copy_expert(self, statement, *arguments, **named):
        Counting.sent.append(statement)
        return super().copy_expert(statement, *arguments, **named)


@contextmanager
def counted():
    """Yield the list of the statements that are sent meanwhile."""

    def count(connection, _record):
        connection.cursor_factory = Counting

    engine().dispose()
    event.listen(engine(), "connect", count)
    Counting.sent.clear()
    try:
        yield Counting.sent
    finally:
        event.remove(engine(), "connect", count)
        engine().dispose()
