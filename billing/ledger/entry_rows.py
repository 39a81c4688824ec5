"""The entries of the ledger, in the main app's table of credit transactions, and their hash chain.

Append-only, held by a trigger: a wrong entry is corrected by another that names it. Each entry has
a hash that covers the hash before it, so that a change to any entry breaks all later hashes. With a
secret key (BILLING_LEDGER_KEY) the hashes are HMACs, which SQL access alone cannot forge; without
one they still reveal a careless change. An account's opening entry has no hash: the first hash
covers the opening balance itself.
"""

import datetime as dt
import hashlib
import hmac
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from functools import lru_cache
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from billing.postgres import sql
from models.host import CreditTransaction


@dataclass(slots=True)
class Entry:
    """An entry of the ledger: `amount` in signed credits, `lots` as [[lot id, credits], …]."""

    id: int
    account_id: int
    type: str
    amount: int
    balance_after: int
    description: str
    key: str
    actor: str
    happened_at: dt.datetime
    recorded_at: dt.datetime
    reference: str | None = None
    units: int | None = None
    lots: Sequence[object] | None = None
    details: Mapping[str, object] | None = None
    entry_hash: bytes | None = None


#: Reserves ids for new entries, ascending; values: `count`.
NEXT_IDS = """
SELECT array_agg(nextval((SELECT pg_get_serial_sequence('igny8_credit_transactions', 'id')
                          ::regclass)))
FROM generate_series(1, %(count)s)
"""
TABLE = "igny8_credit_transactions"
#: In the order of `hashed_text`, then the two that it does not contain.
COLUMNS = (
    "id, tenant_id, type, amount, balance_after, description, idempotency_key, actor, reference,"
    " units, happened_at, created_at, lots_used, metadata, chain"
)
#: The first byte of an entry hash. Older entries have 32 bytes without it: see `old_hashes`.
VERSION = b"\x02"
#: Hashed first, so that no hash of this version is one of the older version over other bytes.
_DOMAIN = b"entry of the billing ledger, version 2\n"
#: Values that json.dumps writes as Postgres does.
_SIMPLE = frozenset((str, int, bool, type(None)))
#: Columns in `hashed_text`, less one.
_SEPARATORS = 12


def next_ids(session: Session, count: int) -> list[int]:
    """Reserve ids for `count` new entries, ascending."""
    ((ids,),) = sql.rows(session, NEXT_IDS, {"count": count})
    return list(ids or ())


def hashed_text(e: Entry) -> str:
    """The text of an entry that its hash covers, without its details; it must never change."""
    # One f-string, for it runs for every debit. The lots are lists of integers, whose repr does
    # not depend on where they came from.
    return (
        f"{e.id}\x1f{e.account_id}\x1f{e.type}\x1f{e.amount}\x1f{e.balance_after}\x1f"
        f"{e.description}\x1f{e.key}\x1f{e.actor}\x1f{e.reference}\x1f{e.units}\x1f"
        f"{_iso(e.happened_at)}\x1f{_iso(e.recorded_at)}\x1f{e.lots}"
    )


@lru_cache(maxsize=256)
def _iso(time: dt.datetime) -> str:
    """ISO 8601; the entries of a batch share a few times, and formatting one is slow."""
    return time.isoformat()


def opening_hash(account_id: int, opening_credits: int) -> bytes:
    """The bytes that an account's first hash covers in place of the hash before it."""
    return f"{account_id}\x1f{opening_credits}".encode()


def entry_hash(key: bytes | None, previous: bytes, e: Entry, text: str) -> bytes:
    """Return the version and 32 bytes over the previous hash and the entry.

    `text` is the entry's `hashed_text`. Entries that differ are hashed as different bytes
    (decision 0035).
    """
    digest = _begun(key).copy()
    digest.update(hashed_bytes(previous, e, text))
    made: bytes = digest.digest()
    return VERSION + made


def hashed_bytes(previous: bytes, e: Entry, text: str) -> bytes:
    """The bytes of an entry: lengths, `text`, the details as JSON, and the hash before it."""
    reference = "-" if e.reference is None else len(e.reference)
    details = "None" if e.details is None else details_text(e.details)
    return (
        f"{len(previous)},{len(e.type)},{len(e.description)},{len(e.key)},{len(e.actor)},"
        f"{reference}\x1f{text}\x1f{details}"
    ).encode() + previous


@lru_cache(maxsize=4)
def _begun(key: bytes | None) -> Any:
    """A hash that has begun, to be copied; setting an HMAC up takes as long as a hash."""
    if key is None:
        return hashlib.sha256(_DOMAIN)
    return hmac.new(key, _DOMAIN, "sha256")


def details_text(details: Mapping[str, object]) -> str:
    """JSON with sorted keys and with its numbers as Postgres writes them, their scale included."""
    for value in details.values():
        if type(value) not in _SIMPLE:
            return _json(details)
    return json.dumps(details, sort_keys=True, separators=(",", ":"))


def _json(value: object) -> str:
    match value:
        case float() | Decimal():
            text = str(value)
            if value and "e" not in text.lower():
                return text
            # Postgres knows neither an exponent nor -0.
            number = f"{Decimal(text):f}"
            return number if value else number.removeprefix("-")
        case Mapping():
            parts = [f"{json.dumps(name)}:{_json(value[name])}" for name in sorted(value)]
            return f"{{{','.join(parts)}}}"
        case list() | tuple():
            return f"[{','.join([_json(item) for item in value])}]"
    return json.dumps(value)


def copy_line(e: Entry, text: str) -> str:
    """The line of COPY for an entry; `text` is its `hashed_text`."""
    if (
        text.count(sql.SEPARATOR) != _SEPARATORS
        or "\\" in text
        or "\n" in text
        or "\r" in text
        or sql.NULL in (e.description, e.key, e.actor, e.reference)
    ):
        text = hashed_text(
            replace(
                e,
                description=sql.copy_text(e.description),
                key=sql.copy_text(e.key),
                actor=sql.copy_text(e.actor),
                reference=sql.copy_text(e.reference),
            )
        )
    details = e.details if e.details is None else sql.copy_text(json.dumps(e.details))
    hash_hex = e.entry_hash if e.entry_hash is None else f"\\\\x{e.entry_hash.hex()}"
    return f"{text}\x1f{details}\x1f{hash_hex}\n"


def entries_by_id(session: Session, ids: Iterable[int]) -> dict[int, Entry]:
    """These entries, by id."""
    rows = select(CreditTransaction).where(CreditTransaction.id.in_(list(ids)))
    return {row.id: _entry(row) for row in session.scalars(rows)}


_EXPIRED = """
SELECT COALESCE(-sum((part ->> 1)::bigint), 0)
FROM igny8_credit_transactions, jsonb_array_elements(lots_used) AS part
WHERE tenant_id = %(account_id)s AND type = 'expiry' AND idempotency_key IS NOT NULL
  AND (part ->> 0)::bigint = ANY(%(lot_ids)s::bigint[])
"""


def expired_of(session: Session, account_id: int, lot_ids: Iterable[int]) -> int:
    """The credits of these lots that expired unspent."""
    values = {"account_id": account_id, "lot_ids": sql.numbers(lot_ids)}
    return int(sql.rows(session, _EXPIRED, values)[0][0])


def _entry(row: CreditTransaction) -> Entry:
    return Entry(
        id=row.id,
        account_id=row.account_id,
        type=row.type,
        amount=row.amount,
        balance_after=row.balance_after,
        description=row.description,
        key=row.key or "",
        actor=row.actor or "",
        happened_at=row.happened_at or row.created_at,
        recorded_at=row.created_at,
        reference=row.reference,
        units=row.units,
        lots=row.lots,
        details=row.details,
        entry_hash=row.chain,
    )
