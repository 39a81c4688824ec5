"""Import of a statement file: read it without a transaction, then store each statement in one."""

import tempfile
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import BinaryIO

from billing.bank import line_ends
from billing.bank.intake import files, held_statements, reread, store
from billing.bank.intake.accounts import plain
from billing.bank.intake.store import StoredStatement
from billing.bank.line_ends import LineEnd
from billing.context import Context
from billing.statements.canonical import Statement
from billing.statements.errors import StatementRefused
from worker.database import rehearsal, transaction


@dataclass(frozen=True, slots=True)
class ImportOutcome:
    """The outcome of a file and its statements: received, imported, repeat, refused, unreadable.

    `held`: the reasons that hold some of them; these pay nothing until the reasons are gone.
    `ends`: the file's lines, summed up by their end; `with_ends` reads them after matching.
    """

    file_id: int | None
    outcome: str
    statements: list[StoredStatement] = field(default_factory=list)
    error: str | None = None
    reason: str | None = None
    held: list[str] = field(default_factory=list)
    ends: list[LineEnd] = field(default_factory=list)


def import_from(source: BinaryIO, *, name: str, account: str | None = None) -> ImportOutcome:
    """Keep a file's bytes, then import them; the same bytes again change nothing.

    Except that `account` may be said later, for a file that names none.
    """
    outcome = receive(source, name=name, account=account)
    return outcome if outcome.file_id is None else import_file(outcome.file_id)


def receive(source: BinaryIO, *, name: str, account: str | None = None) -> ImportOutcome:
    """Keep a file's bytes, which `import_file` then reads; a file that is refused has no id."""
    account = account and plain(account)
    try:
        with transaction() as ctx:
            received = files.receive(ctx, source, name=name, account=account)
            if account and reread.is_incomplete(ctx.session, received.id):
                reread.prepare(ctx, received.id, account=account)
    except StatementRefused as refusal:
        return _refused(None, refusal)
    return ImportOutcome(received.id, "received")


def import_file(file_id: int) -> ImportOutcome:
    """Import a received file. Raises UnknownStatementFile.

    Run twice, or by two workers at once, it leaves the same rows. A file that can't be read is
    refused and kept, and nothing of it is stored.
    """
    with tempfile.TemporaryFile() as copy:
        with transaction() as ctx:
            file = files.load(ctx.session, file_id)
            if file.state == "imported":
                held = held_statements.reasons_of_file(ctx.session, file_id)
                return ImportOutcome(file_id, "repeat", held=held)
            if file.state == "refused":
                return ImportOutcome(file_id, "refused", error=file.error, reason=file.reason)
            files.write_content(ctx.session, file_id, copy)
        try:
            statements = store.read(copy, name=file.name, today=ctx.now.date())
        except StatementRefused as refusal:
            with transaction() as ctx:
                files.finish(ctx, file_id, error=refusal.name, reason=str(refusal))
            return _refused(file_id, refusal)
    stored = [_store(statement, file_id, file.account) for statement in statements]
    with transaction() as ctx:
        store.refresh(ctx.session, stored)
        files.finish(ctx, file_id)
        held = held_statements.reasons_of_file(ctx.session, file_id)
    return ImportOutcome(file_id, "imported", stored, held=held)


def reread_file(file_id: int, *, account: str | None = None) -> ImportOutcome:
    """Import a stored file again: one that was refused, or whose account was not stated.

    Raises UnknownStatementFile and FileNotReread.
    """
    with transaction() as ctx:
        reread.prepare(ctx, file_id, account=account)
    return import_file(file_id)


def with_ends(outcome: ImportOutcome) -> ImportOutcome:
    """The outcome with the ends of the file's lines, as they are now."""
    if outcome.file_id is None:
        return outcome
    with transaction() as ctx:
        return replace(outcome, ends=line_ends.ends_of_files(ctx.session, [outcome.file_id]))


def _store(statement: Statement, file_id: int, account: str | None) -> StoredStatement:
    with transaction() as ctx:
        return store.store(ctx, statement, file_id=file_id, stated_account=account)


def rehearse(source: BinaryIO, *, name: str, account: str | None = None) -> ImportOutcome:
    """Show what importing this file would do; nothing stays."""
    account = account and plain(account)
    try:
        with rehearsal() as ctx:
            return _rehearse(ctx, source, name, account)
    except StatementRefused as refusal:
        return _refused(None, refusal)


def _rehearse(ctx: Context, source: BinaryIO, name: str, account: str | None) -> ImportOutcome:
    file = files.receive(ctx, source, name=name, account=account)
    if account and reread.is_incomplete(ctx.session, file.id):
        reread.prepare(ctx, file.id, account=account)
    elif file.state != "received":
        return ImportOutcome(file.id, "repeat" if file.state == "imported" else file.state)
    source.seek(0)
    statements = store.read(source, name=name, today=ctx.now.date())
    stored = [
        store.store(ctx, statement, file_id=file.id, stated_account=account)
        for statement in statements
    ]
    store.refresh(ctx.session, stored)
    while line_ends.split_lines(ctx):
        pass
    held = held_statements.reasons_of_file(ctx.session, file.id)
    ends = line_ends.ends_of_files(ctx.session, [file.id])
    return ImportOutcome(None, "imported", stored, held=held, ends=ends)


def import_path(path: Path, *, account: str | None = None) -> ImportOutcome:
    """Import a file of this machine."""
    with path.open("rb") as source:
        return import_from(source, name=path.name, account=account)


def rehearse_path(path: Path, *, account: str | None = None) -> ImportOutcome:
    """Show what importing a file of this machine would do."""
    with path.open("rb") as source:
        return rehearse(source, name=path.name, account=account)


def _refused(file_id: int | None, refusal: StatementRefused) -> ImportOutcome:
    return ImportOutcome(file_id, "refused", error=refusal.name, reason=str(refusal))
