"""Stored statements and the reasons why they are held; the release of a held one."""

import datetime as dt
import uuid
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Text, cast, select, update
from sqlalchemy.orm import Session

from billing.context import Context
from billing.errors import Rejected
from billing.statements.canonical import FINAL
from models.bank import FileStatement, Statement

#: Characters of a digest that name a statement; fewer would name several by chance.
MIN_DIGEST = 6


class UnknownStatement(Rejected):
    """No statement, or more than one, has a digest that begins with {beginning}."""


class ReleaseRefused(Rejected):
    """No release lifts the hold {reason} of statement {digest}: import it in another format."""


@dataclass(frozen=True, slots=True)
class ListedStatement:
    """A statement and the reasons why it is held. Amounts are minor units."""

    digest: str
    account: str
    format: str
    currency: str | None
    statement_id: str | None
    opening_minor: int | None
    closing_minor: int | None
    closing_day: dt.date | None
    line_count: int
    is_held: bool
    reasons: tuple[str, ...]
    holds: tuple[dict[str, Any], ...]


def listed(session: Session, *, only_held: bool = False) -> list[ListedStatement]:
    """List all statements, or the held ones, in the order of account and day."""
    rows = select(Statement).order_by(
        Statement.account, Statement.format, Statement.closing_day, Statement.digest
    )
    if only_held:
        rows = rows.where(Statement.is_held)
    return [_listed(row) for row in session.scalars(rows)]


def reasons_of_file(session: Session, file_id: int) -> list[str]:
    """The reasons that hold a file's statements, each once with the number of statements."""
    of_file = select(FileStatement.statement).where(FileStatement.file_id == file_id)
    rows = select(Statement).where(Statement.is_held, Statement.digest.in_(of_file))
    counts = Counter(reason for row in session.scalars(rows) for reason in _listed(row).reasons)
    return [
        reason if count == 1 else f"{reason} ({count} statements)"
        for reason, count in sorted(counts.items())
    ]


def gaps(statements: Iterable[ListedStatement]) -> list[dict[str, Any]]:
    """The gaps between statements: before which statement, and by how much."""
    return [
        {"account": statement.account, "before": statement.digest, **hold}
        for statement in statements
        for hold in statement.holds
        if hold["reason"] == "gap"
    ]


def _listed(row: Statement) -> ListedStatement:
    holds: Any = (*row.holds, *row.chain_holds)
    return ListedStatement(
        digest=str(row.digest),
        account=row.account,
        format=row.format,
        currency=row.currency,
        statement_id=row.statement_id,
        opening_minor=row.opening_minor,
        closing_minor=row.closing_minor,
        closing_day=row.closing_day,
        line_count=row.line_count,
        is_held=row.is_held,
        reasons=tuple(f"{hold['reason']}: {hold['says']}" for hold in holds),
        holds=holds,
    )


def release(ctx: Context, beginning: str, *, because: str) -> uuid.UUID:
    """Release the held statement whose digest begins like this.

    Raises UnknownStatement, and ReleaseRefused for a hold that no release lifts.
    """
    if len(beginning) < MIN_DIGEST:
        raise UnknownStatement(beginning=beginning)
    named = select(Statement).where(
        cast(Statement.digest, Text).startswith(beginning, autoescape=True)
    )
    statements = ctx.session.scalars(named.limit(2)).all()
    if len(statements) != 1:
        raise UnknownStatement(beginning=beginning)
    [statement] = statements
    for hold in final_holds(statement.holds):
        raise ReleaseRefused(digest=str(statement.digest)[:8], reason=hold["reason"])
    ctx.session.execute(
        update(Statement)
        .where(Statement.digest == statement.digest)
        .values(released_by=ctx.actor, released_because=because, is_held=False)
    )
    return statement.digest


def final_holds(holds: Iterable[Any]) -> list[dict[str, Any]]:
    """Those of a statement's holds that no release lifts."""
    return [hold for hold in holds if hold["reason"] in FINAL]
