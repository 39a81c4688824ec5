"""Statement files as bytes in the database: kept when received, and read later by id."""

import hashlib
import tempfile
from dataclasses import dataclass
from typing import IO, BinaryIO

from sqlalchemy import func, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from billing.context import Context
from billing.errors import Rejected
from billing.statements.errors import EmptyFile, FileTooLarge
from billing.statements.limits import MAX_FILE_BYTES
from billing_client.statement_files import PART_BYTES, shown_name
from models.bank import StatementFile, StatementFilePart


class UnknownStatementFile(Rejected):
    """No statement file has the id {file_id}."""


@dataclass(frozen=True, slots=True)
class ReceivedFile:
    """A file's id and state; `is_repeat`: these bytes were received before."""

    id: int
    state: str
    is_repeat: bool = False


def receive(
    ctx: Context, source: BinaryIO, *, name: str, account: str | None = None
) -> ReceivedFile:
    """Keep a file; the same bytes are kept once.

    `account`: the account's number, for a file that does not name it. Raises EmptyFile or
    FileTooLarge.
    """
    with tempfile.TemporaryFile() as copy:
        size, sha256 = _copy(source, copy)
        if not size:
            raise EmptyFile
        values = {
            "sha256": sha256,
            "name": shown_name(name),
            "account": account,
            "size": size,
            "received_at": ctx.now,
        }
        file_id = ctx.session.execute(
            insert(StatementFile)
            .values(**values)
            .on_conflict_do_nothing(index_elements=["sha256"])
            .returning(StatementFile.id)
        ).scalar()
        if file_id is not None:
            _insert_parts(ctx.session, file_id, copy)
            return ReceivedFile(file_id, "received")
    repeated = select(StatementFile.id, StatementFile.state).where(StatementFile.sha256 == sha256)
    file_id, state = ctx.session.execute(repeated).one()
    return ReceivedFile(file_id, state, is_repeat=True)


def _copy(source: BinaryIO, copy: IO[bytes]) -> tuple[int, bytes]:
    """Copy the source, so that nobody can change it; return the size and the digest."""
    hashed, size = hashlib.sha256(), 0
    while chunk := source.read(PART_BYTES):
        size += len(chunk)
        if size > MAX_FILE_BYTES:
            raise FileTooLarge(limit=MAX_FILE_BYTES)
        hashed.update(chunk)
        copy.write(chunk)
    copy.seek(0)
    return size, hashed.digest()


def _insert_parts(session: Session, file_id: int, copy: IO[bytes]) -> None:
    number = 0
    while chunk := copy.read(PART_BYTES):
        number += 1
        session.execute(
            insert(StatementFilePart).values(file_id=file_id, number=number, content=chunk)
        )


def load(session: Session, file_id: int) -> StatementFile:
    """Read the file's row. Raises UnknownStatementFile."""
    file = session.get(StatementFile, file_id)
    if file is None:
        raise UnknownStatementFile(file_id=file_id)
    return file


def write_content(session: Session, file_id: int, out: IO[bytes]) -> None:
    """Write the file's bytes into a temporary file, and rewind it."""
    numbers = select(StatementFilePart.number).where(StatementFilePart.file_id == file_id)
    for number in session.scalars(numbers.order_by(StatementFilePart.number)).all():
        of_part = select(StatementFilePart.content).where(
            StatementFilePart.file_id == file_id, StatementFilePart.number == number
        )
        out.write(session.execute(of_part).scalar_one())
    out.seek(0)


def waiting(session: Session, *, limit: int) -> list[int]:
    """List the received files that are not read yet, oldest first."""
    rows = select(StatementFile.id).where(StatementFile.state == "received")
    return list(session.scalars(rows.order_by(StatementFile.id).limit(limit)))


def finish(
    ctx: Context, file_id: int, *, error: str | None = None, reason: str | None = None
) -> None:
    """Mark the file as imported, or as refused with this error."""
    state = "refused" if error else "imported"
    ctx.session.execute(
        update(StatementFile)
        .where(StatementFile.id == file_id)
        .values(state=state, error=error, reason=reason, finished_at=ctx.now)
    )


def listed(session: Session, *, only_refused: bool = False, limit: int) -> list[StatementFile]:
    """List the files, newest first; or those refused that nobody has marked as seen."""
    rows = select(StatementFile).order_by(StatementFile.id.desc()).limit(limit)
    if only_refused:
        rows = rows.where(StatementFile.state == "refused", StatementFile.seen_by.is_(None))
    return list(session.scalars(rows))


def count_refused(session: Session) -> int:
    """Count the refused files that nobody has marked as seen."""
    rows = select(func.count()).select_from(StatementFile)
    unseen = rows.where(StatementFile.state == "refused", StatementFile.seen_by.is_(None))
    return session.execute(unseen).scalar_one()


def mark_seen(ctx: Context, file_id: int, *, because: str) -> None:
    """Record that a refused file needs nothing more. Raises UnknownStatementFile."""
    load(ctx.session, file_id)
    ctx.session.execute(
        update(StatementFile)
        .where(StatementFile.id == file_id)
        .values(seen_by=ctx.actor, seen_because=because)
    )
