"""Tasks about credit cycles: renewals, plan changes, expiry, and repair of missing cycles.

Safe to run twice, late, or by two beats at once: due rows are taken under a lock.
"""

from billing.purchases import purchases
from billing.renewal import expiry, plan_changes, renewals, repairs
from flows import sweeps
from worker.app import app


@app.task(name="credits.renew_due", is_tick=True)
def renew_due() -> dict[str, object]:
    """Renew the accounts whose period has ended, and follow plan changes."""
    all_due = (purchases.sweep_due, renewals.sweep_due, plan_changes.sweep)
    return sweeps.counts(sweeps.in_turns(renew_due.apply_async, *all_due))


@app.task(name="credits.expire_due", is_tick=True)
def expire_due() -> dict[str, object]:
    """Expire the credits that are due."""
    return sweeps.counts(sweeps.in_turns(expire_due.apply_async, expiry.sweep))


@app.task(name="credits.repair_calendars", is_tick=True)
def repair_calendars() -> dict[str, object]:
    """Add signup grants and credit cycles that are missing."""
    return sweeps.counts(sweeps.over_all(repairs.sweep))
