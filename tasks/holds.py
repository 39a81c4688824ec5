"""Tasks about holds: credits reserved for work under way."""

from billing.usage import holds
from billing_client.messages import Capture, PlaceHold, Release
from flows import sweeps
from tasks.credits import apply_one
from worker.app import app
from worker.database import transaction


@app.task(name=PlaceHold.TASK, message=PlaceHold)
def place(message: PlaceHold) -> dict[str, object]:
    """Place a hold, by the SQL function that the main app can call itself."""
    with transaction() as ctx:
        placed = holds.place(ctx, message)
    if error := holds.error_of(placed, message):
        raise error
    return {"outcome": placed.outcome, "reason": placed.reason}


@app.task(name=Capture.TASK, message=Capture)
def capture(message: Capture) -> dict[str, object]:
    """Capture a hold: take the credits that it reserved."""
    return apply_one(message)


@app.task(name=Release.TASK, message=Release)
def release(message: Release) -> dict[str, object]:
    """Release a hold: give back the credits that it reserved."""
    return apply_one(message)


@app.task(name="holds.expire_due", is_tick=True)
def expire_due() -> dict[str, object]:
    """Expire the holds that are due."""
    return sweeps.counts(sweeps.until_done(holds.sweep))
