"""Entry hashes of version 1: 32 bytes, written until decision 0035, and only verified since.

Their encoding does not tell a number from its text in the details, or NULL from the text None.
"""

import hashlib
import hmac
import json
from collections.abc import Mapping
from dataclasses import replace
from decimal import Decimal

from billing.ledger.entry_rows import Entry, hashed_text

#: Bytes of such a hash.
LENGTH = 32
#: All characters of a list of lists of integers.
_PLAIN = "0123456789-, []"


def entry_hash(key: bytes | None, previous: bytes, e: Entry) -> bytes:
    """The hash of an entry whose lots are JSON as Postgres writes it."""
    if isinstance(e.lots, str) and e.lots.strip(_PLAIN):
        e = replace(e, lots=json.loads(e.lots))
    if e.lots == "null":
        e = replace(e, lots=None)
    shown = e.details and json.dumps(_canonical(e.details), sort_keys=True)
    content = previous + f"{hashed_text(e)}\x1f{shown}".encode()
    if key is None:
        return hashlib.sha256(content).digest()
    return hmac.digest(key, content, "sha256")


def _canonical(value: object) -> object:
    """Return JSON with each number as the text of its value."""
    match value:
        case bool() | str() | None:
            return value
        case int() | float() | Decimal():
            number = Decimal(str(value)).normalize()
            return f"{number + 0:f}"
        case Mapping():
            return {name: _canonical(item) for name, item in value.items()}
        case list() | tuple():
            return [_canonical(item) for item in value]
    raise TypeError(f"no JSON: {type(value).__name__}")
