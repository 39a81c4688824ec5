"""Debits of accounts without access: the work is done and paid for, and it is flagged.

The entry says why the account had no access. A row for each account, day and reason sums them up
for the audit and for support, and the first of a day leaves an event.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from sqlalchemy.orm import Session

from billing.context import Context
from billing.events import outbox
from billing.events.outbox import NewEvent
from billing.ledger.entry_rows import Entry
from billing.postgres import sql

#: The field of an entry's details that says why the account had no access. Senders may not use the
#: prefix in keys, and metadata of their own by this name is replaced.
FLAG = "billing:without_access"


class Taken(NamedTuple):
    """A debit without access."""

    account_id: int
    reason: str
    credits: int


class Sum(NamedTuple):
    """An account's debits without access, for one reason."""

    reason: str
    debits: int
    credits: int


def flagged(details: Mapping[str, object] | None, reason: str) -> Mapping[str, object]:
    """Return an entry's details with the reason why the account had no access."""
    return {**(details or {}), FLAG: reason}


def reason_of(entry: Entry) -> str | None:
    """Return why the account had no access at this debit; None if it had access."""
    reason = entry.details.get(FLAG) if isinstance(entry.details, Mapping) else None
    return None if reason is None else str(reason)


_RECORD = """
INSERT INTO billing.debits_without_access AS d
    (account_id, day, reason, debits, credits, first_at, last_at)
SELECT account_id, (%(now)s AT TIME ZONE 'UTC')::date, reason, count(*), sum(credits), %(now)s,
       %(now)s
FROM unnest(%(ids)s::bigint[], %(reasons)s::text[], %(credits)s::bigint[])
    AS new (account_id, reason, credits)
GROUP BY account_id, reason ORDER BY account_id, reason
ON CONFLICT (account_id, day, reason) DO UPDATE
   SET debits = d.debits + excluded.debits, credits = d.credits + excluded.credits,
       last_at = excluded.last_at
RETURNING account_id, reason, debits, credits, xmax = 0
"""


def record(ctx: Context, debits: Sequence[Taken]) -> None:
    """Add these debits to the sums of the day; a new sum leaves an event."""
    rows = sql.rows(
        ctx.session,
        _RECORD,
        {
            "ids": sql.numbers([debit.account_id for debit in debits]),
            "reasons": sql.texts([debit.reason for debit in debits]),
            "credits": sql.numbers([debit.credits for debit in debits]),
            "now": ctx.now,
        },
    )
    events = [
        NewEvent(
            "credits.taken_without_access",
            account_id,
            {"reason": reason, "debits": count, "credits": credits},
        )
        for account_id, reason, count, credits, is_new in rows
        if is_new
    ]
    outbox.leave_all(ctx, events)


_SUMS = """
SELECT reason, sum(debits)::bigint, sum(credits)::bigint FROM billing.debits_without_access
WHERE account_id = %(id)s GROUP BY reason ORDER BY reason
"""


def sums_of(session: Session, account_id: int) -> Iterable[Sum]:
    """Sum up an account's debits without access, by reason."""
    return [Sum._make(row) for row in sql.rows(session, _SUMS, {"id": account_id})]
