"""Credit cycles: renewals, plan changes, expiry, and the repair of what was left out.

Each may run twice, late, or by two beats at once: what is due is rows, handled under a lock.
"""

from billing.purchases import purchases
from billing.renewal import expiry, plan_changes, renewals, repairs
from flows import sweeps
from worker.app import app


@app.task(name="credits.renew_due", is_tick=True)
def renew_due() -> dict[str, object]:
    """Give accounts whose period is over their next lot, and apply plan changes."""
    all_due = (purchases.sweep_due, renewals.sweep_due, plan_changes.sweep)
    return sweeps.counts(sweeps.in_turns(renew_due.apply_async, *all_due))


@app.task(name="credits.expire_due", is_tick=True)
def expire_due() -> dict[str, object]:
    """Expire the credits whose time is over."""
    return sweeps.counts(sweeps.in_turns(expire_due.apply_async, expiry.sweep))


@app.task(name="credits.repair_calendars", is_tick=True)
def repair_calendars() -> dict[str, object]:
    """Give the credits and begin the credit cycles that signup or the main app left out."""
    return sweeps.counts(sweeps.over_all(repairs.sweep, name="repairs"))
