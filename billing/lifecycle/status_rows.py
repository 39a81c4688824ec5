"""The rows that changes of status write, in sets: suspensions, the history of steps, the events."""

from collections.abc import Iterable, Mapping, Sequence

from sqlalchemy import update
from sqlalchemy.orm import Session

from billing.context import Context
from billing.events import outbox
from billing.events.outbox import NewEvent
from billing.host.accounts import HostAccount
from billing.lifecycle import transitions
from billing.postgres import sql
from models.accounts import Suspension

_REASONS = """
SELECT account_id, reason, status_before FROM billing.suspensions
WHERE account_id = ANY(%(ids)s::bigint[]) AND lifted_at IS NULL ORDER BY id
"""


def reasons_of(session: Session, found: Sequence[HostAccount]) -> dict[int, dict[str, str]]:
    """The open reasons of these accounts, oldest first, each with the status before it."""
    asked = {"ids": sql.numbers([account.id for account in found])}
    stands: dict[int, dict[str, str]] = {}
    for account_id, reason, before in session.connection().exec_driver_sql(_REASONS, asked):
        stands.setdefault(account_id, {})[reason] = before
    return stands


_SUSPEND = """
INSERT INTO billing.suspensions (account_id, reason, actor, status_before, since)
SELECT new.account_id, %(reason)s, %(actor)s, new.before, %(now)s
FROM unnest(%(ids)s::bigint[], %(before)s::text[]) AS new (account_id, before)
"""


def insert_suspensions(ctx: Context, before: Mapping[int, str], *, reason: str) -> None:
    """Open the reason for these accounts; `before` is the status that each goes back to."""
    if before:
        ctx.session.connection().exec_driver_sql(
            _SUSPEND,
            {
                "ids": sql.numbers(before),
                "before": sql.texts(before.values()),
                "reason": reason,
                "actor": ctx.actor,
                "now": ctx.now,
            },
        )


def lift(ctx: Context, account_id: int, reasons: Iterable[str]) -> None:
    """Lift these reasons of an account, those of them that stand."""
    ctx.session.execute(
        update(Suspension)
        .where(
            Suspension.account_id == account_id,
            Suspension.reason.in_(list(reasons)),
            Suspension.lifted_at.is_(None),
        )
        .values(lifted_at=ctx.now, lifted_by=ctx.actor)
    )


def set_before(session: Session, account_id: int, before: str) -> None:
    """Let the account go to this status when the last of its open reasons is lifted."""
    session.execute(
        update(Suspension)
        .where(Suspension.account_id == account_id, Suspension.lifted_at.is_(None))
        .values(status_before=before)
    )


_REMEMBER = """
INSERT INTO billing.status_changes
    (account_id, status_from, status_to, reason, actor, happened_at)
SELECT new.account_id, new.status_from, %(to)s, %(reason)s, %(actor)s, %(now)s
FROM unnest(%(ids)s::bigint[], %(froms)s::text[]) AS new (account_id, status_from)
"""


def remember(ctx: Context, moved: Sequence[HostAccount], *, to: str, reason: str) -> None:
    """Write these steps into the history, and leave an event of each."""
    if not moved:
        return
    ctx.session.connection().exec_driver_sql(
        _REMEMBER,
        {
            "ids": sql.numbers([account.id for account in moved]),
            "froms": sql.texts([account.status for account in moved]),
            "to": to,
            "reason": reason,
            "actor": ctx.actor,
            "now": ctx.now,
        },
    )
    left = [
        NewEvent(
            transitions.TABLE[account.status, to].event,
            account.id,
            {"status_from": account.status, "status_to": to, "reason": reason, "actor": ctx.actor},
        )
        for account in moved
    ]
    outbox.leave_all(ctx, left)
