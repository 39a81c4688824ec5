"""Pages of one statement: each opens with the interim balance with which the one before closes.

A line that stands on two pages, word for word, is two lines, for both pages add up. It must not get
the key of the line on the other page, whichever page came first.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from billing.statements.canonical import Balance, Hold, HoldReason
from billing.statements.canonical import Statement as CanonicalStatement
from models.bank import Statement, StatementLine

#: Interim balances between two pages: fields 60M and 62M of MT940, and ITBD of camt.
_INTERIM = frozenset({"60M", "62M", "ITBD"})


def lines_of_other_pages(
    session: Session, statement: CanonicalStatement, account: str
) -> Counter[str]:
    """Count the lines on the stored pages before and after a page of the same statement, by key.

    A line that stands on several of those pages was stored once, for the page between them was
    missing: two pages far apart are not known to be of one statement.
    """
    opening, closing = (_interim(balance) for balance in (statement.opening, statement.closing))
    if opening is None and closing is None:
        return Counter()
    stored = session.execute(
        select(
            Statement.digest,
            Statement.page,
            Statement.opening_minor,
            Statement.opening_day,
            Statement.closing_minor,
            Statement.closing_day,
        ).where(
            Statement.account == account,
            Statement.format == statement.format,
            Statement.family == statement.family.value,
            Statement.currency == statement.currency,
        )
    ).all()
    pages = {
        row.digest
        for balance, step in ((opening, -1), (closing, 1))
        if balance is not None
        for row in _following(stored, balance, _number(statement.page), step)
    }
    of_pages = select(StatementLine.line).where(StatementLine.statement.in_(pages))
    return Counter(map(str, session.scalars(of_pages)))


def hold_lost_lines(statement: CanonicalStatement, lines: Counter[str]) -> CanonicalStatement:
    """Hold a page that joins others on which the same line was stored once."""
    lost = sum(count - 1 for count in lines.values())
    if not lost:
        return statement
    says = f"{lost} lines of its other pages stand on two of them, and are stored once"
    return replace(statement, holds=(*statement.holds, Hold(HoldReason.ENTRY_COUNT, says)))


def _following(
    stored: Sequence[Any], balance: Balance, page: int | None, step: int
) -> Iterator[Any]:
    """Yield the pages that join on at a balance, one after the other; `step` is 1 or -1.

    Only the balance of the given page is known to be interim. Further pages count as pages of the
    statement while their numbers go on by one.
    """
    near, far = ("opening", "closing") if step > 0 else ("closing", "opening")
    minor, day = balance.amount_minor, balance.day
    while True:
        joining = [
            row
            for row in stored
            if getattr(row, f"{near}_minor") == minor
            and getattr(row, f"{near}_day") == day
            and _number(row.page) == (page and page + step)
        ]
        yield from joining
        if not joining or page is None:
            return
        page += step
        minor, day = (getattr(joining[0], f"{far}_{name}") for name in ("minor", "day"))


def _interim(balance: Balance | None) -> Balance | None:
    return balance if balance is not None and balance.kind in _INTERIM else None


def _number(page: str | None) -> int | None:
    return int(page) if page and page.isascii() and page.isdigit() and len(page) < 10 else None
