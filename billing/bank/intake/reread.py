"""A stored file read again: a refused one, or with an account or currency that was unknown."""

from sqlalchemy import text, update
from sqlalchemy.orm import Session

from billing.bank.intake import files
from billing.bank.intake.accounts import plain
from billing.bank.intake.line_keys import UNSTATED
from billing.context import Context
from billing.currencies import NO_CURRENCY
from billing.errors import Rejected
from models.bank import StatementFile


class FileNotReread(Rejected):
    """The statement file {file_id} can't be read again: {problem}."""


#: The file's statements that name no account or no currency.
_INCOMPLETE = f"""
SELECT s.digest::text, EXISTS (
    SELECT FROM billing.statement_lines AS m JOIN billing.transfers AS t ON t.line = m.line
    WHERE m.statement = s.digest) AS has_transfers
FROM billing.statements AS s JOIN billing.file_statements AS f ON f.statement = s.digest
WHERE f.file_id = :file_id
  AND (s.account LIKE '{UNSTATED}%' OR s.currency IS NULL OR s.currency = '{NO_CURRENCY}')
"""  # noqa: S608
#: Lines that only these statements list.
_LINES = """
SELECT DISTINCT m.line::text FROM billing.statement_lines AS m
WHERE m.statement = ANY(CAST(:digests AS uuid[])) AND NOT EXISTS (
    SELECT FROM billing.statement_lines AS o
    WHERE o.line = m.line AND o.statement <> ALL(CAST(:digests AS uuid[])))
"""
_DELETE = (
    "DELETE FROM billing.file_statements WHERE statement = ANY(CAST(:digests AS uuid[]))",
    "DELETE FROM billing.statement_lines WHERE statement = ANY(CAST(:digests AS uuid[]))",
    "DELETE FROM billing.line_wordings WHERE line = ANY(CAST(:lines AS uuid[]))",
    "DELETE FROM billing.bank_lines WHERE key = ANY(CAST(:lines AS uuid[]))",
    "DELETE FROM billing.statements WHERE digest = ANY(CAST(:digests AS uuid[]))",
)


def is_incomplete(session: Session, file_id: int) -> bool:
    """Whether the file has statements that name no account or no currency."""
    return session.execute(text(_INCOMPLETE), {"file_id": file_id}).first() is not None


def prepare(ctx: Context, file_id: int, *, account: str | None = None) -> None:
    """Let a stored file be imported again, perhaps for this account.

    What was stored of it without an account or currency goes; its bytes stay. Raises
    UnknownStatementFile, and FileNotReread for a file that was read and names both.
    """
    file = files.load(ctx.session, file_id)
    rows = ctx.session.execute(text(_INCOMPLETE), {"file_id": file_id}).all()
    if file.state == "imported" and not rows:
        problem = "it was read, and its statements name their account and currency"
        raise FileNotReread(file_id=file_id, problem=problem)
    if any(row.has_transfers for row in rows):
        raise FileNotReread(file_id=file_id, problem="it has transfers already")
    if rows:
        _delete(ctx.session, [row.digest for row in rows])
    ctx.session.execute(
        update(StatementFile)
        .where(StatementFile.id == file_id)
        .values(
            state="received",
            account=plain(account) if account else file.account,
            **dict.fromkeys(("error", "reason", "finished_at", "seen_by", "seen_because")),
        )
    )


def _delete(session: Session, digests: list[str]) -> None:
    """Delete statements, and the lines that no other statement has."""
    lines = session.scalars(text(_LINES), {"digests": digests}).all()
    for statement in _DELETE:
        session.execute(text(statement), {"digests": digests, "lines": list(lines)})
