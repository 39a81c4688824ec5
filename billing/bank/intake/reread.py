"""A stored file read again: with the account that was forgotten, or after it had been refused."""

from sqlalchemy import text, update
from sqlalchemy.orm import Session

from billing.bank.intake import files
from billing.bank.intake.accounts import plain
from billing.bank.intake.line_keys import UNSTATED
from billing.context import Context
from billing.errors import Rejected
from models.bank import StatementFile


class FileNotReread(Rejected):
    """The statement file {file_id} can't be read again: {problem}."""


#: The file's statements that name no account, and were stored as an account of their own each.
_UNSTATED = f"""
SELECT s.digest::text, s.account,
       EXISTS (SELECT FROM billing.transfers AS t WHERE t.account = s.account) AS has_transfers
FROM billing.statements AS s JOIN billing.file_statements AS f ON f.statement = s.digest
WHERE f.file_id = :file_id AND s.account LIKE '{UNSTATED}%'
"""  # noqa: S608
_DELETE = (
    "DELETE FROM billing.file_statements WHERE statement = ANY(CAST(:digests AS uuid[]))",
    "DELETE FROM billing.statement_lines WHERE statement = ANY(CAST(:digests AS uuid[]))",
    """DELETE FROM billing.line_wordings AS w USING billing.bank_lines AS l
       WHERE w.line = l.key AND l.account = ANY(:accounts)""",
    "DELETE FROM billing.bank_lines WHERE account = ANY(:accounts)",
    "DELETE FROM billing.statements WHERE digest = ANY(CAST(:digests AS uuid[]))",
)


def lacks_account(session: Session, file_id: int) -> bool:
    """Whether the file has statements that name no account."""
    return session.execute(text(_UNSTATED), {"file_id": file_id}).first() is not None


def prepare(ctx: Context, file_id: int, *, account: str | None = None) -> None:
    """Let a stored file be imported again, now for this account.

    What was stored of it without an account goes; its bytes stay. Raises UnknownStatementFile, and
    FileNotReread for a file that was read and names its account itself.
    """
    file = files.load(ctx.session, file_id)
    rows = ctx.session.execute(text(_UNSTATED), {"file_id": file_id}).all()
    if file.state == "imported" and account is None:
        raise FileNotReread(file_id=file_id, problem="it was read; only --account may be missing")
    if file.state == "imported" and not rows:
        raise FileNotReread(file_id=file_id, problem="its statements name their account")
    if any(row.has_transfers for row in rows):
        raise FileNotReread(file_id=file_id, problem="it has transfers already")
    values = {
        "digests": [row.digest for row in rows],
        "accounts": [row.account for row in rows],
    }
    for statement in _DELETE if rows else ():
        ctx.session.execute(text(statement), values)
    ctx.session.execute(
        update(StatementFile)
        .where(StatementFile.id == file_id)
        .values(
            state="received",
            account=plain(account) if account else file.account,
            **dict.fromkeys(("error", "reason", "finished_at", "seen_by", "seen_because")),
        )
    )
