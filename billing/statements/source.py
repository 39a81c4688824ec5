"""The bytes of a file and its text: size, encoding, and lines of bounded length."""

import codecs
import io
from collections.abc import Iterator
from typing import BinaryIO, NoReturn

from billing.statements.errors import (
    EmptyFile,
    FileTooLarge,
    LineTooLong,
    TooManyLines,
    UndecodableText,
)
from billing.statements.limits import MAX_FILE_BYTES, MAX_LINE_CHARS, MAX_LINES

# Bytes from which the format of a file is detected.
HEAD_BYTES = 65_536
_CHUNK = 262_144
# Characters that are split into lines in one step.
_PIECE = 65_536
_BOMS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
# Control characters, which are dropped, except tab and line ends: SWIFT frames carry 0x01 and 0x03,
# broken exports NUL.
_CONTROLS = dict.fromkeys((*range(9), 11, 12, *range(14, 32), 127))


def open_source(data: bytes | BinaryIO, *, limit: int = MAX_FILE_BYTES) -> BinaryIO:
    """Open a file at its start, seekable.

    Raises FileTooLarge before anything is read, and EmptyFile.
    """
    source: BinaryIO = (
        io.BytesIO(data) if isinstance(data, bytes | bytearray | memoryview) else data
    )
    size = source.seek(0, io.SEEK_END)
    source.seek(0)
    if size > limit:
        raise FileTooLarge(limit=limit)
    if size == 0:
        raise EmptyFile
    return source


def head_of(source: BinaryIO) -> bytes:
    """Read the first bytes, and go back to the start."""
    head = source.read(HEAD_BYTES)
    source.seek(0)
    return head


def guess_encoding(source: BinaryIO, *, declared: str | None = None) -> tuple[str, bool]:
    """The encoding of the whole text, and whether it is doubtful.

    The first of these that decodes: the one of a byte order mark; UTF-8, which text in another
    encoding hardly ever is by chance; the declared one; Windows-1252. Bytes that no Windows text
    has point to an old DOS code page, which is doubtful.
    """
    head = head_of(source)
    for mark, encoding in _BOMS:
        if head.startswith(mark):
            _must_decode(source, encoding)
            return encoding, False
    if head[:2].count(0) == 1 and len(head) > 1:
        encoding = "utf-16-be" if head[0] == 0 else "utf-16-le"
        _must_decode(source, encoding)
        return encoding, False
    for encoding in ("utf-8", *([declared] if declared else []), "cp1252"):
        if _decodes(source, encoding):
            return encoding, False
    return "cp437", True


def _decodes(source: BinaryIO, encoding: str) -> bool:
    decoder = codecs.getincrementaldecoder(encoding)()
    try:
        while chunk := source.read(_CHUNK):
            decoder.decode(chunk)
        decoder.decode(b"", final=True)
    except UnicodeDecodeError:
        return False
    finally:
        source.seek(0)
    return True


def _must_decode(source: BinaryIO, encoding: str) -> None:
    if not _decodes(source, encoding):
        raise UndecodableText(encoding=encoding)


def text_of(source: BinaryIO, encoding: str) -> io.TextIOWrapper:
    """The source as text; every line end, a lone CR too, becomes LF."""
    source.seek(0)
    return io.TextIOWrapper(source, encoding=encoding, errors="strict", newline=None)


def lines_of(source: BinaryIO, encoding: str) -> Iterator[tuple[int, str]]:
    """Yield line numbers from 1, and lines without control characters and line end.

    The source stays open. Raises LineTooLong and TooManyLines.
    """
    text = text_of(source, encoding)
    try:
        number, rest = 0, ""
        while piece := text.read(_PIECE):
            *lines, rest = (rest + piece).split("\n")
            for number, line in enumerate(lines, number + 1):  # noqa: B020 - goes on counting
                if number > MAX_LINES or len(line) >= MAX_LINE_CHARS:
                    _refuse_line(number)
                yield number, line if line.isprintable() else line.translate(_CONTROLS)
            if rest and (number >= MAX_LINES or len(rest) > MAX_LINE_CHARS):
                _refuse_line(number + 1)
        if rest:
            yield number + 1, rest if rest.isprintable() else rest.translate(_CONTROLS)
    finally:
        text.detach()


def _refuse_line(number: int) -> NoReturn:
    if number > MAX_LINES:
        raise TooManyLines(limit=MAX_LINES)
    raise LineTooLong(f"line {number}", limit=MAX_LINE_CHARS)


def without_controls(text: str) -> str:
    """Remove the control characters from a text, except tab and line ends."""
    return text.translate(_CONTROLS)
