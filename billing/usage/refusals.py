"""Refusals: requests that were understood and refused, with the request and the reason."""

import datetime as dt
from collections.abc import Iterable, Sequence
from typing import TypedDict

from sqlalchemy import insert, select
from sqlalchemy.orm import Session

from billing import errors
from billing.context import Context
from billing.errors import Rejected, ReversedFirst
from billing_client.messages import Capture, Debit, Release, Reverse
from models.credits import Refusal


class Refused(TypedDict):
    """A row to be written."""

    account_id: int
    key: str
    operation: str
    units: int
    reason: str
    facts: dict[str, object]
    happened_at: dt.datetime


def of(
    message: Debit | Capture | Release | Reverse,
    key: str,
    error: Rejected,
    *,
    now: dt.datetime,
    operation: str = "",
    units: int = 0,
) -> Refused:
    """Return the refusal of a message; give `operation` and `units` if it ends a hold."""
    happened_at = now
    if isinstance(message, Debit):
        operation, units, happened_at = message.operation, message.units, message.happened_at or now
    return {
        "account_id": message.account_id,
        # A debit that arrives after its reversal looks for its own key.
        "key": message.key if isinstance(error, ReversedFirst) else key,  # type: ignore[union-attr]
        "operation": operation or message.TASK,
        "units": units,
        "reason": error.name,
        "facts": error.facts,
        "happened_at": happened_at,
    }


def record(ctx: Context, refused: Sequence[Refused]) -> None:
    """Write these refusals."""
    if refused:
        ctx.session.execute(insert(Refusal), [{**row, "recorded_at": ctx.now} for row in refused])


def by_key(session: Session, keys: Iterable[str]) -> dict[tuple[int, str], Rejected]:
    """Return the errors with which these keys were refused, by account and key."""
    rows = select(Refusal.account_id, Refusal.key, Refusal.reason, Refusal.facts)
    return {
        (account_id, key): getattr(errors, reason)(**facts)
        for account_id, key, reason, facts in session.execute(
            rows.where(Refusal.key.in_(list(keys))).order_by(Refusal.id)
        )
    }


def last(
    session: Session, account_id: int, *, count: int, before: int | None = None
) -> list[Refusal]:
    """Return the account's last refusals, oldest first; those `before` an id, if given."""
    rows = select(Refusal).where(Refusal.account_id == account_id).order_by(Refusal.id.desc())
    if before is not None:
        rows = rows.where(Refusal.id < before)
    return list(reversed(session.scalars(rows.limit(count)).all()))
