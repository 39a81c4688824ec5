"""The outbox: events for the main app, written in the transaction of the change they report.

Leave an account's events under its lock, so that their ids rise in the order of the changes.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from billing.context import Context
from billing.postgres import sql
from billing_client import events


class NewEvent(NamedTuple):
    """An event of a type in `billing_client.events.CATALOGUE`, with its data."""

    type: str
    account_id: int | None
    payload: Mapping[str, object]


def leave(
    ctx: Context, event_type: str, *, account_id: int | None, payload: Mapping[str, object]
) -> None:
    """Leave an event, such as `account.suspended`; it is delivered after the commit."""
    leave_all(ctx, [NewEvent(event_type, account_id, payload)])


def leave_all(ctx: Context, new_events: Sequence[NewEvent]) -> None:
    """Leave events, in this order, in one statement."""
    for event in new_events:
        events.check(event.type, event.payload)
    sql.insert(
        ctx.session,
        "billing.outbox",
        {"type": "text", "account_id": "bigint", "payload": "jsonb"},
        new_events,
        constants={"happened_at": ctx.now, "due_at": ctx.now},
    )
