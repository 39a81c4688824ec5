"""Tells the main app when an account's credits run low: once, as a threshold is crossed."""

import datetime as dt

from sqlalchemy.orm import Session

from billing import outbox
from billing.accounts import PlanTerms
from billing.open_book import OpenBook

#: In per cent of the plan's monthly credits, falling.
THRESHOLDS = (20, 5, 0)


def crossed(before: int, after: int, included: int) -> int | None:
    """The lowest threshold, in per cent, that a balance fell to or below; None if to none."""
    fallen = [percent for percent in THRESHOLDS if after * 100 <= percent * included < before * 100]
    return min(fallen, default=None)


def tell(session: Session, book: OpenBook, plan: PlanTerms | None, now: dt.datetime) -> None:
    """Leave a `credits.low` event if this transaction took the balance across a threshold."""
    if plan is None or book.credits >= book.was_credits:
        return
    percent = crossed(book.was_credits, book.credits, plan.included_credits)
    if percent is not None:
        payload: dict[str, object] = {
            "account_id": book.account.id,
            "credits": book.credits,
            "included_credits": plan.included_credits,
            "threshold_percent": percent,
        }
        outbox.leave(session, "credits.low", account_id=book.account.id, payload=payload, now=now)
