"""Lets the product's statements run with a worker's rights, and the tests' own with all.

`TEST_AS_WORKER=1 make test`: each statement that a file of the product sends is sent as a role that
has the rights of a worker and no others. A statement of a test prepares or looks, and is sent as the
role of the tests. So a right that is missing in the table of rights is a test that fails.
"""

import sys
from pathlib import Path

import psycopg2.extensions
import sqlalchemy as sa

from worker.database import engine
from worker.roles import apply

ROLE = "suite_worker"
_ROOT = Path(__file__).parents[1]
_TESTS = str(_ROOT / "tests")
_PRODUCT = tuple(
    f"{_ROOT / name}/" for name in ("billing", "flows", "worker", "cli", "tasks", "web")
)


def begin():
    """Make the role, and let the engine's cursors switch to it."""
    with engine().begin() as connection:
        connection.execute(sa.text(f"CREATE ROLE {ROLE} NOLOGIN"))
    assert apply.give(ROLE, "worker").problems == []
    engine().dispose()
    sa.event.listen(engine(), "do_connect", _use_cursor)


def _use_cursor(_dialect, _record, _args, options):
    options["cursor_factory"] = Cursor


class Cursor(psycopg2.extensions.cursor):
    """Sends each statement as the role of whoever sends it."""

    def execute(self, *arguments):
        self._switch()
        return super().execute(*arguments)

    def copy_expert(self, *arguments, **options):
        self._switch()
        return super().copy_expert(*arguments, **options)

    def _switch(self):
        in_error = psycopg2.extensions.TRANSACTION_STATUS_INERROR
        if self.connection.info.transaction_status != in_error:
            role = ROLE if _is_of_the_product() else "NONE"
            # Not by this cursor: one with a name sends everything as a query of its own.
            with self.connection.cursor(cursor_factory=psycopg2.extensions.cursor) as plain:
                plain.execute(f"SET LOCAL ROLE {role}")


def _is_of_the_product():
    """Whether the nearest file that is ours, and sends a statement, belongs to the product."""
    frame = sys._getframe(2)
    while frame is not None:
        name = frame.f_code.co_filename
        if name.startswith(_TESTS) and name != __file__:
            return False
        if name.startswith(_PRODUCT):
            return True
        frame = frame.f_back
    return False
