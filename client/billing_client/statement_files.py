"""Storing a bank's file in the worker's database, so that its bytes never go through the broker.

As in `billing_client.inbox`, the file takes effect when the open transaction commits.
"""

import hashlib
from contextlib import closing

from billing_client.errors import InvalidField
from billing_client.inbox import Connection

#: A file is written and read in parts, so that a large one needs little memory.
PART_BYTES = 1_048_576
#: The largest file that the worker reads, in bytes.
MAX_BYTES = 100_000_000
#: A longer file name is cut to this many characters.
MAX_NAME = 200

# Equal bytes are stored once: a second sender gets the first file's id.
_INSERT_FILE = """
INSERT INTO billing.statement_files (sha256, name, account, size, received_at)
VALUES (%s, %s, %s, %s, now()) ON CONFLICT (sha256) DO NOTHING RETURNING id
"""
_SELECT_ID = "SELECT id FROM billing.statement_files WHERE sha256 = %s"
_INSERT_PART = (
    "INSERT INTO billing.statement_file_parts (file_id, number, content) VALUES (%s, %s, %s)"
)


def shown_name(name: str) -> str:
    """Return a file's name as plain text: no control characters, no path, not too long."""
    printable = "".join(character if character.isprintable() else "?" for character in name)
    return printable.replace("\\", "/").rpartition("/")[2][:MAX_NAME]


def leave(connection: Connection, content: bytes, *, name: str, account: str | None) -> int:
    """Store a file in the open transaction; `BillingClient.import_statement_in` calls it.

    Args:
        connection: A connection on which your transaction is open.
        content: The file's bytes, 1 byte to 100 MB.
        name: The file's name, shown to reviewers.
        account: The number of the bank account, for a file that does not name it.

    Returns:
        The id of the file; the first one's if the same bytes were stored before.

    Raises:
        InvalidField: The file is empty or too large; nothing was written.
    """
    if not 0 < len(content) <= MAX_BYTES:
        raise InvalidField("content", f"must have 1 to {MAX_BYTES:,} bytes, not {len(content):,}")
    digest = hashlib.sha256(content).digest()
    with closing(connection.cursor()) as cursor:
        cursor.execute(_INSERT_FILE, [digest, shown_name(name), account, len(content)])
        row = cursor.fetchone()
        if row is None:
            cursor.execute(_SELECT_ID, [digest])
            return int(cursor.fetchone()[0])
        for number, start in enumerate(range(0, len(content), PART_BYTES), start=1):
            cursor.execute(_INSERT_PART, [row[0], number, content[start : start + PART_BYTES]])
    return int(row[0])
