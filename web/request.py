"""A request that every server reads alike: waitress's parser, without what it is lenient about.

Behind a proxy that sees the end of a request elsewhere, a lenient server would take a part of one
client's request for the next one ("request smuggling"). So whatever RFC 9112 lets a server read in
two ways is refused with 400, and the connection is closed.
"""

import re
import time
from collections.abc import Sequence

from waitress.adjustments import Adjustments
from waitress.parser import HTTPRequestParser, ParsingError
from waitress.utilities import BadRequest, Error, find_double_newline

_START = re.compile(rb"[A-Z][A-Z0-9!#$%&'*+.^_`|~-]* [\x21-\x7e\x80-\xff]+ HTTP/1\.[01]")
#: A line end that is no CR LF, with a CR at the end of what was read so far still open.
_LOOSE_END = re.compile(rb"(?<!\r)\n|\r(?!\n|\Z)")
_CHUNK_SIZE = re.compile(rb"([0-9A-Fa-f]{1,8})\r\n")
#: Two of one of these could be read as the first or as the last.
_ONCE = (b"host", b"content-length", b"transfer-encoding", b"stripe-signature")


class RequestTimeout(Error):
    """The answer to a request that did not arrive in time."""

    code = 408
    reason = "Request Timeout"


class Request(HTTPRequestParser):
    """A request that every server reads alike, or a refusal; `began`: when its first byte came."""

    path = ""  # waitress logs it, even of a request without one
    empty: bool = False
    expect_continue: bool = False

    def __init__(self, adj: Adjustments) -> None:
        super().__init__(adj)
        self.began = time.monotonic()
        self._framing = bytearray()

    def received(self, data: bytes) -> int:
        """Take bytes of the request; return how many of them belong to it."""
        in_header = self.body_rcv is None
        if in_header and _is_loose(self.header_plus + data):
            return self.refuse(BadRequest("A line must end with CR LF."), len(data))
        used: int = super().received(data)
        if self.empty:
            self.empty = False
            return self.refuse(BadRequest("The request is empty."), len(data))
        if not in_header and self.chunked:
            self._framing += data[:used]
            if self.completed and not self.error and not _is_strict(bytes(self._framing)):
                return self.refuse(BadRequest("The body's chunks are ambiguous."), len(data))
        # Else waitress says "100 Continue" to a request that has ended.
        self.expect_continue = self.expect_continue and not self.completed
        return used

    def refuse(self, error: Error, used: int = 0) -> int:
        """End the request with an error. The connection closes after the answer."""
        self.error, self.completed, self.expect_continue = error, True, False
        return used

    def parse_header(self, header_plus: bytes) -> None:
        """Refuse an ambiguous header, then read it. Raises ParsingError."""
        start, *lines = header_plus.removesuffix(b"\r\n\r\n").split(b"\r\n")
        if start != b"GET / HTTP/1.0":  # waitress's own stand-in for a header that is too large
            _check_header(start, [line for line in lines if line])
        try:
            super().parse_header(header_plus)
        except ValueError:  # of urlsplit, and of a number with thousands of digits
            raise ParsingError("The address or a number is invalid") from None


def _is_loose(text: bytes) -> bool:
    end = find_double_newline(text)
    header = text if end < 0 else text[:end]
    # One empty line before a request is allowed: RFC 9112, 2.2.
    has_space = header[:1].isspace() and not b"\r\n".startswith(header[:2])
    return has_space or _LOOSE_END.search(header) is not None


def _check_header(start: bytes, lines: Sequence[bytes]) -> None:
    """Raise ParsingError for what RFC 9112 lets a server read in two ways."""
    if not _START.fullmatch(start):
        raise ParsingError("Start line is invalid")
    if any(line.startswith((b" ", b"\t")) for line in lines):
        raise ParsingError("A header line must not be folded")
    values: dict[bytes, list[bytes]] = {name: [] for name in _ONCE}
    for line in lines:
        name, _, value = line.partition(b":")
        values.get(name.lower(), []).append(value.strip(b" \t").lower())
    _check_once(values, is_1_1=start.endswith(b"1"))


def _check_once(values: dict[bytes, list[bytes]], *, is_1_1: bool) -> None:
    for name, given in values.items():
        if len(given) > 1:
            raise ParsingError(f"{name.decode()} is given twice")
    codings = values[b"transfer-encoding"]
    if codings and values[b"content-length"]:
        raise ParsingError("The length is given in two ways")
    if codings and (not is_1_1 or codings[0] == b"" or codings[0].count(b"chunked") > 1):
        raise ParsingError("Transfer-Encoding is invalid")
    if is_1_1 and not values[b"host"]:
        raise ParsingError("Host is missing")


def _is_strict(body: bytes) -> bool:
    """Whether chunks follow each other without extensions, trailers and loose line ends."""
    at = 0
    while match := _CHUNK_SIZE.match(body, at):
        size = int(match[1], 16)
        at = match.end() + size + 2
        if body[at - 2 : at] != b"\r\n":
            return False
        if size == 0:
            return at == len(body)
    return False
