"""Tasks about events: from the outbox to the main app."""

from billing.events import deliveries
from flows.events import deliver_due, ways
from worker.app import app
from worker.database import transaction


@app.task(name="events.deliver_due", is_tick=True)
def deliver() -> dict[str, object]:
    """Deliver the events that are due, in order for each account."""
    return deliver_due(ways())


@app.task(name="events.remove_old", is_tick=True)
def remove_old() -> dict[str, object]:
    """Remove events that were delivered long ago."""
    with transaction() as ctx:
        return {"removed": deliveries.remove_old(ctx)}
