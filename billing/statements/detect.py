"""The format of a file, detected from its first bytes and never from its name."""

import re
from enum import StrEnum

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
_GZIP = b"\x1f\x8b"
_BOMS = (b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff")
_OFX = re.compile(rb"OFXHEADER\s*[:=]|<\?OFX\b|<OFX>")
_XML = re.compile(rb"<(?:\?xml|!--|!DOCTYPE|[A-Za-z])")
_BAI2 = re.compile(rb"01,[^,\r\n]*,[^,\r\n]*,[0-9]{6},")
_MT940 = re.compile(rb"(?:^|[\r\n]|\{4:)\s*:(?:20|25|28C?|60[FM]):")
_ROOT = re.compile(rb"<(?:[A-Za-z_][\w.-]*:)?([A-Za-z_][\w.-]{0,60})")


class Kind(StrEnum):
    """The kinds of files."""

    CAMT = "camt"
    MT940 = "MT940"
    OFX = "OFX"
    BAI2 = "BAI2"
    CSV = "CSV"
    ZIP = "zip"
    GZIP = "gzip"
    UNKNOWN = "unknown"


def detect(head: bytes) -> tuple[Kind, str]:
    """The kind of a file, and a description of it if the kind is unknown.

    Any other text may be CSV.
    """
    if head.startswith(_ZIP):
        return Kind.ZIP, ""
    if head.startswith(_GZIP):
        return Kind.GZIP, ""
    for mark, description in _FOREIGN:
        if head.startswith(mark):
            return Kind.UNKNOWN, description
    if head[257:262] == b"ustar":
        return Kind.UNKNOWN, "a tar archive"
    text = _ascii(head)
    if _OFX.search(text):
        return Kind.OFX, ""
    if _XML.match(text):
        return _detect_xml(text)
    if _BAI2.match(text):
        return Kind.BAI2, ""
    if _MT940.search(text):
        return Kind.MT940, ""
    return Kind.CSV, ""


def _ascii(head: bytes) -> bytes:
    """The bytes without byte order mark, NULs of UTF-16, and leading blanks or controls."""
    for mark in _BOMS:
        head = head.removeprefix(mark)
    return head.replace(b"\0", b"").lstrip(b" \t\r\n\x01\x02\x03\x0b\x0c")


def _detect_xml(text: bytes) -> tuple[Kind, str]:
    """Leave all XML to the camt reader, which refuses it by name, except well-known documents."""
    root = _ROOT.search(text)
    name = root[1].decode("ascii") if root else ""
    if name.lower() in {"html", "svg", "rss", "feed"}:
        return Kind.UNKNOWN, f"XML or HTML with the root {name}"
    return Kind.CAMT, ""
