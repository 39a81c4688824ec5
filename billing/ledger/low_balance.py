"""Tells the main app when an account's credits run low: once, as a threshold is crossed."""

from billing.events.outbox import NewEvent
from billing.host.accounts import PlanTerms
from billing.ledger.balance import OpenBook

#: In per cent of the plan's monthly credits, falling.
THRESHOLDS = (20, 5, 0)


def crossed(before: int, after: int, included: int) -> int | None:
    """The lowest threshold, in per cent, that a balance fell to or below; None if to none."""
    fallen = [percent for percent in THRESHOLDS if after * 100 <= percent * included < before * 100]
    return min(fallen, default=None)


def event_of(book: OpenBook, plan: PlanTerms | None) -> NewEvent | None:
    """A `credits.low` event if this transaction took the balance across a threshold."""
    if plan is None or book.credits >= book.was_credits:
        return None
    percent = crossed(book.was_credits, book.credits, plan.included_credits)
    if percent is None:
        return None
    payload = {
        "credits": book.credits,
        "included_credits": plan.included_credits,
        "threshold_percent": percent,
    }
    return NewEvent("credits.low", book.account.id, payload)
