"""What the database knows that holds a statement: its account, its currency, its neighbours.

Made anew from all statements of the account, so that it does not matter in which order they came.
"""

from typing import Any

from sqlalchemy import select, text, update
from sqlalchemy.orm import Session

from billing.bank.intake.continuity import ChainHold, Link, look
from models.bank import BankAccount, Statement

#: Two statements that follow each other list the same line: once, or twice? A person knows.
_SHARED = """
SELECT DISTINCT one.statement::text
FROM billing.statement_lines AS one
JOIN billing.statement_lines AS other ON other.line = one.line AND other.statement <> one.statement
JOIN billing.statements AS a ON a.digest = one.statement
JOIN billing.statements AS b ON b.digest = other.statement
WHERE a.account = :account AND a.format = b.format AND a.identity <> b.identity
  AND a.opening_minor IS NOT NULL AND b.opening_minor IS NOT NULL
  AND (a.closing_minor = b.opening_minor OR b.closing_minor = a.opening_minor)
  AND a.opening_minor <> b.opening_minor AND a.closing_minor <> b.closing_minor
"""
_SHARED_SAYS = "a line stands in this statement and in the one that follows it, word for word"


def refresh(session: Session, account: str) -> None:
    """Write anew what holds each statement of this account but its own content."""
    of_account = select(Statement).where(Statement.account == account)
    rows = list(session.scalars(of_account.order_by(Statement.digest)))
    registered = registered_formats(session, account)
    found: dict[str, list[ChainHold]] = {str(row.digest): [] for row in rows}
    for row in rows:
        found[str(row.digest)] += _of_account(row, registered)
    chains: dict[tuple[str, str | None], list[Link]] = {}
    for row in rows:
        if row.opening_minor is not None and row.closing_minor is not None:
            chains.setdefault((row.format, row.currency), []).append(_link(row))
    for links in chains.values():
        for hold in look(links):
            found[hold.digest].append(hold)
    for (digest,) in session.execute(text(_SHARED), {"account": account}).all():
        found[digest].append(ChainHold(digest, "line_shared", _SHARED_SAYS))
    for row in rows:
        _write(session, row, [_plain(hold) for hold in sorted(found[str(row.digest)], key=_order)])


def registered_formats(session: Session, account: str) -> dict[str, str]:
    """From which format each of the account's currencies recognises money; empty: not ours."""
    rows = select(BankAccount.currency, BankAccount.format).where(BankAccount.number == account)
    return {row.currency: row.format for row in session.execute(rows)}


def _of_account(row: Statement, registered: dict[str, str]) -> list[ChainHold]:
    digest = str(row.digest)
    if not registered:
        said = f"{row.account} is not registered as an account of ours"
        return [ChainHold(digest, "account_unknown", said)]
    if row.currency not in registered:
        said = f"{row.account} is registered in {', '.join(sorted(registered))}, not {row.currency}"
        return [ChainHold(digest, "account_currency", said)]
    return []


def _link(row: Statement) -> Link:
    assert row.opening_minor is not None, "only statements with both balances are links"
    assert row.closing_minor is not None, "only statements with both balances are links"
    return Link(
        digest=str(row.digest),
        identity=str(row.identity),
        opening=row.opening_minor,
        closing=row.closing_minor,
        opening_day=row.opening_day,
        day=row.closing_day or row.to_date,
        sequence=row.sequence,
        page=row.page,
        created=row.created,
        statement_id=row.statement_id,
    )


def _order(hold: ChainHold) -> tuple[str, str]:
    return (hold.reason, hold.says)


def _plain(hold: ChainHold) -> dict[str, Any]:
    return {
        "reason": hold.reason,
        "says": hold.says,
        "position": "",
        "difference_minor": hold.difference_minor,
    }


def _write(session: Session, row: Statement, chain_holds: list[dict[str, Any]]) -> None:
    is_held = bool(row.holds or chain_holds) and row.released_by is None
    if row.chain_holds == chain_holds and row.is_held == is_held:
        return
    session.execute(
        update(Statement)
        .where(Statement.digest == row.digest)
        .values(chain_holds=chain_holds, is_held=is_held)
    )
