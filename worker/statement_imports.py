"""How a statement file is imported: read with no transaction open, then one for each statement."""

from dataclasses import dataclass, field
from pathlib import Path

from billing.bank import files, importing
from billing.bank.importing import Imported
from billing.statements.errors import FileTooLarge, StatementRefused
from billing.statements.limits import MAX_FILE_BYTES
from worker import clock
from worker.database import rehearsal, transaction


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a file: imported, repeat or refused, and its statements."""

    file_id: int | None
    outcome: str
    statements: list[Imported] = field(default_factory=list)
    error: str | None = None
    reason: str | None = None


def import_bytes(content: bytes, *, name: str, account: str | None = None) -> Outcome:
    """Keep a file's bytes, then import them; the same bytes again change nothing."""
    try:
        with transaction() as session:
            received = files.receive(session, content, name=name, now=clock.now(), account=account)
    except StatementRefused as refusal:
        return Outcome(None, "refused", error=refusal.name, reason=str(refusal))
    return import_file(received.id)


def import_file(file_id: int) -> Outcome:
    """Import a file that was received. Raises UnknownStatementFile.

    Run twice, or by two workers at once, it leaves the same rows. A file that can't be read is
    refused and kept, and nothing of it is stored.
    """
    with transaction() as session:
        file, content = files.load(session, file_id)
    if file.state == "imported":
        return Outcome(file_id, "repeat")
    if file.state == "refused":
        return Outcome(file_id, "refused", error=file.error, reason=file.reason)
    try:
        found = importing.read(content, name=file.name, today=clock.now().date())
    except StatementRefused as refusal:
        return _refuse(file_id, refusal)
    stored = []
    for statement in found:
        with transaction() as session:
            stored.append(
                importing.store(
                    session,
                    statement,
                    file_id=file_id,
                    now=clock.now(),
                    stated_account=file.account,
                )
            )
    with transaction() as session:
        importing.look_again(session, stored)
        files.finish(session, file_id, now=clock.now())
    return Outcome(file_id, "imported", stored)


def rehearse(content: bytes, *, name: str, account: str | None = None) -> Outcome:
    """What importing these bytes would do; nothing stays."""
    now = clock.now()
    try:
        found = importing.read(content, name=name, today=now.date())
        with rehearsal() as session:
            file = files.receive(session, content, name=name, now=now, account=account)
            if file.state != "received":
                return Outcome(file.id, "repeat" if file.state == "imported" else file.state)
            stored = [
                importing.store(
                    session, statement, file_id=file.id, now=now, stated_account=account
                )
                for statement in found
            ]
    except StatementRefused as refusal:
        return Outcome(None, "refused", error=refusal.name, reason=str(refusal))
    return Outcome(None, "imported", stored)


def content_of(path: Path) -> bytes:
    """A file's bytes. Raises FileTooLarge unread for one that is larger than any statement."""
    if path.stat().st_size > MAX_FILE_BYTES:
        raise FileTooLarge(limit=MAX_FILE_BYTES)
    return path.read_bytes()


def import_path(path: Path, *, account: str | None = None) -> Outcome:
    """Import a file of this machine."""
    try:
        return import_bytes(content_of(path), name=path.name, account=account)
    except FileTooLarge as refusal:
        return Outcome(None, "refused", error=refusal.name, reason=str(refusal))


def _refuse(file_id: int, refusal: StatementRefused) -> Outcome:
    reason = str(refusal)
    with transaction() as session:
        files.finish(session, file_id, now=clock.now(), error=refusal.name, reason=reason)
    return Outcome(file_id, "refused", error=refusal.name, reason=reason)
