"""The life of accounts: trials, dunning, plan limits, and the closing of deleted accounts."""

from billing import closing
from billing.lifecycle import app_writes, plan_limits
from billing.lifecycle.dunning import cases as dunning_cases
from billing.lifecycle.dunning import sweep as dunning_sweep
from billing.lifecycle.trials import overrides as trial_overrides
from billing.lifecycle.trials import reminders as trial_reminders
from billing.lifecycle.trials import sweeps as trial_sweeps
from billing_client.messages import ExtendTrial, PaymentMethodChanged, RestoreTrial
from flows import sweeps
from worker.app import app
from worker.database import transaction

#: Seconds after which a sweep leaves the rest to the next tick: the queue has other work.
BUDGET_S = 20.0


@app.task(name="trials.expire_due", is_tick=True)
def expire_due() -> dict[str, object]:
    """Give trials their end, and end those whose grace period is over."""
    begun = sweeps.until_done(trial_sweeps.begin_missing, budget_s=BUDGET_S)
    ended = sweeps.in_turns(expire_due.apply_async, trial_sweeps.expire_due)
    return sweeps.counts([*begun, *ended])


@app.task(name="trials.remind_due", is_tick=True)
def remind_due() -> dict[str, object]:
    """Remind accounts whose trial ends."""
    return sweeps.counts(sweeps.in_turns(remind_due.apply_async, trial_reminders.remind_due))


@app.task(name=ExtendTrial.TASK, message=ExtendTrial)
def extend(message: ExtendTrial) -> dict[str, object]:
    """Give a trial a later end."""
    with transaction(actor="main_app") as ctx:
        has_moved = trial_overrides.extend(ctx, message.account_id, ends_at=message.ends_at)
    return {"has_moved": has_moved}


@app.task(name=RestoreTrial.TASK, message=RestoreTrial)
def restore(message: RestoreTrial) -> dict[str, object]:
    """Put an account back into its trial."""
    with transaction(actor="main_app") as ctx:
        has_moved = trial_overrides.restore(ctx, message.account_id, ends_at=message.ends_at)
    return {"has_moved": has_moved}


@app.task(name=PaymentMethodChanged.TASK, message=PaymentMethodChanged)
def method_changed(message: PaymentMethodChanged) -> dict[str, object]:
    """Ask for a retry of a missed payment with the new payment method."""
    with transaction() as ctx:
        is_missing = dunning_cases.method_changed(ctx, message.account_id)
    return {"is_missing": is_missing}


@app.task(name="dunning.step_due", is_tick=True)
def step_due() -> dict[str, object]:
    """Take the dunning steps that are due: remind, retry, suspend, cancel."""
    return sweeps.counts(sweeps.in_turns(step_due.apply_async, dunning_sweep.step_due))


@app.task(name="accounts.follow_status", is_tick=True)
def follow_status() -> dict[str, object]:
    """Apply the statuses that the main app wrote itself: history, events, trials, credits."""
    return sweeps.counts(sweeps.in_turns(follow_status.apply_async, app_writes.sweep))


@app.task(name="accounts.check_limits", is_tick=True)
def check_limits() -> dict[str, object]:
    """Record accounts that use more than their plan includes."""
    return sweeps.counts(sweeps.over_all(plan_limits.sweep, budget_s=BUDGET_S, name="limits"))


@app.task(name="accounts.close_deleted", is_tick=True)
def close_deleted() -> dict[str, object]:
    """Close deleted accounts that can no longer be restored, if the setting says so."""
    return sweeps.counts(sweeps.in_turns(close_deleted.apply_async, closing.sweep))
