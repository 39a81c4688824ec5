"""The CSV reader: finds the header by the profiles of banks, then reads each row strictly."""

import csv
from collections import Counter
from collections.abc import Iterator
from itertools import islice
from typing import BinaryIO, NamedTuple

from billing.statements.canonical import HoldReason, Statement
from billing.statements.delimited.profiles import GENERIC, HEADERLESS, PROFILES, Profile
from billing.statements.delimited.rows import RowReader
from billing.statements.delimited.survey import survey
from billing.statements.draft import Budget, hold_doubtful_encoding
from billing.statements.errors import LineTooLong, MalformedCsv, UnknownFormat
from billing.statements.limits import MAX_CSV_CELLS, MAX_CSV_PREAMBLE
from billing.statements.source import guess_encoding, lines_of

_DELIMITERS = (";", "\t", ",", "|")
_HOLD_GENERIC = "the columns were guessed by their names: no profile knows this bank"


class Layout(NamedTuple):
    """The profile, the delimiter, the number of the header row, and the place of each column."""

    profile: Profile
    delimiter: str
    header_row: int
    columns: dict[str, int]


def read_csv(source: BinaryIO, budget: Budget, name: str | None = None) -> list[Statement]:
    """Read one statement for each own account and currency in a CSV file.

    Raises the errors of StatementRefused.
    """
    encoding, is_doubtful = guess_encoding(source)
    layout = find_layout(source, encoding)
    rows = islice(_rows(source, encoding, layout.delimiter), layout.header_row, None)
    styles = survey(layout.profile, layout.columns, (row for _, row in rows))
    reader = RowReader(layout.profile, layout.columns, styles, budget, name)
    for line, row in islice(_rows(source, encoding, layout.delimiter), layout.header_row, None):
        reader.take(row, f"line {line}")
    drafts = reader.finish()
    if is_doubtful:
        hold_doubtful_encoding(drafts, encoding)
    if layout.profile is GENERIC:
        for draft in drafts:
            draft.hold(HoldReason.FAMILY_DOUBT, _HOLD_GENERIC)
    return [draft.finish() for draft in drafts]


def find_layout(source: BinaryIO, encoding: str) -> Layout:
    """Find the profile whose signature fits best; raises UnknownFormat."""
    layouts: list[Layout] = []
    for delimiter in _DELIMITERS:
        rows = islice(_rows(source, encoding, delimiter), MAX_CSV_PREAMBLE)
        try:
            for number, (_, row) in enumerate(rows, start=1):
                layout = _layout_of(row, delimiter, number)
                if layout is not None:
                    layouts.append(layout)
                    break
        except (MalformedCsv, LineTooLong):
            continue
    if not layouts:
        raise UnknownFormat(found="text without a header that any profile knows")
    return max(layouts, key=lambda layout: (len(layout.profile.signature), len(layout.columns)))


def _layout_of(row: list[str], delimiter: str, number: int) -> Layout | None:
    """The layout of a file with this row, if it is a header or the first row without one."""
    columns = _columns(row)
    profile = _fitting(columns)
    if profile is not None:
        return Layout(profile, delimiter, number, columns)
    for profile in HEADERLESS if number == 1 else ():
        if profile.fits_row(row):
            columns = {name: place for place, name in enumerate(profile.headerless)}
            return Layout(profile, delimiter, 0, columns)
    return None


def _columns(row: list[str]) -> dict[str, int]:
    names = [cell.strip().strip("\ufeff\"'").strip().casefold() for cell in row]
    counted = Counter(names)
    # a name that occurs twice does not identify a column
    return {name: place for place, name in enumerate(names) if name and counted[name] == 1}


def _fitting(columns: dict[str, int]) -> Profile | None:
    fitting = [profile for profile in PROFILES if profile.signature <= columns.keys()]
    if fitting:
        return max(fitting, key=lambda profile: len(profile.signature))

    def has(names: tuple[str, ...]) -> bool:
        return any(name in columns for name in names)

    has_money = has(GENERIC.amount) or (has(GENERIC.credit) and has(GENERIC.debit))
    return GENERIC if has(GENERIC.booked) and has_money else None


def _rows(source: BinaryIO, encoding: str, delimiter: str) -> Iterator[tuple[int, list[str]]]:
    """Yield line numbers and rows; a quoted cell may have line breaks. Raises MalformedCsv."""
    lines = (line + "\n" for _, line in lines_of(source, encoding))
    reader = csv.reader(lines, delimiter=delimiter, strict=True)
    start = 1
    while True:
        try:
            row = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            raise MalformedCsv(f"line {start}", reason=str(error)) from None
        if len(row) > MAX_CSV_CELLS:
            raise MalformedCsv(f"line {start}", reason=f"more than {MAX_CSV_CELLS} cells")
        yield start, row
        start = reader.line_num + 1
