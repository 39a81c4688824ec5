"""Tells the main app when an account's credits run low: once, as a threshold is crossed."""

from billing.events.outbox import NewEvent
from billing.host.accounts import PlanTerms
from billing.ledger.balance import Balance

#: In per cent of the plan's monthly credits, falling.
THRESHOLDS = (20, 5, 0)


def crossed(before: int, after: int, included: int) -> int | None:
    """The lowest threshold, in per cent, that a balance fell to or below; None if to none."""
    fallen = [percent for percent in THRESHOLDS if after * 100 <= percent * included < before * 100]
    return min(fallen, default=None)


def event_of(balance: Balance, plan: PlanTerms | None) -> NewEvent | None:
    """A `credits.low` event if this transaction took the balance across a threshold."""
    if plan is None or balance.credits >= balance.was_credits:
        return None
    percent = crossed(balance.was_credits, balance.credits, plan.included_credits)
    if percent is None:
        return None
    payload = {
        "credits": balance.credits,
        "included_credits": plan.included_credits,
        "threshold_percent": percent,
    }
    return NewEvent("credits.low", balance.account.id, payload)
