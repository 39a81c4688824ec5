"""Statement files as bytes in the database: what is received is kept, and read later by its id."""

import datetime as dt
import hashlib
from dataclasses import dataclass

from sqlalchemy import select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from billing.errors import Rejected
from billing.statements.errors import EmptyFile, FileTooLarge
from billing.statements.limits import MAX_FILE_BYTES
from models.bank import StatementFile

#: A file's name is for people; a longer one is cut.
MAX_NAME = 200


class UnknownStatementFile(Rejected):
    """No statement file has this id."""


@dataclass(frozen=True, slots=True)
class Received:
    """A file's id; `is_repeat`: these bytes were here before."""

    id: int
    state: str
    is_repeat: bool = False


def receive(
    session: Session, content: bytes, *, name: str, now: dt.datetime, account: str | None = None
) -> Received:
    """Keep a file; the same bytes are kept once.

    `account`: the number of the account that the file is of, where it does not say so itself.
    Raises EmptyFile or FileTooLarge.
    """
    if not content:
        raise EmptyFile
    if len(content) > MAX_FILE_BYTES:
        raise FileTooLarge(limit=MAX_FILE_BYTES)
    sha256 = hashlib.sha256(content).digest()
    made = session.execute(
        insert(StatementFile)
        .values(
            sha256=sha256,
            name=shown_name(name),
            account=account,
            content=content,
            received_at=now,
        )
        .on_conflict_do_nothing(index_elements=["sha256"])
        .returning(StatementFile.id)
    ).scalar()
    if made is not None:
        return Received(made, "received")
    known = select(StatementFile.id, StatementFile.state).where(StatementFile.sha256 == sha256)
    file_id, state = session.execute(known).one()
    return Received(file_id, state, is_repeat=True)


def shown_name(name: str) -> str:
    """A file's name as plain text: no control characters, no path, not too long."""
    printable = "".join(each if each.isprintable() else "?" for each in name)
    return printable.replace("\\", "/").rpartition("/")[2][:MAX_NAME]


def load(session: Session, file_id: int) -> tuple[StatementFile, bytes]:
    """The file and its bytes. Raises UnknownStatementFile."""
    file = session.get(StatementFile, file_id)
    if file is None:
        raise UnknownStatementFile(file_id=file_id)
    return file, file.content


def waiting(session: Session, *, limit: int) -> list[int]:
    """Files that were received and not yet read, oldest first."""
    rows = select(StatementFile.id).where(StatementFile.state == "received")
    return list(session.scalars(rows.order_by(StatementFile.id).limit(limit)))


def finish(
    session: Session,
    file_id: int,
    *,
    now: dt.datetime,
    error: str | None = None,
    reason: str | None = None,
) -> None:
    """Say what became of the file: imported, or refused for this reason."""
    state = "refused" if error else "imported"
    session.execute(
        update(StatementFile)
        .where(StatementFile.id == file_id)
        .values(state=state, error=error, reason=reason, finished_at=now)
    )
