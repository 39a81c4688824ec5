"""A bank's file into the worker's database, a piece at a time: no bytes go through the broker.

Like `billing_client.inbox`: the file counts when the transaction that is open commits.
"""

import hashlib
from contextlib import closing
from typing import Any

from billing_client.errors import InvalidField
from billing_client.inbox import Connection

#: A file goes in and out a piece at a time, so that a large one costs little memory.
PART_BYTES = 1_048_576
#: Bytes of one file; the worker reads none that is larger.
MAX_BYTES = 100_000_000
#: A file's name is for people; a longer one is cut.
MAX_NAME = 200

# Of the same bytes there is one file: who sends them again gets its id.
_FILE = """
INSERT INTO billing.statement_files (sha256, name, account, size, received_at)
VALUES (%s, %s, %s, %s, now()) ON CONFLICT (sha256) DO NOTHING RETURNING id
"""
_KNOWN = "SELECT id FROM billing.statement_files WHERE sha256 = %s"
_PART = "INSERT INTO billing.statement_file_parts (file_id, number, content) VALUES (%s, %s, %s)"


def shown_name(name: str) -> str:
    """A file's name as plain text: no control characters, no path, not too long."""
    printable = "".join(each if each.isprintable() else "?" for each in name)
    return printable.replace("\\", "/").rpartition("/")[2][:MAX_NAME]


def leave(connection: Connection, content: bytes, *, name: str, account: str | None) -> int:
    """Leave a file (1 byte to 100 MB) in the transaction that is open; returns its id.

    Harmless to repeat. Raises InvalidField for one that is empty or too large.
    """
    if not 0 < len(content) <= MAX_BYTES:
        raise InvalidField("content", f"must have 1 to {MAX_BYTES:,} bytes, not {len(content):,}")
    digest = hashlib.sha256(content).digest()
    with closing(connection.cursor()) as cursor:
        cursor.execute(_FILE, [digest, shown_name(name), account, len(content)])
        made = cursor.fetchone()
        if made is None:
            cursor.execute(_KNOWN, [digest])
            return int(cursor.fetchone()[0])
        _leave_parts(cursor, made[0], content)
    return int(made[0])


def _leave_parts(cursor: Any, file_id: int, content: bytes) -> None:
    for number, start in enumerate(range(0, len(content), PART_BYTES), start=1):
        cursor.execute(_PART, [file_id, number, content[start : start + PART_BYTES]])
