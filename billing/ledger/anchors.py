"""The anchors of the hash chains: how far each account's entries were verified, and their head.

They stand apart from the ledger, and the main app's role can't write them. An audit goes on from
them. A total over all anchors, with a hash of its own, shows an anchor that was removed or changed.
"""

import datetime as dt
import hashlib
import hmac
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from billing.context import Context
from billing.ledger import entry_rows
from billing.postgres import sql

#: Days without an entry of the older hash version after which none is accepted any more.
OLD_ENDS_AFTER = dt.timedelta(days=1)
_MODULUS = 2**256
_LINE = "anchor of the billing ledger\n"


class Anchor(NamedTuple):
    """The head of an account's hash chain when it was last verified."""

    account_id: int
    entries: int
    entry_id: int
    last_hash: bytes
    balance: int


class Total(NamedTuple):
    """The sum of all anchors.

    Attributes:
        accounts: The number of anchors.
        digest: The sum of their hashes, modulo 2**256.
        old_id: The last entry seen with a hash of version 1.
        old_seen_at: When an entry with such a hash was last seen, or the first audit's time.
        old_ended_at: The time since when none is accepted after `old_id`; None while they are.
        full_after: The account up to which the running full audit has come; None if none runs.
        full_began_at: When the running, or the last, full audit began.
        full_at: When the last full audit ended.
    """

    accounts: int
    digest: bytes
    old_id: int
    old_seen_at: dt.datetime
    old_ended_at: dt.datetime | None
    full_after: int | None
    full_began_at: dt.datetime | None
    full_at: dt.datetime | None

    @property
    def old_until(self) -> int | None:
        """The last entry that may have a hash of version 1; None while there is no end."""
        return None if self.old_ended_at is None else self.old_id


#: Before the first audit there is no row to lock.
_LOCK = "SELECT pg_advisory_xact_lock(hashtext('billing.chain_total'))"
_TOTAL = """
SELECT accounts, digest, old_id, old_seen_at, old_ended_at, full_after, full_began_at, full_at, mac
FROM billing.chain_total FOR UPDATE
"""
_SET_TOTAL = """
INSERT INTO billing.chain_total
    (id, accounts, digest, old_id, old_seen_at, old_ended_at, full_after, full_began_at, full_at,
     mac)
VALUES (1, %(accounts)s, %(digest)s, %(old_id)s, %(old_seen_at)s, %(old_ended_at)s,
        %(full_after)s, %(full_began_at)s, %(full_at)s, %(mac)s)
ON CONFLICT (id) DO UPDATE
SET accounts = excluded.accounts, digest = excluded.digest, old_id = excluded.old_id,
    old_seen_at = excluded.old_seen_at, old_ended_at = excluded.old_ended_at,
    full_after = excluded.full_after, full_began_at = excluded.full_began_at,
    full_at = excluded.full_at, mac = excluded.mac
"""
_READ = """
SELECT account_id, entries, entry_id, last_hash, balance, mac FROM billing.chain_anchors
WHERE account_id = ANY(%(ids)s::bigint[])
"""
_SET = """
INSERT INTO billing.chain_anchors AS a
    (account_id, entries, entry_id, last_hash, balance, mac, anchored_at)
SELECT *, %(now)s FROM unnest(%(account_id)s::bigint[], %(entries)s::bigint[],
    %(entry_id)s::bigint[], %(last_hash)s::bytea[], %(balance)s::bigint[], %(mac)s::bytea[])
ON CONFLICT (account_id) DO UPDATE
SET entries = excluded.entries, entry_id = excluded.entry_id, last_hash = excluded.last_hash,
    balance = excluded.balance, mac = excluded.mac, anchored_at = excluded.anchored_at
"""


def locked_total(ctx: Context) -> tuple[Total, bytes | None]:
    """Lock the total, and return it with its hash; an empty one without a hash if there is none."""
    _, rows = sql.rows_of_each(ctx.session, [(_LOCK, {}), (_TOTAL, {})])
    if not rows:
        return Total(0, bytes(32), 0, ctx.now, None, None, None, None), None
    accounts, digest, *rest, mac = rows[0]
    return Total(accounts, bytes(digest), *rest), bytes(mac)


def set_total(ctx: Context, total: Total, before: tuple[Total, bytes | None]) -> None:
    """Write the total with its hash.

    A total that was changed by another hand keeps the hash that does not fit it, so that its
    finding stays. `before`: as `locked_total` gave it.
    """
    old, mac = before
    if mac is None or mac == total_mac(ctx.ledger_key, old):
        mac = total_mac(ctx.ledger_key, total)
    ctx.session.connection().exec_driver_sql(_SET_TOTAL, {**total._asdict(), "mac": mac})


def put(ctx: Context, new: Sequence[Anchor], *, old_id: int = 0) -> None:
    """Write these anchors; `old_id`: the last entry seen with a hash of version 1.

    An anchor that another audit has moved further stays, and so does one that was changed by
    another hand.
    """
    locked = locked_total(ctx)
    total, _ = locked
    ids = {"ids": sql.numbers([anchor.account_id for anchor in new])}
    before = {row[0]: row for row in sql.rows(ctx.session, _READ, ids)}
    new = [anchor for anchor in new if _moves(ctx, before.get(anchor.account_id), anchor)]
    macs = [anchor_mac(ctx.ledger_key, anchor) for anchor in new]
    gone = [bytes(before[a.account_id][5]) for a in new if a.account_id in before]
    columns = list(zip(*new, strict=True)) or [()] * 5
    values = {
        "account_id": sql.numbers(columns[0]),
        "entries": sql.numbers(columns[1]),
        "entry_id": sql.numbers(columns[2]),
        "last_hash": sql.binaries(columns[3]),
        "balance": sql.numbers(columns[4]),
        "mac": sql.binaries(macs),
        "now": ctx.now,
    }
    ctx.session.connection().exec_driver_sql(_SET, values)
    total = total._replace(
        accounts=total.accounts + len(new) - len(gone), digest=sum_of(total.digest, macs, gone)
    )
    if old_id > total.old_id and total.old_ended_at is None:
        total = total._replace(old_id=old_id, old_seen_at=ctx.now)
    set_total(ctx, total, locked)


def _moves(ctx: Context, row: sql.Row | None, anchor: Anchor) -> bool:
    return row is None or (row[1] <= anchor.entries and is_sound(ctx.ledger_key, row))


def is_sound(key: bytes | None, row: sql.Row) -> bool:
    """Whether the row of an anchor, with its hash, is as an audit wrote it."""
    return bytes(row[5]) == anchor_mac(key, as_anchor(row))


_UNPUBLISHED = """
SELECT account_id, entries, entry_id, last_hash, balance, anchored_at FROM billing.chain_anchors
WHERE entries > published_entries AND account_id > %(after)s ORDER BY account_id LIMIT %(count)s
"""
_PUBLISHED = """
UPDATE billing.chain_anchors AS a SET published_entries = new.entries
FROM unnest(%(ids)s::bigint[], %(entries)s::bigint[]) AS new (account_id, entries)
WHERE a.account_id = new.account_id
"""


def unpublished(ctx: Context, *, after: int, count: int) -> list[tuple[Anchor, dt.datetime]]:
    """Read the next anchors that were moved since they were last kept outside, with their time."""
    rows = sql.rows(ctx.session, _UNPUBLISHED, {"after": after, "count": count})
    return [(as_anchor(row), row[5]) for row in rows]


def as_anchor(row: sql.Row) -> Anchor:
    """The anchor of a row that begins with its columns."""
    account_id, entries, entry_id, last_hash, balance, *_ = row
    return Anchor(account_id, entries, entry_id, bytes(last_hash), balance)


def set_published(ctx: Context, published: Sequence[Anchor]) -> None:
    """Note that these anchors are kept outside."""
    ids, entries = [a.account_id for a in published], [a.entries for a in published]
    values = {"ids": sql.numbers(ids), "entries": sql.numbers(entries)}
    ctx.session.connection().exec_driver_sql(_PUBLISHED, values)


def newest(ctx: Context) -> dt.datetime | None:
    """Return the time at which the newest anchor was recorded."""
    when: dt.datetime | None = (
        ctx.session.connection()
        .exec_driver_sql("SELECT max(anchored_at) FROM billing.chain_anchors")
        .scalar()
    )
    return when


def end_old_version(ctx: Context) -> None:
    """Accept no hash of version 1 any more once no new entry has had one for a day."""
    total, mac = locked_total(ctx)
    if total.old_ended_at is None and ctx.now - total.old_seen_at >= OLD_ENDS_AFTER:
        set_total(ctx, total._replace(old_ended_at=ctx.now), (total, mac))


def forget(ctx: Context) -> None:
    """Delete all anchors, so that the next audit records them anew."""
    total, _ = locked_total(ctx)
    ctx.session.connection().exec_driver_sql("DELETE FROM billing.chain_anchors")
    set_total(ctx, total._replace(accounts=0, digest=bytes(32)), (total, None))


def set_full(
    ctx: Context, *, after: int | None, began_at: dt.datetime | None, ended_at: dt.datetime | None
) -> None:
    """Record how far the full audit has come, and since when; `after` None: it has ended."""
    total, mac = locked_total(ctx)
    full_at = ended_at or total.full_at
    now = total._replace(full_after=after, full_began_at=began_at, full_at=full_at)
    set_total(ctx, now, (total, mac))


def hash_at(account_id: int, opening_credits: int, chain: bytes | None) -> bytes:
    """The head of a chain whose last entry has this hash; an opening entry has none."""
    return entry_rows.opening_hash(account_id, opening_credits) if chain is None else bytes(chain)


def anchor_mac(key: bytes | None, anchor: Anchor) -> bytes:
    """The hash of an anchor."""
    a = anchor
    return _hash(key, f"{a.account_id},{a.entries},{a.entry_id},{a.balance},{a.last_hash.hex()}")


def total_mac(key: bytes | None, total: Total) -> bytes:
    """The hash of the total, over what an audit must be able to trust."""
    ended = total.old_ended_at is not None
    return _hash(key, f"{total.accounts},{total.digest.hex()},{total.old_id},{ended}")


def _hash(key: bytes | None, text: str) -> bytes:
    content = (_LINE + text).encode()
    return hmac.digest(key, content, "sha256") if key else hashlib.sha256(content).digest()


def sum_of(digest: bytes, added: Iterable[bytes], removed: Iterable[bytes]) -> bytes:
    """Add hashes to a digest of many, and take others away; their order does not count."""
    value = int.from_bytes(digest) + sum(map(int.from_bytes, added))
    return ((value - sum(map(int.from_bytes, removed))) % _MODULUS).to_bytes(32)
