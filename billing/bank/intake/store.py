"""One statement into the database: once, whole, and with what holds it.

The caller gives each statement a transaction of its own, so that a crash leaves all of it or
nothing; read again, what is there already stays as it is.
"""

import datetime as dt
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, BinaryIO

from sqlalchemy import text
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from billing.bank.intake import checks as holds
from billing.bank.intake import line_rows
from billing.bank.intake.line_keys import account_of, digest, identity_of, keyed_lines
from billing.context import Context
from billing.statements.canonical import Balance, Hold, HoldReason, Statement
from billing.statements.errors import AmountTooLarge
from billing.statements.read import hold_distant_dates, read_statements
from models.bank import FileStatement
from models.bank import Statement as StatementRow

#: What Postgres' bigint holds, less room for a balance.
MAX_SUM_MINOR = 9 * 10**18


@dataclass(frozen=True, slots=True)
class Imported:
    """What became of one statement; `is_known`: it was here before."""

    digest: str
    account: str
    format: str
    statement_id: str | None
    lines: int
    new_lines: int
    is_known: bool
    holds: tuple[Hold, ...]


def read(source: BinaryIO, *, name: str, today: dt.date) -> list[Statement]:
    """The statements of a file, held where their dates are far from today.

    Raises the errors of StatementRefused.
    """
    found = read_statements(source, name=name)
    for statement in found:
        if abs(statement.booked_minor) > MAX_SUM_MINOR:
            raise AmountTooLarge("the sum of all entries", text=str(statement.booked_minor))
    return [hold_distant_dates(statement, today=today) for statement in found]


def store(
    ctx: Context, statement: Statement, *, file_id: int, stated_account: str | None = None
) -> Imported:
    """Store one statement with its lines, and note which file brought it.

    Two workers with the same account wait for each other. Chains are looked at by
    `holds.refresh`, once for each account of a file.
    """
    account = account_of(statement, stated_account)
    ctx.session.execute(
        text("SELECT pg_advisory_xact_lock(hashtextextended(:account, 0))"), {"account": account}
    )
    # Lines are made once, and wait in a file for the digest that all of them make.
    with tempfile.TemporaryFile("w+", encoding="ascii") as file:
        said = line_rows.spool(keyed_lines(statement, account), file)
        key = digest(identity_of(statement, account), *said)
        is_new = _insert(ctx, statement, account=account, key=key)
        ctx.session.execute(
            insert(FileStatement).values(file_id=file_id, statement=key).on_conflict_do_nothing()
        )
        new = 0
        if is_new:
            lines = line_rows.spooled(file)
            new = line_rows.store(
                ctx.session, lines, statement=statement, digest=key, account=account
            )
    return Imported(
        digest=key,
        account=account,
        format=statement.format,
        statement_id=statement.statement_id,
        lines=len(statement.entries),
        new_lines=new,
        is_known=not is_new,
        holds=statement.holds,
    )


def look_again(session: Session, stored: Sequence[Imported]) -> None:
    """Look at the chains of the accounts that these statements are of."""
    for account in sorted({one.account for one in stored}):
        holds.refresh(session, account)


def _insert(ctx: Context, statement: Statement, *, account: str, key: str) -> bool:
    found = [_plain_hold(hold) for hold in statement.holds]
    row = insert(StatementRow).values(
        digest=key,
        identity=identity_of(statement, account),
        account=account,
        format=statement.format,
        family=statement.family.value,
        currency=statement.currency,
        statement_id=_plain(statement.statement_id),
        sequence=_plain(statement.sequence),
        page=_plain(statement.page),
        created=_plain(statement.created),
        from_date=statement.from_date,
        to_date=statement.to_date,
        **_balance("opening", statement.opening),
        **_balance("closing", statement.closing),
        booked_minor=statement.booked_minor,
        line_count=len(statement.entries),
        holds=_merged(found),
        is_held=bool(found),
        recorded_at=ctx.now,
    )
    made = ctx.session.execute(row.on_conflict_do_nothing().returning(StatementRow.digest)).first()
    if made is None:
        _merge_holds(ctx.session, key, found)
    return made is not None


def _merge_holds(session: Session, key: str, found: list[dict[str, Any]]) -> None:
    """Another file may find more: a control total over several accounts, a doubtful encoding."""
    known = session.get_one(StatementRow, key)
    kept: Any = known.holds
    # How far a date is from today is said once, or each day would add its own words.
    new = [hold for hold in found if hold["reason"] != HoldReason.DATE_OUT_OF_RANGE.value]
    merged = _merged([*kept, *new])
    if merged != kept:
        known.holds = list(merged)
        session.flush()


def _merged(found: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """Each hold once, in an order that does not depend on which file came first."""
    by_words = {
        (hold["reason"], hold["says"], hold["difference_minor"] or 0): hold
        for hold in sorted(found, key=lambda one: one["position"], reverse=True)
    }
    return [by_words[words] for words in sorted(by_words)]


def _plain_hold(hold: Hold) -> dict[str, Any]:
    """A hold as JSON in Postgres can keep it."""
    return {
        "reason": hold.reason.value,
        "says": hold.says.replace("\0", "?"),
        "position": hold.position.replace("\0", "?"),
        "difference_minor": hold.difference_minor,
    }


def _balance(name: str, balance: Balance | None) -> dict[str, object]:
    return {
        f"{name}_minor": balance.amount_minor if balance else None,
        f"{name}_day": balance.day if balance else None,
    }


def _plain(said: str | None) -> str | None:
    return said.replace("\0", "?") if said else said
