"""The history of status changes: a row and an event for each."""

from collections.abc import Iterable

from billing.context import Context
from billing.events import outbox
from billing.events.outbox import NewEvent
from billing.lifecycle import transitions
from billing.postgres import sql


def record(
    ctx: Context, statuses_before: Iterable[tuple[int, str]], *, to: str, reason: str
) -> None:
    """Record that these accounts, each with its status before, went to a status."""
    changed = list(statuses_before)
    sql.insert(
        ctx.session,
        "billing.status_changes",
        {"account_id": "bigint", "status_from": "text"},
        changed,
        constants={"status_to": to, "reason": reason, "actor": ctx.actor, "happened_at": ctx.now},
    )
    facts = {"status_to": to, "reason": reason, "actor": ctx.actor}
    events = [
        NewEvent(transitions.event_of(before, to), account_id, {"status_from": before, **facts})
        for account_id, before in changed
    ]
    outbox.leave_all(ctx, events)
