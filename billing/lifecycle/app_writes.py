"""Statuses that the main app, or a person, writes itself: they get all the effects of a change.

A trigger on the main app's table notes each such write with the status before it, the last that we
know. A sweep applies them within a minute, and every change of ours applies them first. A tick
without writes reads an empty table, however many accounts there are.
"""

import datetime as dt
from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby
from typing import NamedTuple

from billing.context import Context
from billing.host import accounts
from billing.host.accounts import HostAccount
from billing.lifecycle import transitions
from billing.lifecycle.transitions import SET_BY_APP
from billing.postgres import sql
from billing.renewal import cycles
from billing.sweep import AT_ONCE, SweepResult, all_or_each

#: Statuses in which reasons for suspension may stay open.
KEEPS_REASONS = frozenset({"suspended", "cancelled"})
#: Statuses to which the end of a suspension may lead back.
RETURNS_TO = frozenset({"trial", "active", "pending_payment"})

# A deleted account's writes wait until it is restored. The subquery reads one account by its key
# for each write, whatever the statistics of this table, which is nearly always empty.
_DUE = """
SELECT DISTINCT w.account_id FROM billing.status_writes AS w
WHERE (SELECT a.is_deleted FROM igny8_tenants AS a WHERE a.id = w.account_id) IS NOT TRUE
ORDER BY w.account_id LIMIT %(limit)s
"""


def sweep(ctx: Context, *, limit: int = AT_ONCE) -> list[SweepResult]:
    """Apply the writes of up to `limit` accounts; empty when none is left that is not locked."""

    def propose(limit: int) -> list[int]:
        return [row[0] for row in sql.rows(ctx.session, _DUE, {"limit": limit})]

    ids = accounts.lock_due(ctx.session, propose(limit), propose, limit=limit)
    return all_or_each(ctx, ids, _follow_all) if ids else []


def _follow_all(ctx: Context, ids: Sequence[int]) -> list[SweepResult]:
    locked = accounts.lock(ctx.session, ids)
    follow(ctx, [account for account in locked.values() if account.is_billable])
    _take(ctx, ids)  # what is left is of system accounts, and of accounts that are gone
    return [SweepResult(account_id, "status_followed", ctx.now) for account_id in ids]


def follow(ctx: Context, locked: Iterable[HostAccount]) -> None:
    """Apply the statuses that the main app wrote for these accounts, if it wrote any.

    Call it under their locks, before another change.
    """
    account_by_id = {account.id: account for account in locked}
    writes = _take(ctx, account_by_id)
    changed = [
        account
        for id, account in account_by_id.items()
        if id in writes and account.status != writes[id].status_before
    ]
    changed.sort(key=lambda account: (account.status, account.id))
    for status, moved in groupby(changed, key=lambda account: account.status):
        _apply(ctx.by("main_app"), {account.id: writes[account.id] for account in moved}, to=status)


class Write(NamedTuple):
    """A status that the main app wrote: the last known status before it, and when it was written.

    Of several writes, the first.
    """

    status_before: str
    written_at: dt.datetime


_TAKE = """
WITH taken AS (
    DELETE FROM billing.status_writes WHERE account_id = ANY(%(ids)s::bigint[])
    RETURNING id, account_id, status_before, written_at
)
SELECT DISTINCT ON (account_id) account_id, status_before, written_at
FROM taken ORDER BY account_id, id
"""


def _take(ctx: Context, account_ids: Iterable[int]) -> dict[int, Write]:
    """Remove the writes of these accounts, and return them."""
    rows = sql.rows(ctx.session, _TAKE, {"ids": sql.numbers(account_ids)})
    return {row[0]: Write(row[1], row[2]) for row in rows}


def _apply(ctx: Context, writes: Mapping[int, Write], *, to: str) -> None:
    """Apply the effects of a status that the main app wrote, and record the change."""
    before = {account_id: write.status_before for account_id, write in writes.items()}
    left_active = {id: write.written_at for id, write in writes.items() if before[id] == "active"}
    if left_active:
        _leave_active(ctx, left_active, to=to)
    came_from = dict(before)
    if to == "suspended":
        _suspend(ctx, before)
    elif to not in KEEPS_REASONS:
        came_from |= _lift(ctx, before)
    transitions.apply(ctx, came_from, to=to)
    transitions.record(ctx, sorted(before.items()), to=to, reason=SET_BY_APP)


def _leave_active(ctx: Context, written_at: Mapping[int, dt.datetime], *, to: str) -> None:
    """End the credit cycles, after the renewals that were due when the status was written.

    Only active accounts are renewed, so they are active again meanwhile, in this transaction.
    """
    accounts.set_status(ctx.session, list(written_at), "active")
    for account_id, at in written_at.items():
        cycles.end(ctx.at(min(at, ctx.now)), account_id)
    accounts.set_status(ctx.session, list(written_at), to)


def _suspend(ctx: Context, before: Mapping[int, str]) -> None:
    """Record the suspension as one by hand, so that no payment and no sweep lifts it."""
    statuses = {id: status if status in RETURNS_TO else "active" for id, status in before.items()}
    sql.insert(
        ctx.session,
        "billing.suspensions",
        {"account_id": "bigint", "status_before": "text"},
        list(statuses.items()),
        constants={"reason": "manual", "actor": ctx.actor, "since": ctx.now},
        tail="ON CONFLICT DO NOTHING",
    )


_LIFT = """
UPDATE billing.suspensions SET lifted_at = %(now)s, lifted_by = %(actor)s
WHERE account_id = ANY(%(ids)s::bigint[]) AND lifted_at IS NULL
RETURNING account_id, status_before
"""


def _lift(ctx: Context, before: Mapping[int, str]) -> dict[int, str]:
    """Lift every reason for suspension; return the statuses before the suspensions that end.

    Accounts that the main app had suspended before we noticed such writes were active before.
    """
    values = {"ids": sql.numbers(before), "now": ctx.now, "actor": ctx.actor}
    lifted = {row[0]: row[1] for row in sql.rows(ctx.session, _LIFT, values)}
    suspended = [id for id, status in before.items() if status == "suspended"]
    return {id: lifted.get(id, "active") for id in suspended}
