"""The main app's side of the tests: connections of its own to the shared database."""

from contextlib import contextmanager

import psycopg2

from worker.database import engine


def connect(**changed):
    """A plain psycopg2 connection, as the main app has one; `user` and `password` may be others."""
    url = engine().url.set(drivername="postgresql")
    if changed:
        url = url.set(username=changed["user"], password=changed["password"])
    return psycopg2.connect(url.render_as_string(hide_password=False))


class DjangoConnection:
    """What we use of `django.db.connection`: a wrapper whose cursors close as Django's do."""

    def __init__(self, connection):
        self._connection = connection

    @contextmanager
    def atomic(self):
        """As `django.db.transaction.atomic`: commits at its end, rolls back on an error."""
        try:
            yield
        except BaseException:
            self._connection.rollback()
            raise
        self._connection.commit()

    def cursor(self):
        return DjangoCursor(self._connection.cursor())


class DjangoCursor:
    """As `django.db.backends.utils.CursorWrapper`: no `close` of its own, passed to the cursor."""

    def __init__(self, cursor):
        self.cursor = cursor

    def __getattr__(self, name):
        return getattr(self.cursor, name)

    def __iter__(self):
        return iter(self.cursor)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def execute(self, sql, params=None):
        assert params is None or isinstance(params, list | tuple | dict)
        return self.cursor.execute(sql, params)
