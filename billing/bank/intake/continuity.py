"""The continuity of an account's statements: each opens where the one before it closed.

The same in whatever order they came: a gap closes by itself when the missing statement comes.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date
from itertools import groupby, pairwise
from typing import Any, NamedTuple

from sqlalchemy import select, text, update
from sqlalchemy.orm import Session

from billing.statements.canonical import FINAL
from models.bank import BankAccount, Statement

#: Lets no other worker store or check statements of this account until the transaction ends.
ONE_AT_A_TIME = "SELECT pg_advisory_xact_lock(hashtextextended(:account, 0))"
#: An account's numbering is trusted if nine in ten steps are by one, of at least so many steps.
MIN_STEPS = 3
#: Earlier statements that one is compared with: people download a month in a few pieces.
MAX_OVERLAPS = 10
_NUMBER = re.compile(r"\d{1,9}")

#: The lines that two statements of an account both list: their number, and the sum of the booked.
_COMMON_LINES = """
SELECT least(m.statement, n.statement)::text, greatest(m.statement, n.statement)::text,
       count(*), COALESCE(sum(l.amount_minor) FILTER (WHERE l.status = 'BOOK'), 0)::bigint
FROM billing.statements AS a
JOIN billing.statement_lines AS m ON m.statement = a.digest
JOIN billing.statement_lines AS n ON n.line = m.line AND n.statement > m.statement
JOIN billing.bank_lines AS l ON l.key = m.line
WHERE a.account = :account
GROUP BY 1, 2
"""
#: The columns that the checks need, as plain values: an account may have thousands of statements.
_ROWS = """
SELECT digest::text, identity::text, account, format, currency, opening_minor, closing_minor,
       opening_day, COALESCE(closing_day, to_date), sequence, page, created, statement_id,
       line_count, NULLIF(holds, '[]'), NULLIF(chain_holds, '[]'), is_held, released_by IS NOT NULL
FROM billing.statements WHERE account = %(account)s ORDER BY digest
"""
_SHARED = "a line stands in this statement and in the one that follows it, word for word"
_RESTATED = "another statement names itself the same and lists other entries"
_CORRECTED = "another statement of this id and day closes with another balance"


@dataclass(frozen=True, slots=True)
class Link:
    """A statement with both balances, as a link in its account's sequence; minor units."""

    digest: str
    identity: str
    opening: int
    closing: int
    opening_day: date | None
    day: date | None
    sequence: str | None = None
    page: str | None = None
    created: str | None = None
    statement_id: str | None = None
    lines: int = 0

    @property
    def number(self) -> int:
        """Its number in the account's numbering, -1 if it has none."""
        digits = _NUMBER.match(self.sequence or "")
        return int(digits[0]) if digits else -1


class StoredRow(NamedTuple):
    """A stored statement as the checks see it; `day` is the one on which it closed."""

    digest: str
    identity: str
    account: str
    format: str
    currency: str | None
    opening_minor: int | None
    closing_minor: int | None
    opening_day: date | None
    day: date | None
    sequence: str | None
    page: str | None
    created: str | None
    statement_id: str | None
    line_count: int
    holds: list[Any] | None
    chain_holds: list[Any] | None
    is_held: bool
    is_released: bool


class CommonLines(NamedTuple):
    """The lines that two statements both list."""

    lines: int
    booked_minor: int


#: The digests of two statements, the lower one first -> their common lines.
Common = Mapping[tuple[str, str], CommonLines]


@dataclass(frozen=True, slots=True)
class ContinuityHold:
    """A reason to hold a statement, found by comparison with the account's other statements.

    `reason`: gap, corrected, restated, line_shared, account_unknown or account_currency.
    """

    digest: str
    reason: str
    says: str
    difference_minor: int | None = None


def refresh(session: Session, account: str) -> None:
    """Write anew the holds that an account's statements have because of each other."""
    session.execute(text(ONE_AT_A_TIME), {"account": account})
    read = session.connection().exec_driver_sql(_ROWS, {"account": account})
    rows = [StoredRow._make(row) for row in read]
    formats = _registered_formats(session, account)
    sequences: dict[tuple[str, str | None], list[Link]] = {}
    for row in rows:
        if row.opening_minor is not None and row.closing_minor is not None:
            link = _link(row, row.opening_minor, row.closing_minor)
            sequences.setdefault((row.format, row.currency), []).append(link)
    holds = [hold for row in rows for hold in _account_holds(row, formats)]
    common = {
        (first, second): CommonLines(lines, booked_minor)
        for first, second, lines, booked_minor in session.execute(
            text(_COMMON_LINES), {"account": account}
        )
    }
    holds += [hold for links in sequences.values() for hold in check(links, common)]
    holds += _line_shared({row.digest: row for row in rows}, common)

    by_digest: dict[str, list[ContinuityHold]] = {}
    for hold in sorted(set(holds), key=lambda hold: (hold.reason, hold.says)):
        by_digest.setdefault(hold.digest, []).append(hold)
    for row in rows:
        _write(session, row, by_digest.get(row.digest, []))


def _line_shared(rows: Mapping[str, StoredRow], common: Common) -> list[ContinuityHold]:
    """Hold consecutive statements that list the same line: one payment, or two?

    Their balances count it twice, unlike those of overlapping downloads.
    """
    return [
        ContinuityHold(digest, "line_shared", _SHARED)
        for pair, shared in common.items()
        if shared.booked_minor and _are_consecutive(rows[pair[0]], rows[pair[1]])
        for digest in pair
    ]


def _are_consecutive(statement: StoredRow, other: StoredRow) -> bool:
    if (
        statement.opening_minor is None
        or other.opening_minor is None
        or statement.identity == other.identity
    ):
        return False
    follows = (
        statement.closing_minor == other.opening_minor
        or other.closing_minor == statement.opening_minor
    )
    differ = (
        statement.opening_minor != other.opening_minor
        and statement.closing_minor != other.closing_minor
    )
    return statement.format == other.format and follows and differ


def _registered_formats(session: Session, account: str) -> dict[str, str]:
    """The format in which each currency of the account recognises money; empty: not ours."""
    rows = select(BankAccount.currency, BankAccount.format).where(BankAccount.number == account)
    return {row.currency: row.format for row in session.execute(rows)}


def _account_holds(row: StoredRow, formats: dict[str, str]) -> list[ContinuityHold]:
    digest = row.digest
    if not formats:
        says = f"{row.account} is not registered as an account of ours"
        return [ContinuityHold(digest, "account_unknown", says)]
    if row.currency not in formats:
        says = f"{row.account} is registered in {', '.join(sorted(formats))}, not {row.currency}"
        return [ContinuityHold(digest, "account_currency", says)]
    return []


def _link(row: StoredRow, opening: int, closing: int) -> Link:
    return Link(
        digest=row.digest,
        identity=row.identity,
        opening=opening,
        closing=closing,
        opening_day=row.opening_day,
        day=row.day,
        sequence=row.sequence,
        page=row.page,
        created=row.created,
        statement_id=row.statement_id,
        lines=row.line_count,
    )


def _write(session: Session, row: StoredRow, holds: list[ContinuityHold]) -> None:
    chain_holds = [
        {
            "reason": hold.reason,
            "says": hold.says,
            "position": "",
            "difference_minor": hold.difference_minor,
        }
        for hold in holds
    ]
    is_final = any(hold["reason"] in FINAL for hold in row.holds or ())
    is_held = is_final or (bool(row.holds or chain_holds) and not row.is_released)
    if (row.chain_holds or []) != chain_holds or row.is_held != is_held:
        session.execute(
            update(Statement)
            .where(Statement.digest == row.digest)
            .values(chain_holds=chain_holds, is_held=is_held)
        )


@dataclass(slots=True)
class _Walk:
    """The sequence as far as it has been followed."""

    common: Common
    holds: list[ContinuityHold] = field(default_factory=list)
    order: list[Link] = field(default_factory=list)
    run_openings: set[int] = field(default_factory=set)

    def take(self, link: Link) -> None:
        if self.order and link.opening != self.order[-1].closing:
            if self._is_summary(link) or self._is_part(link):
                return
            if self._continues(link):
                self.order.append(link)
                return
            self.holds.append(_gap(self.order[-1], link))
            self.run_openings.clear()
        self.run_openings.add(link.opening)
        self.order.append(link)

    def _is_summary(self, link: Link) -> bool:
        """Whether it repeats the last few: it begins before them, and ends as they do."""
        last = self.order[-1]
        began_before = link.opening_day and last.day and link.opening_day < last.day
        ends_alike = link.closing == last.closing and link.opening in self.run_openings
        return bool(began_before) and ends_alike

    def _is_part(self, link: Link) -> bool:
        """Whether an earlier one lists all of its lines: a download of fewer days, or at noon."""
        return any(_contains(before, link, self.common) for before in self.order[-MAX_OVERLAPS:])

    def _continues(self, link: Link) -> bool:
        """Whether it begins inside an earlier one, and both list the same lines from there on."""
        return any(
            shared.lines and link.opening + shared.booked_minor == before.closing
            for before in self.order[-MAX_OVERLAPS:]
            if (shared := _shared(before, link, self.common))
        )


def _shared(link: Link, other: Link, common: Common) -> CommonLines | None:
    first, second = sorted((link.digest, other.digest))
    return common.get((first, second))


def _contains(whole: Link, part: Link, common: Common) -> bool:
    """Whether one statement lists all lines of another."""
    shared = _shared(whole, part, common)
    return bool(shared and part.lines and shared.lines == part.lines)


def check(links: Iterable[Link], common: Common | None = None) -> list[ContinuityHold]:
    """Check the sequence of one account, format and currency; return its faults.

    `common`: the lines that two statements both list. Downloads may overlap.
    """
    links, common = list(links), common or {}
    with_id = [link for link in links if link.statement_id]
    holds = [
        *_contested(links, lambda link: link.identity, lambda link: link.digest, "restated"),
        *_contested(with_id, _names, lambda link: link.closing, "corrected", common),
    ]
    by_identity = {link.identity: link for link in sorted(links, key=lambda link: link.digest)}
    walk = _Walk(common)
    ordered = sorted(by_identity.values(), key=_place)
    for _, same_day in groupby(ordered, key=lambda link: link.day):
        for link in _linked(list(same_day), walk.order[-1].closing if walk.order else None):
            walk.take(link)
    return [*holds, *walk.holds, *_jumps(walk.order)]


def _names(link: Link) -> tuple[object, ...]:
    return (link.statement_id, link.sequence, link.page, link.day, link.opening)


def _contested(
    links: Iterable[Link],
    same: Callable[[Link], object],
    differing: Callable[[Link], object],
    reason: str,
    common: Common | None = None,
) -> list[ContinuityHold]:
    """Hold the statements that are the same by one key and differ by another.

    One that has all lines of a shorter one is its later download, and corrects nothing.
    """
    says = {"restated": _RESTATED, "corrected": _CORRECTED}[reason]
    groups: dict[object, list[Link]] = {}
    for link in links:
        groups.setdefault(same(link), []).append(link)
    return [
        ContinuityHold(link.digest, reason, says)
        for group in groups.values()
        if len({differing(link) for link in group}) > 1 and not _is_nested(group, common or {})
        for link in group
    ]


def _is_nested(group: list[Link], common: Common) -> bool:
    """Whether each of the group has all lines of the next shorter one."""
    by_length = sorted(group, key=lambda link: link.lines)
    return all(
        not shorter.lines or _contains(longer, shorter, common)
        for shorter, longer in pairwise(by_length)
    )


def _place(link: Link) -> tuple[object, ...]:
    page = _NUMBER.match(link.page or "")
    return (
        link.day or date.min,
        link.number,
        int(page[0]) if page else 0,
        link.created or "",
        link.opening_day or date.min,
        link.digest,
    )


def _linked(same_day: list[Link], closing: int | None) -> Iterable[Link]:
    """The statements of one day in an order that links them, if there is one."""
    rest = same_day
    if closing is None:
        closings = [link.closing for link in rest if link.opening != link.closing]
        firsts = [link for link in rest if link.opening not in closings]
        closing = (firsts or rest)[0].opening
    while rest:
        fitting = [link for link in rest if link.opening == closing]
        # One that moves nothing goes first: what may follow it may also precede it.
        still = [link for link in fitting if link.closing == closing]
        following = (still or fitting or rest)[0]
        rest = [link for link in rest if link is not following]
        closing = following.closing
        yield following


def _gap(before: Link, after: Link) -> ContinuityHold:
    says = (
        f"opens with {after.opening}, but the statement before it"
        f" ({before.statement_id or before.sequence or before.day}) closed with {before.closing}"
    )
    return ContinuityHold(after.digest, "gap", says, after.opening - before.closing)


def _jumps(order: list[Link]) -> list[ContinuityHold]:
    """Numbers left out although balances agree: a statement without movements is missing."""
    steps = [(before, after, after.number - before.number) for before, after in pairwise(order)]
    numbered = [step for step in steps if step[0].number >= 0 and step[2] > 0]
    by_one = sum(1 for step in numbered if step[2] == 1)
    if by_one < MIN_STEPS or by_one < 0.9 * len(numbered):
        return []
    return [
        ContinuityHold(
            after.digest,
            "gap",
            f"number {after.number} follows {before.number}: {step - 1} missing",
            0,
        )
        for before, after, step in numbered
        if step > 1 and before.closing == after.opening
    ]
