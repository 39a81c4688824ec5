"""The MT940 reader: splits a file into fields and passes them on."""

import re
from typing import BinaryIO

from billing.statements.canonical import HoldReason, Statement
from billing.statements.draft import Budget, Draft, hold_doubtful_encoding
from billing.statements.errors import LineTooLong
from billing.statements.limits import MAX_FIELD_LINES, MAX_LINE_CHARS, MAX_RETRIED_BYTES
from billing.statements.mt940.marks import SWIFT, Marks, proven
from billing.statements.mt940.messages import MessageReader
from billing.statements.mt940.pages import check_pages
from billing.statements.source import guess_encoding, lines_of

# Any other tag at the start of a line is text, such as a wrapped time `:12:11`.
_FIELD = re.compile(
    r":(20|21|25P?|28C?|60[FM]|61|86|62[FM]|64|65|13[CD]?|34F|90[CD]|NS):(.*)", re.DOTALL
)
# Starts of the lines between two messages of a SWIFT file.
_FRAMES = ("-}", "{1:", "{4:")


def read_mt940(source: BinaryIO, budget: Budget, name: str | None = None) -> list[Statement]:
    """Read all statements of one file; raises the errors of StatementRefused."""
    encoding, is_doubtful = guess_encoding(source)
    drafts = _read_drafts(source, encoding, MessageReader(budget, name, SWIFT))
    if source.seek(0, 2) <= MAX_RETRIED_BYTES:

        def read_again(marks: Marks) -> list[Draft]:
            return _read_drafts(source, encoding, MessageReader(Budget(), name, marks))

        drafts = proven(drafts, read_again)
    if is_doubtful:
        hold_doubtful_encoding(drafts, encoding)
    check_pages(drafts)
    return [draft.finish() for draft in drafts]


def _read_drafts(source: BinaryIO, encoding: str, reader: MessageReader) -> list[Draft]:
    """Read the drafts of all statements; hold them if a field 61 is missing in them."""
    line_count = _read_fields(source, encoding, reader)
    drafts = reader.finish()
    entry_count = sum(draft.row_count for draft in drafts)
    if line_count != entry_count:
        for draft in drafts:
            message = f"{line_count} lines :61: in the file, {entry_count} read"
            draft.hold(HoldReason.ENTRY_COUNT, message)
    return drafts


def _read_fields(source: BinaryIO, encoding: str, reader: MessageReader) -> int:
    """Pass whole fields to the reader; returns the number of fields 61."""
    line_count = 0
    tag, lines, first, size = "", [""], 0, 0
    for number, line in lines_of(source, encoding):
        match, ends = None, False
        if line[:1] == ":":
            match = _FIELD.match(line)
        elif line[:1] in {"-", "{"}:
            ends = line.startswith(_FRAMES) or (line.rstrip() == "-" and reader.is_closed(tag))
        if match or ends:
            reader.take(tag, lines, first)
            tag, lines = (match[1], [match[2]]) if match else ("", [""])
            first, size = number, 0
            line_count += tag == "61"
        elif tag:
            size += len(line)
            if len(lines) >= MAX_FIELD_LINES or size > MAX_LINE_CHARS:
                raise LineTooLong(f"line {number}", limit=MAX_LINE_CHARS)
            lines.append(line)
    reader.take(tag, lines, first)
    return line_count
