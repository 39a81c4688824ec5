"""The bounds of message fields. Each function returns the value or raises InvalidField.

The types at the end carry such a function, which checks a field when its message is made.
"""

import datetime as dt
import json
import re
from collections.abc import Mapping
from functools import partial
from typing import Annotated

from billing_client.errors import InvalidField

#: Postgres bigint, the type of the main app's ids.
MAX_ID = 2**63 - 1
#: A million images or 100 million words in one operation is a mistake, not work.
MAX_UNITS = 1_000_000
#: `credits` is an int4 in the main app; a grant of more than 100 million is a mistake.
MAX_GRANT = 100_000_000
MAX_KEY_CHARACTERS = 200
#: The prefix of keys that the worker makes for itself.
RESERVED_PREFIX = "billing:"
MAX_NAME_CHARACTERS = 50
#: Enough for ids and a title; anything larger belongs in the main app's own tables.
MAX_METADATA_BYTES = 2048
#: The most debits of one message, which is read, applied and acknowledged as one batch.
MAX_DEBITS = 500
#: Default and longest life of a hold; an AI job that runs for more than a day is lost.
DEFAULT_HOLD_S, MAX_HOLD_S = 900, 86_400
#: The largest Celery message, in bytes: the worker reads no larger one, and the client sends none.
#: The largest that a client of ours can make is a webhook of 1 MiB, written in escapes.
MAX_MESSAGE_BYTES = 2**24
#: The largest arguments of a row in the inbox, in bytes of JSON; a constraint of the table says so.
MAX_INBOX_BYTES = 2**16
#: The largest body a relay passes on. Stripe's events have kilobytes, the largest hundreds.
MAX_STRIPE_BODY = 2**20
#: The largest body the worker reads: above the relay's limit, so that it can report one.
MAX_STRIPE_PAYLOAD = 8 * 2**20
#: Above the header limit of web servers, so that the worker can report one that is too long.
MAX_SIGNATURE_CHARACTERS = 16_384
#: The longest id that Stripe documents: docs.stripe.com/upgrades
MAX_STRIPE_ID_CHARACTERS = 255
#: The column is a smallint; a lower priority burns first.
MAX_PRIORITY = 1000
#: Finds NUL in JSON: an escape behind an even number of backslashes.
_NUL = re.compile(rb"(?<!\\)(?:\\\\)*\\u0000").search


def whole(field: str, value: object, *, low: int, high: int) -> int:
    """Check an int from `low` to `high`; a bool or a whole float is refused."""
    if isinstance(value, bool) or not isinstance(value, int):
        raise InvalidField(field, f"must be a whole number, got {_short(value)}")
    if not low <= value <= high:
        raise InvalidField(field, f"must be from {low} to {high}, got {_short(value)}")
    return value


def text(field: str, value: object, *, longest: int) -> str:
    """Check a text of 1 to `longest` printable characters, with no blank at either end."""
    if not isinstance(value, str):
        raise InvalidField(field, f"must be text, got {_short(value)}")
    if not 1 <= len(value) <= longest:
        raise InvalidField(field, f"must have 1 to {longest} characters, has {len(value)}")
    if not value.isprintable() or value != value.strip():
        raise InvalidField(
            field, f"must be printable and without blanks around it, got {_short(value)}"
        )
    return value


def key(field: str, value: object) -> str:
    """Check an idempotency key; the worker's own are refused."""
    checked = text(field, value, longest=MAX_KEY_CHARACTERS)
    if checked.startswith(RESERVED_PREFIX):
        raise InvalidField(
            field, f"must not begin with {RESERVED_PREFIX}, which is reserved for the worker"
        )
    return checked


def moment(field: str, value: object) -> dt.datetime:
    """Check a datetime with a time zone, or its ISO 8601 text; return it in UTC."""
    if isinstance(value, str):
        try:
            value = dt.datetime.fromisoformat(value)
        except ValueError:
            raise InvalidField(field, f"must be an ISO 8601 time, got {_short(value)}") from None
    if not isinstance(value, dt.datetime):
        raise InvalidField(field, f"must be a time, got {_short(value)}")
    if value.tzinfo is None:
        raise InvalidField(field, "must have a time zone")
    try:
        return value.astimezone(dt.UTC)
    except OverflowError:
        raise InvalidField(
            field, f"must be a time within the years 1 to 9999, got {_short(value)}"
        ) from None


def payload(field: str, value: object) -> str:
    """Check a request's body, carried as text that converts back to the same bytes.

    Bytes that are not UTF-8 are carried as Python's "surrogateescape" does (PEP 383).
    """
    if not isinstance(value, str):
        raise InvalidField(field, f"must be text, got {_short(value)}")
    try:
        size = len(value.encode("utf-8", "surrogateescape"))
    except UnicodeEncodeError:
        raise InvalidField(
            field, "must not contain a lone surrogate, which stands for no byte"
        ) from None
    if size > MAX_STRIPE_PAYLOAD:
        raise InvalidField(field, f"must be at most {MAX_STRIPE_PAYLOAD} bytes, is {size}")
    return value


def signature(field: str, value: object) -> str:
    """Check a header's type and length; the worker reports anything else about it."""
    if not isinstance(value, str):
        raise InvalidField(field, f"must be text, got {_short(value)}")
    if len(value) > MAX_SIGNATURE_CHARACTERS:
        raise InvalidField(field, f"must have at most {MAX_SIGNATURE_CHARACTERS} characters")
    return value


def session(field: str, value: object) -> str:
    """Check the id of a Checkout session."""
    checked = text(field, value, longest=MAX_STRIPE_ID_CHARACTERS)
    if not checked.startswith("cs_"):
        raise InvalidField(field, f"must be the id of a Checkout session, cs_…, got {checked}")
    return checked


def metadata(field: str, value: object) -> Mapping[str, object]:
    """Check a JSON object of at most 2,048 bytes whose keys are text."""
    if not isinstance(value, Mapping) or not all(isinstance(name, str) for name in value):
        raise InvalidField(field, f"must be an object with text keys, got {_short(value)}")
    try:
        size = len(json.dumps(value, allow_nan=False).encode())
    except (TypeError, ValueError, RecursionError) as error:
        raise InvalidField(field, f"must be JSON: {error}") from None
    if size > MAX_METADATA_BYTES:
        raise InvalidField(field, f"must be at most {MAX_METADATA_BYTES} bytes, is {size}")
    if not _is_storable(value):
        raise InvalidField(
            field, "must not contain NUL or a lone surrogate, which Postgres refuses"
        )
    return value


def _is_storable(value: object) -> bool:
    """Whether Postgres' jsonb accepts every text in the value: no NUL, no lone surrogate."""
    try:
        # JSON writes NUL as an escape. A backslash of the text itself is written as two.
        return not _NUL(json.dumps(value, ensure_ascii=False).encode())
    except UnicodeEncodeError:
        return False


def _short(value: object) -> str:
    shown = repr(value) if not isinstance(value, int) else str(type(value).__name__)
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) < 10**20:
        shown = str(value)
    return shown if len(shown) <= 60 else shown[:57] + "..."


Id = Annotated[int, partial(whole, low=1, high=MAX_ID)]
Units = Annotated[int, partial(whole, low=1, high=MAX_UNITS)]
Name = Annotated[str, partial(text, longest=MAX_NAME_CHARACTERS)]
Key = Annotated[str, key]
HoldKey = Annotated[str, partial(text, longest=MAX_KEY_CHARACTERS)]
Reason = Annotated[str, partial(text, longest=MAX_KEY_CHARACTERS)]
Time = Annotated[dt.datetime, moment]
Metadata = Annotated[Mapping[str, object], metadata]
Payload = Annotated[str, payload]
Session = Annotated[str, session]
Signature = Annotated[str, signature]
