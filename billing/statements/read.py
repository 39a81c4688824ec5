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
from billing.statements.detect import Kind, detect
from billing.statements.errors import ArchiveRefused, UnknownFormat
from billing.statements.limits import Budget
from billing.statements.mt940.reader import read_mt940
from billing.statements.ofx.reader import read_ofx
from billing.statements.source import head_of, open_source

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
    budget = Budget()
    kind, description = detect(head_of(source))
    if kind is Kind.ZIP:
        members = members_of_zip(source)
        return [
            statement
            for inner, plain in members
            for statement in _read_member(plain, budget, inner)
        ]
    if kind is Kind.GZIP:
        with inside_gzip(source) as plain:
            return _read_member(plain, budget, name)
    return _read_plain(source, kind, description, budget, name)


def _read_member(plain: BinaryIO, budget: Budget, name: str | None) -> list[Statement]:
    source = open_source(plain)
    kind, description = detect(head_of(source))
    if kind in {Kind.ZIP, Kind.GZIP}:
        raise ArchiveRefused(f"member {name!a}", reason="an archive inside an archive")
    return _read_plain(source, kind, description, budget, name)


def _read_plain(
    source: BinaryIO, kind: Kind, description: str, budget: Budget, name: str | None
) -> list[Statement]:
    if kind not in _READERS:
        raise UnknownFormat(found=description)
    return _READERS[kind](source, budget, name)


def hold_distant_dates(statement: Statement, *, today: date) -> Statement:
    """Hold the statement if an entry is over 400 days old or over 7 days ahead of `today`."""
    first, last = statement.first_day, statement.last_day
    if first is None or last is None or (today - OLDEST <= first and last <= today + NEWEST):
        return statement
    message = f"entries from {first} to {last} are too far from {today}"
    return replace(statement, holds=(*statement.holds, Hold(HoldReason.DATE_OUT_OF_RANGE, message)))
