"""What strangers send, as functions of bytes: each must answer, or refuse with an error of its own.

A target takes bytes and returns nothing. It raises if the product breaks a promise.
"""

import datetime as dt
import json
import random
import re
from collections.abc import Callable
from typing import NamedTuple

import msgspec
from waitress.adjustments import Adjustments

from billing.errors import Malformed, Rejected
from billing.printable import printable
from billing.statements.canonical import Statement
from billing.statements.errors import StatementRefused
from billing.statements.plain import plain_entry, plain_statement
from billing.statements.read import read_statements
from billing.stripe import events
from billing.stripe.errors import SignatureRefused
from billing.stripe.signature import sign, verify
from billing_client import MESSAGES
from billing_client.errors import InvalidMessage
from tests import stripe_objects
from tests.billing.statements import writing
from tests.worker import rawmessages
from web.request import Request
from worker.transport import envelope

NOW = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
SECRET = "whsec_fuzz"
_LIMITS = Adjustments(max_request_header_size=2000, max_request_body_size=5000)
#: RFC 9112 without all that is optional: what the relay may let through.
_LINE = rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+:[\t\x20-\x7e\x80-\xff]*\r\n"
_STRICT = re.compile(
    rb"(?:\r\n)?[A-Z][!#$%&'*+.^_`|~0-9A-Z-]* [\x21-\x7e\x80-\xff]+ HTTP/1\.[01]\r\n"
    rb"(?:" + _LINE + rb")*\r\n"
)
_CHUNKED = re.compile(rb"(?i)transfer-encoding:")
_LENGTH = re.compile(rb"(?i)\ncontent-length:[ \t]*([0-9]+)[ \t]*\r")


class Target(NamedTuple):
    """A function of bytes, and good inputs to begin with."""

    check: Callable[[bytes], None]
    seeds: tuple[bytes, ...]


# --- the relay ----------------------------------------------------------------------------------


def _parsed(data: bytes, cuts: list[int]) -> tuple[object, ...]:
    """Feed a request in pieces; returns what became of it, and how many bytes it took."""
    request = Request(_LIMITS)
    used = 0
    for begin, end in zip([0, *cuts], [*cuts, len(data)], strict=True):
        piece = data[begin:end]
        while piece and not request.completed:
            taken = request.received(piece)
            used += taken
            piece = piece[taken:]
    body = request.get_body_stream().read() if request.completed and not request.error else b""
    error = request.error and request.error.code
    state = (request.completed, error, body, used if not error else None)
    request.close()
    return state


def relay_request(data: bytes) -> None:
    """A request is read alike however it arrives, and one that is accepted has one meaning."""
    whole = _parsed(data, [])
    cuts = sorted(random.Random(len(data)).choices(range(len(data) + 1), k=3))
    assert _parsed(data, cuts) == whole
    if len(data) < 300:
        assert _parsed(data, list(range(1, len(data)))) == whole
    is_complete, error, body, used = whole
    if not is_complete or error is not None:
        return
    head = _STRICT.match(data)
    assert head, "accepted, and against RFC 9112"
    lengths = _LENGTH.findall(head[0])
    is_chunked = _CHUNKED.search(head[0]) is not None
    assert len(lengths) + is_chunked <= 1, "the length is given in two ways"
    if not is_chunked:
        assert used == head.end() + sum(map(int, lengths))
        assert body == data[head.end() : used]


def webhook(data: bytes) -> None:
    """A signed body is an event or refused by name; a header that is not ours never verifies."""
    header, _, body = data.partition(b"\n")
    for text, is_ours in (
        (header.decode("latin-1"), False),
        (sign(body, secret=SECRET, at=NOW), True),
    ):
        try:
            verify(body, text, secrets=[SECRET], received_at=NOW, tolerance=dt.timedelta(minutes=5))
        except SignatureRefused as error:
            assert not is_ours
            str(error)
        else:
            assert is_ours
    try:
        event = events.parse(body)
    except Rejected as error:
        assert printable(str(error)).isprintable()
    else:
        json.dumps(event.payload)


# --- messages -----------------------------------------------------------------------------------


def queued_message(data: bytes) -> None:
    """A message is well-formed or `Malformed`, in words that can be shown."""
    try:
        read = envelope.read(data, known_tasks=MESSAGES)
    except Malformed as error:
        assert printable(str(error)).isprintable()
        return
    json.dumps([read.arguments, read.positional])
    _arguments(read.task, read.arguments)


def task_arguments(data: bytes) -> None:
    """Arguments of any task are a message or refused by the field's name."""
    try:
        arguments = msgspec.json.decode(data)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return
    if isinstance(arguments, dict):
        for task in MESSAGES:
            _arguments(task, arguments)


def _arguments(task: str, arguments: dict[str, object]) -> None:
    try:
        message = MESSAGES[task].from_arguments(arguments)
    except InvalidMessage as error:
        assert len(str(error)) < 2000
        return
    json.dumps(message.arguments(), allow_nan=False)


# --- bank statements ----------------------------------------------------------------------------


def statement(data: bytes) -> None:
    """A file of any format is read or refused by name, and can be printed as JSON."""
    try:
        statements = read_statements(data, name="file")
    except StatementRefused as error:
        assert printable(str(error)).isprintable()
        return
    for read in statements:
        assert isinstance(read, Statement)
        json.dumps(plain_statement(read))
        json.dumps([plain_entry(entry) for entry in read.entries])


# --- all ----------------------------------------------------------------------------------------

_HOST = b"Host: relay\r\n"
_EVENT = json.dumps(stripe_objects.event()).encode()
_CSV = (
    b"Booking date;Value date;Name;Purpose;Amount;Currency\r\n"
    b"2026-01-30;2026-01-30;Anna;Invoice 1;10,00;EUR\r\n"
)
_BAI2 = (
    b"01,BANK,US,260131,0000,1,80,1,2/\r\n02,US,BANK,1,260131,0000,USD,2/\r\n"
    b"03,123,USD,010,1000,,,015,2000,,/\r\n16,142,1000,Z,REF,,INVOICE 1/\r\n"
    b"49,4000,3/\r\n98,4000,1,5/\r\n99,4000,1,7/\r\n"
)
TARGETS = {
    "relay_request": Target(
        relay_request,
        (
            b"GET /health HTTP/1.1\r\n" + _HOST + b"\r\n",
            b"POST / HTTP/1.1\r\n" + _HOST + b"Content-Length: 4\r\n\r\nabcdGET / HTTP/1.0\r\n\r\n",
            b"POST / HTTP/1.1\r\n"
            + _HOST
            + b"Transfer-Encoding: chunked\r\n\r\n4\r\nabcd\r\n0\r\n\r\nG",
            b"POST / HTTP/1.1\r\n" + _HOST + b"Expect: 100-continue\r\nContent-Length: 1\r\n\r\na",
        ),
    ),
    "webhook": Target(webhook, (b"t=1767225600,v1=00\n" + _EVENT, b"\n{}")),
    "queued_message": Target(
        queued_message,
        tuple(
            json.dumps(
                rawmessages.message(task, account_id=1, operation="x", key="k", units=1)
            ).encode()
            for task in ("credits.debit", "credits.grant", "stripe.apply")
        ),
    ),
    "task_arguments": Target(
        task_arguments,
        (
            b'{"account_id": 1, "operation": "clustering", "key": "k", "units": 3}',
            b'{"account_id": 1, "credits": 5, "source": "goodwill", "key": "k", "expires_at": null}',
            b'{"body": "e30=", "signature": "t=1", "received_at": "2026-01-01T00:00:00+00:00"}',
        ),
    ),
    "statement": Target(
        statement,
        (
            writing.camt(
                writing.entry(details=writing.batch(writing.transaction(amount="10.00"))),
                closing="10.00",
            ).encode(),
            writing.mt940(":61:2601310131C10,00NTRFREF//B1", ":86:166?00X?20INV-1?32ANNA").encode(),
            writing.ofx(
                "<STMTTRN><TRNTYPE>CREDIT<DTPOSTED>20260131<TRNAMT>10.00<FITID>1<NAME>ANNA</STMTTRN>"
            ).encode(),
            _BAI2,
            _CSV,
        ),
    ),
}
