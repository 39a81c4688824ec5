"""Holds: credits reserved for work under way, until the hold is captured, released or expires.

The SQL function `billing.place_hold` places a hold; the main app calls it on its own connection.
The worker's task calls the function behind it, which takes the time. This module ends holds.
"""

import datetime as dt
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.orm import Session

from billing import errors
from billing.context import Context
from billing.errors import Rejected, UnknownHold
from billing.host import accounts
from billing.ledger import idempotency
from billing.ledger.ledger import Ledger, open_accounts
from billing.postgres import sql
from billing.renewal import renewals
from billing.sweep import SweepResult, all_or_each
from billing_client.inbox import NO_ACCESS
from billing_client.messages import PlaceHold
from models.credits import Hold

#: The most holds that expire in one transaction.
EXPIRED_AT_ONCE = 500
#: The operation's prefix of a hold that freezes disputed credits (`clawbacks`). The app can't
#: capture or release such a hold. The SQL function `billing.frozen` uses the same prefix.
DISPUTE = "billing:dispute"


@dataclass(slots=True)
class OpenHold:
    """A hold in memory, while an act works on it.

    `parts` are the reserved [lot id, credits] pairs.
    """

    key: str
    key_text: str
    account_id: int
    operation: str
    units: int
    credits: int
    parts: list[list[int]]
    state: str
    placed_at: dt.datetime
    expires_at: dt.datetime
    has_changed: bool = False


@dataclass(frozen=True, slots=True)
class Placed:
    """The answer of `billing.place_hold`.

    Attributes:
        outcome: `held` or `refused`.
        credits: The credits that it reserves; None or 0 if that is unknown.
        available: The credits that remain available; None or 0 if that is unknown.
        reason: The name of the refusal.
        held_until: When the hold expires.
    """

    outcome: str
    credits: int | None
    available: int | None
    reason: str | None
    held_until: dt.datetime | None


def place(ctx: Context, message: PlaceHold) -> Placed:
    """Place a hold; the same key gets the first answer again. A refusal is an answer, no error."""
    renewals.renew_all(ctx, [message.account_id])
    rows = sql.rows(
        ctx.session,
        "SELECT outcome, credits, available, reason, held_until FROM billing.place_hold_at("
        "%(account_id)s, %(operation)s, %(units)s, %(key)s, %(ttl_s)s, %(now)s)",
        {
            "account_id": message.account_id,
            "operation": message.operation,
            "units": message.units,
            "key": message.key,
            "ttl_s": message.ttl_s,
            "now": ctx.now,
        },
    )
    return Placed(*rows[0])


#: Refusals without a dead letter: `billing.place_hold` has recorded them, the message came twice
#: and the hold has ended, or the account has no access.
ANSWERED = NO_ACCESS - {"AccountDeleted"} | {"InsufficientCredits", "SpendCapReached", "HoldEnded"}


def error_of(placed: Placed, message: PlaceHold) -> Rejected | None:
    """Return a refusal that is not recorded, as an error; None if the hold is placed."""
    if placed.reason is None or placed.reason in ANSWERED:
        return None
    kind: type[Rejected] = getattr(errors, placed.reason, Rejected)
    return kind(hold=message.key, account_id=message.account_id)


_LOAD = """
SELECT key::text, key_text, account_id, operation, units, credits, lots, state, placed_at,
       expires_at
FROM billing.holds WHERE key = ANY(%(keys)s::uuid[])
"""


def load(session: Session, uuids: Iterable[str]) -> dict[str, OpenHold]:
    """Read the holds with these keys, by uuid. Call it under their accounts' locks."""
    rows = sql.rows(session, _LOAD, {"keys": sql.texts(uuids)})
    return {row[0]: OpenHold(*row) for row in rows}


def of(holds: dict[str, OpenHold], key: str, account_id: int) -> OpenHold:
    """Return the account's hold with this key. Raises UnknownHold."""
    hold = find(holds, key, account_id)
    if hold is None or hold.operation.startswith(DISPUTE):
        raise UnknownHold(hold=key, account_id=account_id)
    return hold


def find(holds: dict[str, OpenHold], key: str, account_id: int) -> OpenHold | None:
    """Find the account's hold with this key; another account may have one of the same text."""
    for uuid in (idempotency.as_uuid(key), idempotency.own_uuid(account_id, key)):
        hold = holds.get(uuid)
        if hold is not None and hold.account_id == account_id:
            return hold
    return None


def end(ledger: Ledger, hold: OpenHold, *, state: str, spend: int = 0) -> list[object]:
    """End a hold and spend up to `spend` of it; return the spent [lot id, -credits] pairs."""
    balance = ledger.by_account[hold.account_id]
    spent = balance.end_hold(hold.parts, spend=spend)
    hold.state = state
    hold.has_changed = True
    return spent


_WRITE = """
UPDATE billing.holds SET state = ended.state, finished_at = %(now)s
FROM unnest(%(keys)s::uuid[], %(states)s::text[]) AS ended (key, state)
WHERE holds.key = ended.key
"""


def write(ctx: Context, holds: Iterable[OpenHold]) -> None:
    """Write the holds that have ended."""
    ended = [hold for hold in holds if hold.has_changed]
    if ended:
        ctx.session.connection().exec_driver_sql(
            _WRITE,
            {
                "keys": sql.texts([hold.key for hold in ended]),
                "states": sql.texts([hold.state for hold in ended]),
                "now": ctx.now,
            },
        )


_DUE = """
SELECT h.key::text, h.account_id FROM billing.holds AS h
JOIN igny8_tenants AS a ON a.id = h.account_id
WHERE h.state = 'held' AND h.expires_at <= %(now)s ORDER BY h.expires_at LIMIT %(limit)s
"""


def sweep(ctx: Context, *, limit: int = EXPIRED_AT_ONCE) -> list[SweepResult]:
    """Expire up to `limit` holds that are due. Safe to repeat."""
    due: dict[int, list[str]] = {}
    for key, account_id in sql.rows(ctx.session, _DUE, {"now": ctx.now, "limit": limit}):
        due.setdefault(account_id, []).append(key)
    # A locked account is left to the next sweep and delays no other.
    locked_ids = accounts.try_lock(ctx.session, due) if due else []
    if not locked_ids:
        return []

    def expire(ctx: Context, ids: Sequence[int]) -> list[SweepResult]:
        return _expire(ctx, ids, [key for id in ids for key in due[id]])

    return all_or_each(ctx, locked_ids, expire)


def _expire(ctx: Context, ids: Sequence[int], uuids: Sequence[str]) -> list[SweepResult]:
    ledger = open_accounts(ctx, ids, key_uuids=())
    expired: list[SweepResult] = []
    holds = load(ctx.session, uuids)
    for hold in holds.values():
        # Read again under the lock: the hold may have been captured or released meanwhile.
        if (
            hold.state == "held"
            and hold.expires_at <= ctx.now
            and hold.account_id in ledger.by_account
        ):
            end(ledger, hold, state="expired")
            expired.append(SweepResult(hold.account_id, "hold expired", hold.expires_at))
    ledger.write()
    write(ctx, holds.values())
    return expired


def open_of(session: Session, account_id: int, *, count: int) -> list[Hold]:
    """Return up to `count` open holds of the account, oldest first."""
    rows = select(Hold).where(Hold.account_id == account_id, Hold.state == "held")
    return list(session.scalars(rows.order_by(Hold.placed_at).limit(count)))
