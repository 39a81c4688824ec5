"""Statement files as bytes in the database: what is received is kept, and read later by its id."""

import hashlib
import tempfile
from dataclasses import dataclass
from typing import IO, BinaryIO

from sqlalchemy import select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from billing.context import Context
from billing.errors import Rejected
from billing.statements.errors import EmptyFile, FileTooLarge
from billing.statements.limits import MAX_FILE_BYTES
from billing_client.statement_files import PART_BYTES, shown_name
from models.bank import StatementFile, StatementFilePart


class UnknownStatementFile(Rejected):
    """No statement file has this id."""


@dataclass(frozen=True, slots=True)
class Received:
    """A file's id; `is_repeat`: these bytes were here before."""

    id: int
    state: str
    is_repeat: bool = False


def receive(ctx: Context, source: BinaryIO, *, name: str, account: str | None = None) -> Received:
    """Keep a file; the same bytes are kept once.

    `account`: the number of the account that the file is of, where it does not say so itself.
    Raises EmptyFile or FileTooLarge.
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
        made = ctx.session.execute(
            insert(StatementFile)
            .values(**values)
            .on_conflict_do_nothing(index_elements=["sha256"])
            .returning(StatementFile.id)
        ).scalar()
        if made is not None:
            _keep_parts(ctx.session, made, copy)
            return Received(made, "received")
    known = select(StatementFile.id, StatementFile.state).where(StatementFile.sha256 == sha256)
    file_id, state = ctx.session.execute(known).one()
    return Received(file_id, state, is_repeat=True)


def _copy(source: BinaryIO, copy: IO[bytes]) -> tuple[int, bytes]:
    """A copy that nobody writes to any more, its size, and its digest."""
    hashed, size = hashlib.sha256(), 0
    while chunk := source.read(PART_BYTES):
        size += len(chunk)
        if size > MAX_FILE_BYTES:
            raise FileTooLarge(limit=MAX_FILE_BYTES)
        hashed.update(chunk)
        copy.write(chunk)
    copy.seek(0)
    return size, hashed.digest()


def _keep_parts(session: Session, file_id: int, copy: IO[bytes]) -> None:
    number = 0
    while chunk := copy.read(PART_BYTES):
        number += 1
        session.execute(
            insert(StatementFilePart).values(file_id=file_id, number=number, content=chunk)
        )


def load(session: Session, file_id: int) -> StatementFile:
    """What is known of the file. Raises UnknownStatementFile."""
    file = session.get(StatementFile, file_id)
    if file is None:
        raise UnknownStatementFile(file_id=file_id)
    return file


def write_content(session: Session, file_id: int, out: IO[bytes]) -> None:
    """Write the file's bytes into a temporary one, a piece at a time, and go to its beginning."""
    numbers = select(StatementFilePart.number).where(StatementFilePart.file_id == file_id)
    for number in session.scalars(numbers.order_by(StatementFilePart.number)).all():
        of_part = select(StatementFilePart.content).where(
            StatementFilePart.file_id == file_id, StatementFilePart.number == number
        )
        out.write(session.execute(of_part).scalar_one())
    out.seek(0)


def waiting(session: Session, *, limit: int) -> list[int]:
    """Files that were received and not yet read, oldest first."""
    rows = select(StatementFile.id).where(StatementFile.state == "received")
    return list(session.scalars(rows.order_by(StatementFile.id).limit(limit)))


def finish(
    ctx: Context, file_id: int, *, error: str | None = None, reason: str | None = None
) -> None:
    """Say what became of the file: imported, or refused for this reason."""
    state = "refused" if error else "imported"
    ctx.session.execute(
        update(StatementFile)
        .where(StatementFile.id == file_id)
        .values(state=state, error=error, reason=reason, finished_at=ctx.now)
    )
