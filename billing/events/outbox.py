"""What the main app should hear of: events left in the transaction that made them so.

Leave an account's event under its lock: so its ids rise in the order in which things happened.
"""

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from billing.context import Context
from billing.postgres import sql
from billing_client import events


class NewEvent(NamedTuple):
    """An event of `billing_client.events.CATALOGUE`, and what it carries."""

    type: str
    account_id: int | None
    payload: Mapping[str, object]


def leave(
    ctx: Context, event_type: str, *, account_id: int | None, payload: Mapping[str, object]
) -> None:
    """Leave an event, such as `account.suspended`; it goes out after the commit, at least once."""
    leave_all(ctx, [NewEvent(event_type, account_id, payload)])


_LEAVE = """
INSERT INTO billing.outbox (account_id, type, payload, happened_at, due_at)
SELECT new.account_id, new.type, new.payload, %(now)s, %(now)s
FROM unnest(%(accounts)s::bigint[], %(types)s::text[], %(payloads)s::jsonb[])
     WITH ORDINALITY AS new (account_id, type, payload, place) ORDER BY place
"""


def leave_all(ctx: Context, left: Iterable[NewEvent]) -> None:
    """Leave many events, in this order, in one statement."""
    rows = list(left)
    for row in rows:
        events.check(row.type, row.payload)
    if rows:
        ctx.session.connection().exec_driver_sql(
            _LEAVE,
            {
                "accounts": sql.numbers([row.account_id for row in rows]),
                "types": sql.texts([row.type for row in rows]),
                "payloads": sql.objects([row.payload for row in rows]),
                "now": ctx.now,
            },
        )
