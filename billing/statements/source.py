"""The bytes of a file and its text: size, format, encoding, and lines of bounded length."""

import codecs
import io
import re
from collections.abc import Iterator
from enum import StrEnum
from typing import BinaryIO, NoReturn

from billing.statements.errors import (
    EmptyFile,
    FileTooLarge,
    LineTooLong,
    TooManyLines,
    UndecodableText,
    UnknownArchive,
    UnknownFormat,
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
# First bytes of archives and documents that are sent by mistake.
_FOREIGN = (
    (b"%PDF", "a PDF document"),
    (b"\xd0\xcf\x11\xe0", "an old Excel or Word document"),
    (b"BZh", "a bzip2 archive"),
    (b"\xfd7zXZ", "an xz archive"),
    (b"7z\xbc\xaf", "a 7-Zip archive"),
    (b"Rar!", "a RAR archive"),
    (b"\x28\xb5\x2f\xfd", "a Zstandard archive"),
    (b"\x89PNG", "a picture"),
    (b"\xff\xd8\xff", "a picture"),
)
_ZIP = (b"PK\x03\x04", b"PK\x05\x06", b"PK\x07\x08")
# Documents that are zip files themselves: Office Open XML and OpenDocument.
_OFFICE = re.compile(
    rb"\[Content_Types\]\.xml|docProps/|xl/workbook|word/document|mimetypeapplication/vnd\.oasis"
)
_GZIP = b"\x1f\x8b"
_OFX = re.compile(rb"OFXHEADER\s*[:=]|<\?OFX\b|<OFX[\s>]")
_XML = re.compile(rb"<(?:\?xml|!--|!DOCTYPE|[A-Za-z])")
_BAI2 = re.compile(rb"01,[^,\r\n]*,[^,\r\n]*,[0-9]{6},")
_MT940 = re.compile(rb"(?:^|[\r\n]|\{4:)\s*:(?:20|25|28C?|60[FM]):")
_ROOT = re.compile(rb"<(?:[A-Za-z_][\w.-]*:)?([A-Za-z_][\w.-]{0,60})")
# Control characters, which are dropped, except tab and line ends: SWIFT frames carry 0x01 and 0x03,
# broken exports NUL.
_CONTROLS = dict.fromkeys((*range(9), 11, 12, *range(14, 32), 127))


class Kind(StrEnum):
    """The kinds of files."""

    CAMT = "camt"
    MT940 = "MT940"
    OFX = "OFX"
    BAI2 = "BAI2"
    CSV = "CSV"
    ZIP = "zip"
    GZIP = "gzip"


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


def detect(source: BinaryIO) -> Kind:
    """The kind of a file, by its first bytes and never by its name. Any other text may be CSV.

    Raises UnknownFormat for a document or an archive of another kind.
    """
    head = head_of(source)
    if head.startswith(_ZIP):
        if _OFFICE.search(head):
            raise UnknownFormat(found="an Excel, Word or OpenDocument file")
        return Kind.ZIP
    if head.startswith(_GZIP):
        return Kind.GZIP
    for mark, description in _FOREIGN:
        if head.startswith(mark):
            refusal = UnknownArchive if description.endswith("archive") else UnknownFormat
            raise refusal(found=description)
    if head[257:262] == b"ustar":
        raise UnknownArchive(found="a tar archive")
    for mark, _ in _BOMS:
        head = head.removeprefix(mark)
    text = head.replace(b"\0", b"").lstrip(b" \t\r\n\x01\x02\x03\x0b\x0c")
    if _OFX.search(text):
        return Kind.OFX
    if _XML.match(text):
        # The camt reader refuses all other XML by name, except well-known documents.
        root = _ROOT.search(text)
        if root and root[1].lower() in {b"html", b"svg", b"rss", b"feed"}:
            raise UnknownFormat(found=f"XML or HTML with the root {root[1].decode('ascii')}")
        return Kind.CAMT
    if _BAI2.match(text):
        return Kind.BAI2
    return Kind.MT940 if _MT940.search(text) else Kind.CSV


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
