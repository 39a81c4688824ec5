"""How a statement file is imported: read with no transaction open, then one for each statement."""

import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from billing.bank.intake import files as bank_files
from billing.bank.intake import held
from billing.bank.intake import store as statement_store
from billing.bank.intake.store import Imported
from billing.statements.canonical import Statement
from billing.statements.errors import StatementRefused
from worker import clock
from worker.database import rehearsal, transaction


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a file: imported, repeat or refused, and its statements.

    `held`: what holds some of them, in words; they pay nothing until that is gone.
    """

    file_id: int | None
    outcome: str
    statements: list[Imported] = field(default_factory=list)
    error: str | None = None
    reason: str | None = None
    held: list[str] = field(default_factory=list)


def import_from(source: BinaryIO, *, name: str, account: str | None = None) -> Outcome:
    """Keep a file's bytes, then import them; the same bytes again change nothing."""
    try:
        with transaction() as ctx:
            received = bank_files.receive(ctx, source, name=name, account=account)
    except StatementRefused as refusal:
        return _refused(None, refusal)
    return import_file(received.id)


def import_file(file_id: int) -> Outcome:
    """Import a file that was received. Raises UnknownStatementFile.

    Run twice, or by two workers at once, it leaves the same rows. A file that can't be read is
    refused and kept, and nothing of it is stored.
    """
    with transaction() as ctx:
        file = bank_files.load(ctx.session, file_id)
        known = held.of_file(ctx.session, file_id)
    if file.state == "imported":
        return Outcome(file_id, "repeat", held=known)
    if file.state == "refused":
        return Outcome(file_id, "refused", error=file.error, reason=file.reason)
    try:
        found = _read(file_id, file.name)
    except StatementRefused as refusal:
        with transaction() as ctx:
            reason = str(refusal)
            bank_files.finish(ctx, file_id, error=refusal.name, reason=reason)
        return _refused(file_id, refusal)
    stored = _store(file_id, found, file.account)
    with transaction() as ctx:
        return Outcome(file_id, "imported", stored, held=held.of_file(ctx.session, file_id))


def _read(file_id: int, name: str) -> list[Statement]:
    with tempfile.TemporaryFile() as copy:
        with transaction() as ctx:
            bank_files.write_content(ctx.session, file_id, copy)
        return statement_store.read(copy, name=name, today=clock.now().date())


def _store(file_id: int, found: list[Statement], account: str | None) -> list[Imported]:
    stored = []
    for statement in found:
        with transaction() as ctx:
            stored.append(
                statement_store.store(ctx, statement, file_id=file_id, stated_account=account)
            )
    with transaction() as ctx:
        statement_store.look_again(ctx.session, stored)
        bank_files.finish(ctx, file_id)
    return stored


def rehearse(source: BinaryIO, *, name: str, account: str | None = None) -> Outcome:
    """What importing this file would do; nothing stays."""
    now = clock.now()
    try:
        with rehearsal() as ctx:
            file = bank_files.receive(ctx.at(now), source, name=name, account=account)
            if file.state != "received":
                return Outcome(file.id, "repeat" if file.state == "imported" else file.state)
            source.seek(0)
            stored = [
                statement_store.store(
                    ctx.at(now), statement, file_id=file.id, stated_account=account
                )
                for statement in statement_store.read(source, name=name, today=now.date())
            ]
            statement_store.look_again(ctx.session, stored)
            why = held.of_file(ctx.session, file.id)
    except StatementRefused as refusal:
        return _refused(None, refusal)
    return Outcome(None, "imported", stored, held=why)


def import_path(path: Path, *, account: str | None = None) -> Outcome:
    """Import a file of this machine."""
    with path.open("rb") as source:
        return import_from(source, name=path.name, account=account)


def rehearse_path(path: Path, *, account: str | None = None) -> Outcome:
    """What importing a file of this machine would do."""
    with path.open("rb") as source:
        return rehearse(source, name=path.name, account=account)


def _refused(file_id: int | None, refusal: StatementRefused) -> Outcome:
    return Outcome(file_id, "refused", error=refusal.name, reason=str(refusal))
