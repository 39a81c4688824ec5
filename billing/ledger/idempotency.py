"""Idempotency keys: a key stands for one request for ever, and a repeat gets the first answer."""

import hashlib
import re
import uuid
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import NamedTuple

from sqlalchemy.orm import Session

from billing.postgres import sql

_CANONICAL_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}").fullmatch


class KnownKey(NamedTuple):
    """A taken key: the digest of its request, and its entry; None if it was refused."""

    content: int
    entry_id: int | None


def as_uuid(key: str) -> str:
    """The uuid that stands for a key in the table of keys.

    A lower-case UUID stands for itself, so that version 7 keys stay in the order of time and the
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
    """A key that the worker makes itself; senders may not use its prefix."""
    return ":".join(["billing", *[str(part) for part in parts]])


def own_uuid(account_id: int, key: str) -> str:
    """The uuid that stands for an account's key if another account has used the same text before.

    The SQL function `billing.own_key_uuid` makes the same.
    """
    return as_uuid(own("key", account_id, key))


@lru_cache(maxsize=10_000)
def digest(*content: object) -> int:
    """64 bits that tell two requests under one key apart; signed, for a bigint.

    Remembered, for accounts ask for the same again and again, and a digest costs a tenth of a
    debit. The SQL function `billing.content_digest` makes the same.
    """
    joined = "\x1f".join(map(str, content)).encode()
    return int.from_bytes(hashlib.sha256(joined).digest()[:8], signed=True)


#: Reads what uuids stand for; values: `keys`. Under the locks, in a statement of its own.
LOOKUP = "SELECT key::text, content, entry_id FROM billing.keys WHERE key = ANY(%(keys)s::uuid[])"


def lookup(session: Session, uuids: Iterable[str]) -> dict[str, KnownKey]:
    """Read what these uuids stand for. Call it under the accounts' locks."""
    rows = sql.rows(session, LOOKUP, {"keys": "{" + ",".join(uuids) + "}"})
    return {uuid: KnownKey(content, entry_id) for uuid, content, entry_id in rows}


_OF_OTHERS = """
SELECT account_id, key FROM unnest(%(accounts)s::bigint[], %(keys)s::text[]) AS k (account_id, key)
WHERE billing.is_key_of_another(account_id, key)
"""


def of_others(session: Session, pairs: Iterable[tuple[int, str]]) -> set[tuple[int, str]]:
    """Return those of these accounts and taken keys whose key another account has claimed.

    Only for keys that stand for other content: it reads entries, holds and refusals.
    """
    account_ids, keys = zip(*pairs, strict=True)
    values = {"accounts": list(account_ids), "keys": list(keys)}
    return {(row[0], row[1]) for row in sql.rows(session, _OF_OTHERS, values)}


TABLE, COLUMNS = "billing.keys", "key, content, entry_id"
#: Frees uuids that only another account's reversal has marked; values: `keys`.
_FREE = "DELETE FROM billing.keys WHERE key = ANY(%(keys)s::uuid[]) AND content = 0"


def free(session: Session, uuids: Iterable[str]) -> None:
    """Remove the marks of other accounts' reversals, right before these uuids are claimed."""
    session.connection().exec_driver_sql(_FREE, {"keys": sql.texts(uuids)})


def copy_lines(new: Mapping[str, KnownKey]) -> list[str]:
    """The lines of COPY that make these uuids stand for this, for ever."""
    return [f"{key}\x1f{content}\x1f{entry_id}\n" for key, (content, entry_id) in new.items()]
