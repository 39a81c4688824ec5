"""Holds: credits set aside for work under way."""

from billing.usage import holds
from billing_client.messages import Capture, PlaceHold, Release
from flows import sweeps
from worker.app import app
from worker.database import transaction
from worker.debits.single import apply_one


@app.task(name=PlaceHold.TASK, message=PlaceHold)
def place(message: PlaceHold) -> dict[str, object]:
    """Set credits aside, by the same SQL function that the main app calls itself."""
    with transaction() as ctx:
        placed = holds.place(ctx, message)
    if error := holds.error_of(placed, message):
        raise error
    return {"outcome": placed.outcome, "reason": placed.reason}


@app.task(name=Capture.TASK, message=Capture)
def capture(message: Capture) -> dict[str, object]:
    """Take what a hold set aside."""
    return apply_one(message)


@app.task(name=Release.TASK, message=Release)
def release(message: Release) -> dict[str, object]:
    """Give back what a hold set aside."""
    return apply_one(message)


@app.task(name="holds.expire_due", is_tick=True)
def expire_due() -> dict[str, object]:
    """Let holds expire whose time is over."""
    return sweeps.counts(sweeps.until_done(holds.sweep))
