"""Events: what the main app should hear of, on its way out of the outbox."""

from billing.events import deliveries
from flows.events import deliver_due, ways
from worker.app import app
from worker.database import transaction


@app.task(name="events.deliver_due", is_tick=True)
def deliver() -> dict[str, object]:
    """Send the events that are due, each account's in order."""
    return deliver_due(ways())


@app.task(name="events.remove_old", is_tick=True)
def remove_old() -> dict[str, object]:
    """Remove what was delivered long ago."""
    with transaction() as ctx:
        return {"removed": deliveries.remove_old(ctx)}
