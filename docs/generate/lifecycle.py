"""Changes of status and the dunning schedule, from their tables in the code."""

from billing.lifecycle import transitions
from billing.lifecycle.dunning.schedule import SCHEDULE
from docs.generate.markdown import code, table


def transitions_block() -> str:
    """Each change of status with its reasons and its event."""
    rows = [
        (step.status_from, step.status_to, ", ".join(sorted(step.reasons)), code(step.event))
        for step in transitions.TRANSITIONS
    ]
    return table("from | to | reasons | event", rows)


def reasons_block() -> str:
    """Each reason with the actors who may use it."""
    rows = [(reason, ", ".join(sorted(who))) for reason, who in sorted(transitions.WHO_MAY.items())]
    return table("reason | actors who may use it", rows)


def schedule_block() -> str:
    """The steps of dunning by day."""
    rows = [(str(s.day), s.action, _yes(s.card), _yes(s.bank)) for s in SCHEDULE]
    return table("day | action | card | bank", rows)


def _yes(applies: object) -> str:
    return "yes" if applies else "no"
