"""Acts of operators and the main app on trials: extend, restore, confirm many suspensions."""

import datetime as dt
from collections.abc import Sequence

from sqlalchemy import insert, select
from sqlalchemy.orm import Session

from billing.context import Context
from billing.errors import TrialEndRefused
from billing.events import outbox
from billing.host import accounts
from billing.lifecycle import status
from billing.lifecycle.trials import rows as trial_rows
from billing.lifecycle.trials import sweeps as trial_sweeps
from billing.renewal import signup_grant
from models.life import Trial, TrialConfirmation

#: The longest trial, from its start; a longer one should be a plan.
LONGEST = dt.timedelta(days=730)


def extend(ctx: Context, account_id: int, *, ends_at: dt.datetime) -> bool:
    """Give a running trial a later end; False if it has that end already.

    The end is an absolute time, so that a repeated request changes nothing. Raises UnknownAccount,
    AccountDeleted, SystemAccount, or TrialEndRefused for a trial that is over, an end that is not
    later, or one too far away.
    """
    account = accounts.lock_billable(ctx.session, account_id)
    trial = ctx.session.get(Trial, account_id)
    if account.status == "trial" and (trial is None or trial.ended_at is not None):
        # The sweep has not given it an end yet: it signed up, or was put back, a moment ago.
        trial_sweeps.begin_missing(ctx, after=account_id - 1, limit=1)
        trial = ctx.session.get(Trial, account_id, populate_existing=True)
    if trial is not None and trial.ends_at == ends_at:
        return False
    if account.status not in ("trial", "suspended"):
        raise _refused(account_id, f"the account is not in trial but {account.status}")
    if trial is None or trial.ended_at is not None:
        raise _refused(account_id, "the trial is over; restore it instead")
    _check(trial, ends_at, now=ctx.now)
    _move(ctx, trial, ends_at=ends_at)
    return True


def restore(ctx: Context, account_id: int, *, ends_at: dt.datetime) -> bool:
    """Put an account whose trial expired back into it; False if it is in a trial with this end.

    Lifts the reason `trial_over`; other reasons for suspension stay. The trial gets its plan's
    credits again, once for each time that it expired. Raises as `extend`, and StatusChangeRefused
    for an actor who may not.
    """
    account = accounts.lock_billable(ctx.session, account_id)
    trial = ctx.session.get(Trial, account_id)
    if trial is not None and trial.ended_at is None and trial.ends_at == ends_at:
        return False
    if trial is None or trial.outcome != "expired" or account.status != "suspended":
        raise _refused(account_id, f"the trial did not expire; the account is {account.status}")
    _check(trial, ends_at, now=ctx.now)
    status.lift(ctx, account_id, reason="trial_over", to="trial")
    assert trial.ended_at is not None, "an outcome has a time"
    signup_grant.give_again(ctx, {account_id: trial.ended_at})
    trial.ended_at = trial.outcome = None
    _move(ctx, trial, ends_at=ends_at)
    return True


def confirm(ctx: Context, *, until: dt.datetime) -> None:
    """Confirm the suspension of every trial that is due until then, however many they are."""
    ctx.session.execute(
        insert(TrialConfirmation).values(
            confirmed_until=until, actor=ctx.actor, recorded_at=ctx.now
        )
    )


def listed(session: Session, *, due_at: dt.datetime | None, limit: int) -> Sequence[Trial]:
    """List open trials, the soonest suspension first; with `due_at` only those due by then."""
    rows = select(Trial).where(Trial.ended_at.is_(None))
    if due_at is not None:
        rows = rows.where(Trial.suspends_at <= due_at)
    return session.scalars(rows.order_by(Trial.suspends_at, Trial.account_id).limit(limit)).all()


def _check(trial: Trial, ends_at: dt.datetime, *, now: dt.datetime) -> None:
    if ends_at <= max(now, trial.ends_at):
        problem = f"the new end must be later than now and than {trial.ends_at.isoformat()}"
        raise _refused(trial.account_id, problem)
    if ends_at - trial.started_at > LONGEST:
        raise _refused(trial.account_id, f"a trial lasts {LONGEST.days} days at most")


def _refused(account_id: int, problem: str) -> TrialEndRefused:
    return TrialEndRefused(account_id=account_id, problem=problem)


def _move(ctx: Context, trial: Trial, *, ends_at: dt.datetime) -> None:
    trial_rows.move(ctx, trial, ends_at=ends_at)
    payload = {
        "ends_at": trial.ends_at.isoformat(),
        "suspends_at": trial.suspends_at.isoformat(),
        "actor": ctx.actor,
    }
    outbox.leave(ctx, "trial.moved", account_id=trial.account_id, payload=payload)
