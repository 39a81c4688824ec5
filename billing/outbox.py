"""What the main app should hear of: events left in the transaction that made them so."""

import datetime as dt

from sqlalchemy import insert
from sqlalchemy.orm import Session

from models.operations import OutboxEvent


def leave(
    session: Session,
    event_type: str,
    *,
    account_id: int | None,
    payload: dict[str, object],
    now: dt.datetime,
) -> None:
    """Leave an event, such as `account.suspended`; it goes out after the commit, at least once."""
    session.execute(
        insert(OutboxEvent).values(
            account_id=account_id, type=event_type, payload=payload, happened_at=now, due_at=now
        )
    )
