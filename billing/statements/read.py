"""The entry point of the readers: a bank file in any format to canonical statements."""

from collections.abc import Callable
from dataclasses import replace
from datetime import date, timedelta
from typing import BinaryIO

from billing.statements.archives import inside_gzip, members_of_zip
from billing.statements.bai2.reader import read_bai2
from billing.statements.camt.reader import read_camt
from billing.statements.canonical import Hold, HoldReason, Statement
from billing.statements.delimited.reader import read_csv
from billing.statements.draft import Budget
from billing.statements.errors import (
    MAX_QUOTE,
    ArchiveRefused,
    EmptyFile,
    StatementRefused,
    UnknownArchive,
    UnknownFormat,
)
from billing.statements.limits import MAX_NOTES
from billing.statements.mt940.reader import read_mt940
from billing.statements.ofx.reader import read_ofx
from billing.statements.source import Kind, detect, open_source

_READERS: dict[Kind, Callable[[BinaryIO, Budget, str | None], list[Statement]]] = {
    Kind.CAMT: read_camt,
    Kind.MT940: read_mt940,
    Kind.OFX: read_ofx,
    Kind.BAI2: read_bai2,
    Kind.CSV: read_csv,
}
# Banks offer statements for download for about a year, and may announce entries a few days ahead.
OLDEST = timedelta(days=400)
NEWEST = timedelta(days=7)


def read_statements(data: bytes | BinaryIO, *, name: str | None = None) -> list[Statement]:
    """Read the statements of one file, or of all files in a zip or gzip.

    `data` is the bytes of the file, or a seekable binary file. Its format is detected from the
    content; `name` is only repeated in `Statement.source`.

    The whole file is read first: the result is every statement of it, some perhaps held, or an
    error of StatementRefused. Entries stay compressed and are unpacked while they are iterated.
    """
    source = open_source(data)
    kind, budget = detect(source), Budget()
    if kind is Kind.ZIP:
        return _read_members(source, budget)
    if kind is Kind.GZIP:
        with inside_gzip(source) as plain:
            return _read_member(plain, budget, name)
    return _READERS[kind](source, budget, name)


def _read_members(archive: BinaryIO, budget: Budget) -> list[Statement]:
    """Read all statements of a zip; a file beside them that is no statement is noted.

    Raises the first refusal if there is no statement at all. Every refusal names its member.
    """
    statements: list[Statement] = []
    passed_over: list[StatementRefused] = []
    for member, plain in members_of_zip(archive):
        try:
            statements += _read_member(plain, budget, member)
        except (UnknownFormat, EmptyFile) as refusal:
            passed_over.append(_inside(member, refusal))
        except StatementRefused as refusal:
            raise _inside(member, refusal) from None
    if passed_over and not statements:
        raise passed_over[0]
    if passed_over:
        notes = [f"passed over: {refusal}" for refusal in passed_over[:MAX_NOTES]]
        statements[0] = replace(statements[0], notes=(*statements[0].notes, *notes))
    return statements


def _inside(member: str, refusal: StatementRefused) -> StatementRefused:
    """The refusal with the archive's member in front of its place."""
    places = [f"member {member[:MAX_QUOTE]!a}", refusal.position]
    facts = {name: fact for name, fact in refusal.facts.items() if name != "position"}
    return type(refusal)(", ".join(filter(None, places)), **facts)


def _read_member(plain: BinaryIO, budget: Budget, name: str | None) -> list[Statement]:
    source = open_source(plain)
    try:
        kind = detect(source)
    except UnknownArchive:
        raise ArchiveRefused(reason="an archive inside an archive") from None
    if kind in {Kind.ZIP, Kind.GZIP}:
        raise ArchiveRefused(reason="an archive inside an archive")
    return _READERS[kind](source, budget, name)


def hold_distant_dates(statement: Statement, *, today: date) -> Statement:
    """Hold the statement if an entry is over 400 days old or over 7 days ahead of `today`."""
    first, last = statement.first_day, statement.last_day
    if first is None or last is None or (today - OLDEST <= first and last <= today + NEWEST):
        return statement
    message = f"entries from {first} to {last} are too far from {today}"
    return replace(statement, holds=(*statement.holds, Hold(HoldReason.DATE_OUT_OF_RANGE, message)))
