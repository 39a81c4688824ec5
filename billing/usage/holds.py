"""Holds: credits set aside for work under way, until it is captured, released or out of time.

A hold is placed by the SQL function `billing.place_hold`, which the main app calls on its own
connection and the worker's task calls too. It ends here.
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
from billing_client.messages import PlaceHold
from models.credits import Hold

#: Holds that one transaction lets expire.
EXPIRED_AT_ONCE = 500
#: How the operation of a hold begins that freezes disputed credits (`clawbacks`): no
#: capture or release of the app's ends it. The SQL function `billing.frozen` knows it too.
DISPUTE = "billing:dispute"


@dataclass(slots=True)
class OpenHold:
    """A hold while an act works on it. `parts`: [[lot id, credits], …] that it set aside."""

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
    """The answer to a hold: `outcome` held or refused, with the reason.

    `credits` it costs, `available` after it; both None or 0 where they are not known.
    """

    outcome: str
    credits: int | None
    available: int | None
    reason: str | None
    held_until: dt.datetime | None


def place(ctx: Context, message: PlaceHold) -> Placed:
    """Set credits aside; the same key gets the first answer. Raises nothing for what is asked."""
    renewals.renew_all(ctx, [message.account_id])
    row = ctx.session.connection().exec_driver_sql(
        "SELECT outcome, credits, available, reason, held_until FROM billing.place_hold("
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
    return Placed(*row.one())


#: Refusals that need no dead letter: `billing.place_hold` has recorded them, or the hold was placed
#: before and has ended since, as when its message comes twice.
ANSWERED = frozenset({"InsufficientCredits", "SpendCapReached", "HoldEnded"})


def error_of(placed: Placed, message: PlaceHold) -> Rejected | None:
    """The refusal that nobody has recorded, as the error it is; None if the hold is held."""
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
    """The holds with these keys, by uuid. Call it under their accounts' locks."""
    wanted = "{" + ",".join(uuids) + "}"
    if wanted == "{}":
        return {}
    rows = session.connection().exec_driver_sql(_LOAD, {"keys": wanted})
    return {row[0]: OpenHold(*row) for row in rows.all()}


def of(holds: dict[str, OpenHold], key: str, account_id: int) -> OpenHold:
    """The account's hold with this key. Raises UnknownHold."""
    hold = holds.get(idempotency.as_uuid(key))
    if hold is None or hold.account_id != account_id or hold.operation.startswith(DISPUTE):
        raise UnknownHold(hold=key, account_id=account_id)
    return hold


def end(ledger: Ledger, hold: OpenHold, *, state: str, spend: int = 0) -> list[object]:
    """Give back what the hold set aside, less `spend`; returns the [[lot id, -credits]] spent."""
    balance = ledger.by_account[hold.account_id]
    used = balance.end_hold(hold.parts, spend=spend)
    hold.state = state
    hold.has_changed = True
    return used


_WRITE = """
UPDATE billing.holds SET state = ended.state, finished_at = %(now)s
FROM unnest(%(keys)s::uuid[], %(states)s::text[]) AS ended (key, state)
WHERE holds.key = ended.key
"""


def write(ctx: Context, holds: Iterable[OpenHold]) -> None:
    """Write those that have ended."""
    ended = [hold for hold in holds if hold.has_changed]
    if ended:
        ctx.session.connection().exec_driver_sql(
            _WRITE,
            {
                "keys": "{" + ",".join([hold.key for hold in ended]) + "}",
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
    """Let up to `limit` holds expire whose time is over; twice or late changes nothing more."""
    found = ctx.session.connection().exec_driver_sql(_DUE, {"now": ctx.now, "limit": limit}).all()
    due: dict[int, list[str]] = {}
    for key, account_id in found:
        due.setdefault(account_id, []).append(key)
    # An account that somebody holds is left for the next sweep, and keeps up no other.
    mine = accounts.try_lock(ctx.session, due) if due else []
    if not mine:
        return []

    def expire(ctx: Context, ids: Sequence[int]) -> list[SweepResult]:
        return _expire(ctx, ids, [key for id in ids for key in due[id]])

    return all_or_each(ctx, mine, expire)


def _expire(ctx: Context, ids: Sequence[int], uuids: Sequence[str]) -> list[SweepResult]:
    ledger = open_accounts(ctx, ids, keys_asked=())
    expired: list[SweepResult] = []
    holds = load(ctx.session, uuids)
    for hold in holds.values():
        # Read again under the lock: it may have been captured or released meanwhile.
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
    """The account's holds under way, the oldest first, up to `count`."""
    rows = select(Hold).where(Hold.account_id == account_id, Hold.state == "held")
    return list(session.scalars(rows.order_by(Hold.placed_at).limit(count)))
