"""Idempotency: a key stands for one thing for ever, and a second asking gets the first answer."""

import hashlib
import re
import uuid
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from sqlalchemy.orm import Session

from billing.postgres import copy, driver

_CANONICAL_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}").fullmatch


class Known(NamedTuple):
    """What a key stands for: a digest of what was asked, and the entry (None: refused)."""

    content: int
    entry_id: int | None


def as_uuid(key: str) -> str:
    """The uuid under which a key is kept.

    A lower-case UUID is kept as it is, so that version 7 keys stay in the order of time and the
    index stays fast. Any other text becomes a version 8 UUID (RFC 9562, 5.8) of its SHA-256.
    The SQL function `billing.key_uuid` makes the same.
    """
    if _CANONICAL_UUID(key):
        return key
    digest = bytearray(hashlib.sha256(key.encode()).digest()[:16])
    digest[6] = digest[6] & 0x0F | 0x80
    digest[8] = digest[8] & 0x3F | 0x80
    return str(uuid.UUID(bytes=bytes(digest)))


def own(*parts: object) -> str:
    """A key of the worker's own making; a sender may not use one that begins like it."""
    return ":".join(["billing", *[str(part) for part in parts]])


def digest(*content: object) -> int:
    """64 bits that tell two contents of one key apart; signed, for a bigint.

    The SQL function `billing.content_digest` makes the same.
    """
    joined = "\x1f".join(map(str, content)).encode()
    return int.from_bytes(hashlib.sha256(joined).digest()[:8], signed=True)


_LOOKUP = "SELECT key::text, content, entry_id FROM billing.keys WHERE key = ANY(%(keys)s::uuid[])"


def lookup(session: Session, keys: Iterable[str]) -> dict[str, Known]:
    """What is known of these uuids. Call it under the locks, in a statement of its own."""
    rows = driver.rows(session, _LOOKUP, {"keys": "{" + ",".join(keys) + "}"})
    return {key: Known(content, entry_id) for key, content, entry_id in rows}


def claim(session: Session, new: Mapping[str, Known]) -> None:
    """Make these uuids stand for this, for ever.

    Raises sqlalchemy.exc.IntegrityError where another transaction claimed one for an account that
    is not locked here; the whole set then goes again, and finds it known.
    """
    lines = (f"{key}\x1f{content}\x1f{entry_id}\n" for key, (content, entry_id) in new.items())
    copy.rows(session, "billing.keys", "key, content, entry_id", lines)
