"""Storage of a statement: once, whole, with its lines and the reasons that hold it.

The caller gives each statement a transaction of its own, so that a crash leaves all of it or
nothing. Reading it again changes nothing.
"""

import datetime as dt
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, BinaryIO, TextIO

from sqlalchemy import select, text
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from billing.bank.intake import continuity, line_keys, pages
from billing.context import Context
from billing.currencies import NO_CURRENCY
from billing.postgres import sql
from billing.statements.canonical import Balance, Hold, HoldReason, Statement
from billing.statements.currency import with_currency
from billing.statements.errors import AmountTooLarge, MoneyRefused
from billing.statements.read import hold_distant_dates, read_statements
from models.bank import BankAccount, FileStatement
from models.bank import Statement as StatementRow

#: The largest bigint of Postgres, less room for a balance.
MAX_SUM_MINOR = 9 * 10**18
#: Lines that one SQL statement writes: some megabytes with long texts.
AT_ONCE = 1_000


@dataclass(frozen=True, slots=True)
class StoredStatement:
    """The result for one statement; `is_known`: it was stored before."""

    digest: str
    account: str
    format: str
    statement_id: str | None
    lines: int
    new_lines: int
    is_known: bool
    holds: tuple[Hold, ...]
    notes: tuple[str, ...] = ()


def read(source: BinaryIO, *, name: str, today: dt.date) -> list[Statement]:
    """Read the statements of a file; hold those with dates far from today.

    Raises the errors of StatementRefused.
    """
    statements = read_statements(source, name=name)
    for statement in statements:
        if abs(statement.booked_minor) > MAX_SUM_MINOR:
            raise AmountTooLarge("the sum of all entries", text=str(statement.booked_minor))
    return [hold_distant_dates(statement, today=today) for statement in statements]


def store(
    ctx: Context, statement: Statement, *, file_id: int, stated_account: str | None = None
) -> StoredStatement:
    """Store one statement with its lines, and record which file brought it.

    Two workers with the same account wait for each other. `refresh` then checks the continuity,
    once for each account of a file.
    """
    account = line_keys.account_of(statement, stated_account)
    ctx.session.execute(text(continuity.ONE_AT_A_TIME), {"account": account})
    statement = _with_currency(ctx.session, statement, account)
    identity = line_keys.identity_of(statement, account)
    taken = pages.lines_of_other_pages(ctx.session, statement, account)
    statement = pages.hold_lost_lines(statement, taken)
    # The statement's digest needs all lines, so they are made once and wait in a file.
    with tempfile.TemporaryFile("w+", encoding="ascii") as spool:
        digests, undated = line_keys.spool(statement, account, spool, taken=taken)
        statement = _hold_undated(statement, undated)
        key = line_keys.digest(identity, *digests)
        is_new = _insert(ctx, statement, account=account, identity=identity, key=key)
        ctx.session.execute(
            insert(FileStatement).values(file_id=file_id, statement=key).on_conflict_do_nothing()
        )
        new_lines = 0
        if is_new:
            new_lines = _insert_lines(
                ctx.session, spool, account=account, of=statement.format, key=key
            )
    return StoredStatement(
        digest=key,
        account=account,
        format=statement.format,
        statement_id=statement.statement_id,
        lines=len(statement.entries),
        new_lines=new_lines,
        is_known=not is_new,
        holds=statement.holds,
        notes=statement.notes,
    )


def _hold_undated(statement: Statement, undated: int) -> Statement:
    """Hold a statement with lines that have no day, where the closing balance has none either."""
    if not undated or any(hold.reason is HoldReason.DATE_MISSING for hold in statement.holds):
        return statement
    says = f"{undated} entries have no date, and the closing balance has no day"
    return replace(statement, holds=(*statement.holds, Hold(HoldReason.DATE_MISSING, says)))


def _with_currency(session: Session, statement: Statement, account: str) -> Statement:
    """Give a statement without a currency the only one in which its account is registered."""
    if not _states_no_currency(statement):
        return statement
    of_account = select(BankAccount.currency).where(BankAccount.number == account)
    currencies = session.scalars(of_account).all()
    if len(currencies) != 1:
        return statement
    try:
        return with_currency(statement, currencies[0])
    except MoneyRefused:  # an amount with decimals that the currency does not have
        return statement


def _states_no_currency(statement: Statement) -> bool:
    """Whether neither the statement nor any of its amounts has a currency."""
    amounts = {total.currency for total in statement.totals}
    return statement.currency in {None, NO_CURRENCY} and amounts <= {NO_CURRENCY}


def refresh(session: Session, stored: Sequence[StoredStatement]) -> None:
    """Check the continuity of the accounts of these statements."""
    for account in sorted({statement.account for statement in stored}):
        continuity.refresh(session, account)


_LINE = {
    "key": "uuid",
    "currency": "text",
    "amount_minor": "bigint",
    "status": "text",
    "booking_date": "date",
    "bank_reference": "text",
}
#: The payload is JSON text already, so it is not `jsonb`, which would be encoded again.
_WORDING = {"line": "uuid", "digest": "uuid", "payload": "json"}


def _insert_lines(session: Session, spool: TextIO, *, account: str, of: str, key: str) -> int:
    """Insert a statement's spooled lines; return how many were new to the account."""
    new_lines = 0
    for lines in line_keys.spooled(spool, size=AT_ONCE):
        new_lines += len(
            sql.insert(
                session,
                "billing.bank_lines",
                _LINE,
                [(line.key, *line[3:]) for line in lines],
                constants={"account": account, "format": of},
                tail="ON CONFLICT (key) DO NOTHING RETURNING true",
            )
        )
        wordings = [line[:3] for line in lines]
        tail = "ON CONFLICT DO NOTHING"
        sql.insert(session, "billing.line_wordings", _WORDING, wordings, tail=tail)
        links = [(key, line.key) for line in lines]
        types = {"statement": "uuid", "line": "uuid"}
        sql.insert(session, "billing.statement_lines", types, links, tail=tail)
    return new_lines


def _insert(ctx: Context, statement: Statement, *, account: str, identity: str, key: str) -> bool:
    """Insert the statement; if it is known, add its holds. Return whether it is new."""
    holds = [_hold_json(hold) for hold in statement.holds]
    row = insert(StatementRow).values(
        digest=key,
        identity=identity,
        account=account,
        format=statement.format,
        family=statement.family.value,
        currency=statement.currency,
        statement_id=_storable(statement.statement_id),
        sequence=_storable(statement.sequence),
        page=_storable(statement.page),
        created=_storable(statement.created),
        from_date=statement.from_date,
        to_date=statement.to_date,
        **_balance("opening", statement.opening),
        **_balance("closing", statement.closing),
        booked_minor=statement.booked_minor,
        line_count=len(statement.entries),
        holds=_merged(holds),
        is_held=bool(holds),
        recorded_at=ctx.now,
    )
    returning = row.on_conflict_do_nothing().returning(StatementRow.digest)
    is_new = ctx.session.execute(returning).first() is not None
    if not is_new:
        _merge_holds(ctx.session, key, holds)
    return is_new


def _merge_holds(session: Session, key: str, holds: list[dict[str, Any]]) -> None:
    """Add holds that only another file shows: a total over several accounts, an encoding."""
    statement = session.get_one(StatementRow, key)
    stored: Any = statement.holds
    # A distant date is recorded once, because its words change with each day.
    new = [hold for hold in holds if hold["reason"] != HoldReason.DATE_OUT_OF_RANGE.value]
    merged = _merged([*stored, *new])
    if merged != stored:
        statement.holds = list(merged)
        session.flush()


def _merged(holds: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """Each hold once, in an order that does not depend on which file came first."""
    by_words = {
        (hold["reason"], hold["says"], hold["difference_minor"] or 0): hold
        for hold in sorted(holds, key=lambda hold: hold["position"], reverse=True)
    }
    return [by_words[words] for words in sorted(by_words)]


def _hold_json(hold: Hold) -> dict[str, Any]:
    return {
        "reason": hold.reason.value,
        "says": _storable(hold.says),
        "position": _storable(hold.position),
        "difference_minor": hold.difference_minor,
    }


def _balance(name: str, balance: Balance | None) -> dict[str, object]:
    return {
        f"{name}_minor": balance.amount_minor if balance else None,
        f"{name}_day": balance.day if balance else None,
    }


def _storable(value: str | None) -> str | None:
    """The text without NUL, which Postgres can't hold."""
    return value.replace("\0", "?") if value else value
