"""Events for the main app: their delivery from the outbox, and the removal of old ones."""

from billing.events import deliveries
from flows import sweeps
from flows.events import channels, deliver_due
from worker.app import app
from worker.database import transaction


@app.task(name="events.deliver_due", is_tick=True)
def deliver() -> dict[str, object]:
    """Deliver the events that are due, each account's in order."""
    return deliver_due(channels(), again=deliver.apply_async)


@app.task(name="events.remove_old", is_tick=True)
def remove_old() -> dict[str, object]:
    """Remove events that were delivered long ago."""

    def remove() -> int:
        with transaction() as ctx:
            return deliveries.remove_old(ctx)

    return {"removed": sweeps.remove_in_turns(remove_old.apply_async, remove)}
