"""Stored statements for a person: what holds each, and the release of one that may be applied."""

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
from models.bank import FileStatement, Statement

#: The beginning of a digest that names a statement; fewer would name several by chance.
MIN_DIGEST = 6


class UnknownStatement(Rejected):
    """No statement, or more than one, has a digest that begins so."""


@dataclass(frozen=True, slots=True)
class Listed:
    """A statement and why it is held. Amounts are minor units."""

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


def listed(session: Session, *, only_held: bool = False) -> list[Listed]:
    """All statements, or those held, in the order of account and day."""
    rows = select(Statement).order_by(
        Statement.account, Statement.format, Statement.closing_day, Statement.digest
    )
    if only_held:
        rows = rows.where(Statement.is_held)
    return [_listed(row) for row in session.scalars(rows)]


def of_file(session: Session, file_id: int) -> list[str]:
    """What holds the statements of a file, each reason once, with how many it holds."""
    brought = select(FileStatement.statement).where(FileStatement.file_id == file_id)
    rows = select(Statement).where(Statement.is_held, Statement.digest.in_(brought))
    counted = Counter(said for row in session.scalars(rows) for said in _listed(row).reasons)
    return [
        said if count == 1 else f"{said} ({count} statements)"
        for said, count in sorted(counted.items())
    ]


def gaps(found: Iterable[Listed]) -> list[dict[str, Any]]:
    """Where the chain of an account is broken: before which statement, and by how much."""
    return [
        {"account": one.account, "before": one.digest, **hold}
        for one in found
        for hold in one.holds
        if hold["reason"] == "gap"
    ]


def _listed(row: Statement) -> Listed:
    holds: Any = (*row.holds, *row.chain_holds)
    return Listed(
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
    """Let a held statement be applied. Raises UnknownStatement."""
    if len(beginning) < MIN_DIGEST:
        raise UnknownStatement(beginning=beginning)
    named = select(Statement.digest).where(
        cast(Statement.digest, Text).startswith(beginning, autoescape=True)
    )
    found = ctx.session.scalars(named.limit(2)).all()
    if len(found) != 1:
        raise UnknownStatement(beginning=beginning)
    ctx.session.execute(
        update(Statement)
        .where(Statement.digest == found[0])
        .values(released_by=ctx.actor, released_because=because, is_held=False)
    )
    return found[0]
