"""Rollover and expiry: the two ways in which credits leave a lot whose time is over.

expiry      takes out what no hold has set aside; a hold that ends later leaves more to expire
rollover    moves credits from the lots of one period into a lot of the next: an entry of 0
"""

import datetime as dt
from collections.abc import Iterable, Sequence
from functools import lru_cache

from sqlalchemy.orm import Session

from billing.ledger import idempotency
from billing.ledger.balance import Balance
from billing.ledger.balance_rows import NewLot
from billing.ledger.entry_rows import Entry
from billing.ledger.ledger import Ledger
from billing.ledger.lots import OF_A_PERIOD, SOURCES, OpenLot

#: Keys of a lot that are looked up together, after its first: it expires again for each late hold.
LOOKED_UP_AT_ONCE = 4
#: Keys that a process remembers: those of a large batch, between their look-up and the expiry.
_REMEMBERED = 4096


@lru_cache(maxsize=_REMEMBERED)
def key_of(lot_id: int, number: int) -> str:
    """Return the key of a lot's first, second, … expiry."""
    return idempotency.own("expiry", lot_id, *([number] if number > 1 else []))


@lru_cache(maxsize=_REMEMBERED)
def _uuid_of(lot_id: int, number: int) -> str:
    return idempotency.as_uuid(key_of(lot_id, number))


def find_keys(ledger: Ledger, lots: Iterable[OpenLot]) -> None:
    """Look up the earlier expiries of these lots, so that each new expiry has a key of its own."""
    pending = [lot.id for lot in lots]
    first, count = 1, 1  # nearly every lot expires once
    while pending:
        keys = {lot_id: [_uuid_of(lot_id, first + n) for n in range(count)] for lot_id in pending}
        used = idempotency.lookup(
            ledger.ctx.session, [uuid for uuids in keys.values() for uuid in uuids]
        )
        ledger.known_keys.update(used)
        pending = [lot_id for lot_id, uuids in keys.items() if used.keys() >= set(uuids)]
        first, count = first + count, LOOKED_UP_AT_ONCE


def expired_before(session: Session, lot_ids: Iterable[int]) -> set[int]:
    """Return those of these lots that have expired once, whatever came back to them since."""
    uuids = {_uuid_of(lot_id, 1): lot_id for lot_id in lot_ids}
    return {uuids[uuid] for uuid in idempotency.lookup(session, list(uuids))} if uuids else set()


def expired(ledger: Ledger) -> list[tuple[Balance, OpenLot]]:
    """List the open lots that are over and have credits to expire, the earliest first."""
    lots = [
        (balance, lot)
        for balance in ledger.by_account.values()
        for lot in balance.lots
        if lot.free and lot.has_expired(ledger.ctx.now)
    ]
    return sorted(lots, key=lambda pair: (pair[1].expires_at or ledger.ctx.now, pair[1].id))


def expire(ledger: Ledger, balance: Balance, lot: OpenLot, *, happened_at: dt.datetime) -> Entry:
    """Expire the lot's credits that no hold has. Call `find_keys` before."""
    number = 1
    while _uuid_of(lot.id, number) in ledger.known_keys:
        number += 1
    amount = lot.free
    assert amount > 0, "a lot without free credits has nothing to expire"
    lot.remaining -= amount
    balance.credits -= amount
    return ledger.post(
        balance,
        content=idempotency.digest("expiry", lot.id, number),
        amount=-amount,
        type="expiry",
        description=f"{lot.source} expired",
        key=key_of(lot.id, number),
        actor="billing",
        happened_at=happened_at if number == 1 else ledger.ctx.now,
        lots=[[lot.id, -amount]],
    )


def close_period(
    ledger: Ledger,
    balance: Balance,
    *,
    ends_at: dt.datetime,
    cap: int,
    until: dt.datetime,
    number: int,
) -> tuple[int, int]:
    """End the lots of the period that ends at `ends_at`; returns credits (expired, carried).

    Up to `cap` of the credits that are left roll over into period `number`, which ends at `until`;
    the rest expires. Held credits stay in their lot, and expire when their hold gives them back.
    """
    lots = [
        lot
        for lot in balance.lots
        if lot.source in OF_A_PERIOD and lot.expires_at == ends_at and lot.free
    ]
    key = idempotency.own("rollover", balance.account.id, number)
    if idempotency.as_uuid(key) in ledger.known_keys:
        cap = 0
    carried = _take(lots, cap)
    lost = [expire(ledger, balance, lot, happened_at=ends_at).amount for lot in lots if lot.free]
    if carried:
        _carry(ledger, balance, carried, key=key, happened_at=ends_at, until=until)
    return -sum(lost), -sum([credits for _, credits in carried])


def _take(lots: Sequence[OpenLot], cap: int) -> list[list[int]]:
    """Take up to `cap` credits out of these lots; returns [[lot id, -credits]]."""
    taken: list[list[int]] = []
    for lot in lots:
        credits = min(lot.free, cap)
        if credits:
            lot.remaining -= credits
            cap -= credits
            taken.append([lot.id, -credits])
    return taken


def _carry(
    ledger: Ledger,
    balance: Balance,
    taken: list[list[int]],
    *,
    key: str,
    happened_at: dt.datetime,
    until: dt.datetime,
) -> None:
    """Put the credits that were taken into a lot of the next period, after repaying debt."""
    credits = -sum([part for _, part in taken])
    repaid = min(balance.debt, credits)
    balance.debt -= repaid
    lot = NewLot(
        account_id=balance.account.id,
        source="rollover",
        priority=SOURCES["rollover"].priority,
        is_promotional=SOURCES["rollover"].is_promotional,
        granted=credits,
        remaining=credits - repaid,
        starts_at=None,
        expires_at=until,
        key=key,
    )
    opened = ledger.add_lot(balance, lot)
    ledger.post(
        balance,
        content=idempotency.digest("rollover", key),
        amount=0,
        type="rollover",
        description=f"{credits} rolled over",
        key=key,
        actor="billing",
        happened_at=happened_at,
        lots=[*taken, [opened.id, lot.remaining]],
    )
