"""The bridge over a renewal: credits to spend until the new period's invoice is paid.

Stripe keeps a renewal's invoice a draft for about an hour after the period has moved, and for up to
72 hours where a webhook is not answered (docs.stripe.com/billing/subscriptions/webhooks). Until
then a paying customer would have no credits. A part of the new month comes ahead, once for each
period, as a lot of its own. The period's purchase turns that lot into its first: it gives only the
rest. If the payment fails, what is left of the bridge expires.
"""

import datetime as dt
from collections.abc import Collection, Iterable, Mapping
from typing import NamedTuple

from sqlalchemy.orm import Session

from billing.context import Context
from billing.errors import BalanceTooLarge
from billing.ledger import entry_rows, idempotency
from billing.ledger.balance import Balance
from billing.ledger.ledger import Ledger, open_accounts
from billing.ledger.lots import OpenLot
from billing.renewal import rollover

SOURCE = "bridge"


class NewPeriod(NamedTuple):
    """A period that has begun, and whose invoice is not known to be paid.

    Attributes:
        credits: The plan's, for the month.
        is_first: Whether it follows a trial, and so no purchase.
    """

    account_id: int
    starts_at: dt.datetime
    credits: int
    is_first: bool


def key_of(account_id: int, starts_at: dt.datetime) -> str:
    """The key of the bridge into the period that starts then."""
    return idempotency.own(SOURCE, account_id, int(starts_at.timestamp()))


# A purchase that ended within a day of the new period's start makes it a renewal; one that still
# runs means that it is paid.
_UNPAID = """
SELECT new.id FROM unnest(%(ids)s::bigint[], %(starts)s::timestamptz[], %(firsts)s::boolean[])
    AS new (id, starts_at, is_first)
WHERE NOT EXISTS (SELECT FROM billing.purchases AS p
                  WHERE p.account_id = new.id AND p.plan_id IS NOT NULL AND p.ends_at > %(now)s)
  AND (new.is_first OR EXISTS (
      SELECT FROM billing.purchases AS p
      WHERE p.account_id = new.id AND p.plan_id IS NOT NULL
        AND abs(extract(epoch FROM p.ends_at - new.starts_at)) <= 86400))
"""


def give(ctx: Context, periods: Iterable[NewPeriod]) -> None:
    """Give the bridge into each of these periods that is not paid yet; their accounts are locked.

    Does nothing for a period that had a bridge, or that began too long ago.
    """
    policy = ctx.policy
    recent = [
        period
        for period in periods
        if period.starts_at <= ctx.now < period.starts_at + policy.bridge
        and period.credits * policy.bridge_percent >= 100
    ]
    if not recent:
        return
    values = {
        "ids": [period.account_id for period in recent],
        "starts": [period.starts_at for period in recent],
        "firsts": [period.is_first for period in recent],
        "now": ctx.now,
    }
    rows = ctx.session.connection().exec_driver_sql(_UNPAID, values)
    unpaid = {row[0] for row in rows}
    waiting = [period for period in recent if period.account_id in unpaid]
    if waiting:
        _give(ctx, waiting)


def _give(ctx: Context, periods: Collection[NewPeriod]) -> None:
    keys = {period: key_of(period.account_id, period.starts_at) for period in periods}
    uuids = {period: idempotency.as_uuid(key) for period, key in keys.items()}
    ids = {period.account_id for period in periods}
    ledger = open_accounts(ctx, ids, key_uuids=uuids.values(), entries=len(keys), lots=len(keys))
    for period, key in keys.items():
        if uuids[period] in ledger.known_keys:
            continue
        balance = ledger.of(period.account_id)
        amount = period.credits * ctx.policy.bridge_percent // 100
        expires_at = period.starts_at + ctx.policy.bridge
        try:
            lots = ledger.give(balance, amount, source=SOURCE, key=key, expires_at=expires_at)
        except BalanceTooLarge:
            continue  # an account with so many credits needs none ahead
        ledger.post(
            balance,
            uuid=uuids[period],
            content=idempotency.digest(SOURCE, key),
            lots=lots,
            amount=amount,
            type="grant",
            description="bridge until the renewal is paid",
            key=key,
            actor="billing",
            happened_at=ctx.now,
        )
    ledger.write()


def end(ctx: Context, account_id: int) -> None:
    """Expire what is left of the account's bridge: the renewal was not paid."""
    if not _has_bridge(ctx.session, account_id):
        return
    ledger = open_accounts(ctx, [account_id], key_uuids=())
    balance = ledger.of(account_id)
    lots = [lot for lot in balance.lots if lot.source == SOURCE and lot.free]
    rollover.find_keys(ledger, lots)
    for lot in lots:
        rollover.expire(ledger, balance, lot, happened_at=ctx.now)
    ledger.write()


def _has_bridge(session: Session, account_id: int) -> bool:
    rows = session.connection().exec_driver_sql(
        "SELECT FROM billing.lots WHERE account_id = %(id)s AND is_open AND source = %(source)s",
        {"id": account_id, "source": SOURCE},
    )
    return rows.first() is not None


#: The entry of the bridge into the first month of a row of `purchases`, in SQL: see `key_of`.
ENTRY_OF_PURCHASE = """
(SELECT k.entry_id FROM billing.keys AS k
 WHERE purchases.plan_id IS NOT NULL
   AND k.key = billing.key_uuid('billing:bridge:' || purchases.account_id || ':'
                                || floor(extract(epoch FROM purchases.starts_at))::bigint))
"""
_LOTS = f"""
SELECT e.id, l.id FROM {entry_rows.TABLE} AS e
JOIN billing.lots AS l ON l.id = (e.lots_used -> 0 ->> 0)::bigint
WHERE e.id = ANY(%(ids)s::bigint[]) AND l.source = %(source)s
"""  # noqa: S608 - our own table's name


def lots_of(session: Session, entry_ids: Mapping[int, int]) -> dict[int, int]:
    """Read the lots of bridges that became no purchase's first lot yet.

    `entry_ids`: the bridges' entries, by the ids of the purchases that they lead to; so is the
    result. Of two purchases with one bridge the later takes it.
    """
    purchase_ids = {entry_id: purchase_id for purchase_id, entry_id in sorted(entry_ids.items())}
    values = {"ids": list(purchase_ids), "source": SOURCE}
    rows = session.connection().exec_driver_sql(_LOTS, values)
    return {purchase_ids[entry_id]: lot_id for entry_id, lot_id in rows}


_BECOME = """
UPDATE billing.lots SET source = %(source)s, key = %(key)s, expires_at = %(expires_at)s,
                        granted = GREATEST(%(granted)s, remaining)
WHERE id = %(id)s
"""
_GRANTED = "SELECT granted FROM billing.lots WHERE id = %(id)s"


def become_first_lot(
    ledger: Ledger,
    balance: Balance,
    lot_id: int,
    *,
    amount: int,
    source: str,
    key: str,
    expires_at: dt.datetime | None,
) -> tuple[int, list[object]]:
    """Turn a bridge into the first lot of its period's purchase, of `amount` credits in all.

    Returns:
        The credits that are still to be given, which the balance includes from now on, and their
        [[lot id, credits]].
    """
    ledger.open_lots(balance, [lot_id])
    lot = next(lot for lot in balance.lots if lot.id == lot_id)
    connection = ledger.ctx.session.connection()
    granted = connection.exec_driver_sql(_GRANTED, {"id": lot_id}).scalar_one()
    rest = max(amount - (granted - _expired(ledger, lot)), 0)
    ledger.check_fits(balance, rest)
    repaid = min(balance.debt, rest)
    balance.debt -= repaid
    balance.credits += rest
    lot.remaining += rest - repaid
    lot.expires_at, lot.source = expires_at, source
    lot.is_live = not lot.has_expired(ledger.ctx.now)
    values = {"source": source, "key": key, "expires_at": expires_at}
    connection.exec_driver_sql(_BECOME, {**values, "granted": amount, "id": lot_id})
    return rest, [[lot_id, rest - repaid]]


def _expired(ledger: Ledger, lot: OpenLot) -> int:
    """The credits of a lot that have expired."""
    rollover.find_keys(ledger, [lot])
    ids = []
    number = 1
    while known := ledger.known_keys.get(idempotency.as_uuid(rollover.key_of(lot.id, number))):
        ids += [known.entry_id] if known.entry_id else []
        number += 1
    if not ids:
        return 0
    entries = entry_rows.entries_by_id(ledger.ctx.session, ids)
    return -sum([entry.amount for entry in entries.values()])
