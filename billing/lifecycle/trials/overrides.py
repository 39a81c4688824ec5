"""A trial in a person's hands: extended, restored, and the word that many may be suspended."""

import datetime as dt
from collections.abc import Sequence

from sqlalchemy import insert, select
from sqlalchemy.orm import Session

from billing.context import Context
from billing.errors import (
    TrialEndRefused,
)
from billing.events import outbox
from billing.host import accounts
from billing.lifecycle import status
from billing.lifecycle.trials import rows as trial_rows
from billing.lifecycle.trials import sweeps as trial_sweeps
from models.life import Trial, TrialConfirmation

#: No trial lasts longer than this from its start: a longer one is a gift, and wants a plan.
LONGEST = dt.timedelta(days=730)


def extend(ctx: Context, account_id: int, *, ends_at: dt.datetime) -> bool:
    """Give a running trial a later end; False if it has that end already.

    An absolute time, so that asking twice is asking once. Raises UnknownAccount, AccountDeleted,
    SystemAccount, or TrialEndRefused for a trial that is over, an end that is not later, or one
    too far away.
    """
    account = accounts.lock_billable(ctx.session, account_id)
    trial = ctx.session.get(Trial, account_id)
    if account.status == "trial" and (trial is None or trial.ended_at is not None):
        # The sweep has not given it an end yet: it signed up, or was put back, within this minute.
        trial_sweeps.begin_missing(ctx, after=account_id - 1, limit=1)
        trial = ctx.session.get(Trial, account_id, populate_existing=True)
    if trial is not None and trial.ends_at == ends_at:
        return False
    if account.status not in ("trial", "suspended"):
        raise TrialEndRefused(
            account_id=account_id, status=account.status, problem="it is in no trial"
        )
    if trial is None or trial.ended_at is not None:
        raise TrialEndRefused(
            account_id=account_id, status=account.status, problem="it is over; restore it instead"
        )
    _check(trial, ends_at, now=ctx.now)
    _move(ctx, trial, ends_at=ends_at)
    return True


def restore(ctx: Context, account_id: int, *, ends_at: dt.datetime) -> bool:
    """Put an account whose trial was over back into it; False if it is in one with this end.

    Lifts `trial_over`; other reasons of suspension stay. What lapsed of its credits stays lapsed:
    grant new ones. Raises as `extend`, and StatusChangeRefused for an actor who may not.
    """
    account = accounts.lock_billable(ctx.session, account_id)
    trial = ctx.session.get(Trial, account_id)
    if trial is not None and trial.ended_at is None and trial.ends_at == ends_at:
        return False
    if trial is None or trial.outcome != "expired" or account.status != "suspended":
        raise TrialEndRefused(
            account_id=account_id, status=account.status, problem="it did not expire"
        )
    _check(trial, ends_at, now=ctx.now)
    status.lift(ctx, account_id, reason="trial_over", to="trial")
    trial.ended_at = trial.outcome = None
    _move(ctx, trial, ends_at=ends_at)
    return True


def confirm(ctx: Context, *, until: dt.datetime) -> None:
    """Let every trial be suspended that was to be until then, however many they are."""
    ctx.session.execute(
        insert(TrialConfirmation).values(
            confirmed_until=until, actor=ctx.actor, recorded_at=ctx.now
        )
    )


def listed(session: Session, *, due_at: dt.datetime | None, limit: int) -> Sequence[Trial]:
    """Open trials, the soonest suspension first; with `due_at` only those that are due by then."""
    rows = select(Trial).where(Trial.ended_at.is_(None))
    if due_at is not None:
        rows = rows.where(Trial.suspends_at <= due_at)
    return session.scalars(rows.order_by(Trial.suspends_at, Trial.account_id).limit(limit)).all()


def _check(trial: Trial, ends_at: dt.datetime, *, now: dt.datetime) -> None:
    if ends_at <= max(now, trial.ends_at):
        raise TrialEndRefused(
            account_id=trial.account_id,
            problem="the new end must be later than now and than the present end",
        )
    if ends_at - trial.started_at > LONGEST:
        raise TrialEndRefused(
            account_id=trial.account_id, problem=f"a trial lasts {LONGEST.days} days at most"
        )


def _move(ctx: Context, trial: Trial, *, ends_at: dt.datetime) -> None:
    trial_rows.move(trial, ends_at=ends_at, grace=ctx.policy.grace, now=ctx.now)
    payload = {
        "ends_at": trial.ends_at.isoformat(),
        "suspends_at": trial.suspends_at.isoformat(),
        "actor": ctx.actor,
    }
    ctx.session.flush()
    outbox.leave(ctx, "trial.moved", account_id=trial.account_id, payload=payload)
