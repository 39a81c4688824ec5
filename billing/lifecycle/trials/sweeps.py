"""The sweeps that begin and end trials. A sweep run twice, late or by two beats changes no more.

Each takes a bounded batch under the accounts' locks. Reminders are in `trials.reminders`.
"""

import datetime as dt
from collections.abc import Mapping, Sequence
from functools import partial

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from billing.context import Context
from billing.host import accounts, payment_evidence, recipients
from billing.host.accounts import HostAccount
from billing.host.payment_evidence import Evidence
from billing.lifecycle import status
from billing.lifecycle.trials import fingerprints
from billing.lifecycle.trials import rows as trial_rows
from billing.lifecycle.trials.reminders import AT_ONCE
from billing.renewal import signup_grant
from billing.sweep import SweepResult, all_or_each
from models.life import Trial, TrialConfirmation

#: Statuses in which a trial may end: that of an account suspended for another reason ends too.
RUNS = frozenset({"trial", "suspended"})
#: Trials beyond the limit that are counted, for the operator; up to the limit the count is exact.
COUNTED_BEYOND = 10_000
_NEVER = dt.datetime(1, 1, 1, tzinfo=dt.UTC)


def begin_missing(ctx: Context, *, after: int = 0, limit: int = AT_ONCE) -> list[SweepResult]:
    """Give accounts in trial that have no end one, and compare new trial fingerprints.

    A repeated trial ends at once if the policy refuses it. Fingerprints of cards and bank accounts
    may come long after the trial has begun.
    """
    ended_at = trial_rows.begin(ctx, after=after, limit=limit)
    begun = list(ended_at)
    restored = {id: at for id, at in ended_at.items() if at is not None}
    if restored:
        signup_grant.give_again(ctx, restored)
    emails = recipients.of(ctx.session, begun) if begun else {}
    shown = {id: fingerprints.of_email(recipient.email) for id, recipient in emails.items()}
    fingerprints.record(ctx, shown)
    repeated = fingerprints.compare_new(ctx, limit=limit)
    if ctx.policy.repeated_trials == "refuse":
        trial_rows.cut_short(ctx, fingerprints.repeated(ctx.session, [*begun, *repeated]))
    results = [SweepResult(account_id, "trial_begun", ctx.now) for account_id in begun]
    return results + [SweepResult(account_id, "trial_repeated", ctx.now) for account_id in repeated]


def expire_due(ctx: Context, *, limit: int = AT_ONCE) -> list[SweepResult]:
    """Suspend the accounts whose grace period is over, unless they paid or still try at Stripe.

    Payments, transfers and subscriptions are looked at under the locks. If more trials are due
    than the policy lets one run suspend, only those that an operator confirmed are taken.
    """
    until = min(confirmed_until(ctx.session), ctx.now) if to_confirm(ctx) else ctx.now
    propose = partial(trial_rows.due, ctx.session, until)
    ids = accounts.lock_due(ctx.session, propose(limit), propose, limit=limit)
    return all_or_each(ctx, ids, _expire) if ids else []


def _expire(ctx: Context, ids: Sequence[int]) -> list[SweepResult]:
    locked = accounts.lock(ctx.session, ids)
    trials = trial_rows.read(ctx.session, ids)
    running = {
        id: trial.started_at
        for id, trial in trials.items()
        if id in locked and locked[id].status in RUNS and locked[id].is_billable
    }
    results = []
    if not_running := trials.keys() - running.keys():
        results += trial_rows.end_not_running(ctx, locked, not_running)
    evidence = payment_evidence.of(ctx, running) if running else {}
    paid = {id for id, shown in evidence.items() if shown.is_paid or shown.is_subscribed}
    results += [_end_paid(ctx, locked[id]) for id in sorted(paid)]
    trying = _trying(ctx, {id: evidence[id] for id in evidence if id not in paid})
    results += [_prolong(ctx, id, ends_at) for id, ends_at in trying.items()]
    over = sorted(running.keys() - paid - trying.keys())
    if over:
        status.suspend_all(ctx.by("billing"), over, reason="trial_over", locked=locked)
    return results + [SweepResult(id, "trial_over", trials[id].suspends_at) for id in over]


def _end_paid(ctx: Context, account: HostAccount) -> SweepResult:
    """End the trial of an account that paid; activate it, unless another reason suspends it."""
    if account.status == "trial":
        status.change(ctx.by("billing"), account.id, to="active", reason="paid")
    trial_rows.end(ctx, [account.id], outcome="paid")
    return SweepResult(account.id, "trial_paid", ctx.now)


def _trying(ctx: Context, evidence: Mapping[int, Evidence]) -> dict[int, dt.datetime]:
    """Return the accounts whose trial at Stripe runs longer than ours, and when it ends."""
    trying = {id: evidence[id].tries_until for id in sorted(evidence)}
    ends = {id: ends_at for id, ends_at in trying.items() if ends_at is not None}
    if ends and ctx.policy.repeated_trials == "refuse":
        for account_id in fingerprints.repeated(ctx.session, ends):
            del ends[account_id]
    return ends


def _prolong(ctx: Context, account_id: int, ends_at: dt.datetime) -> SweepResult:
    """Let our trial end with the one at Stripe."""
    trial_rows.move(ctx, ctx.session.get_one(Trial, account_id), ends_at=ends_at)
    return SweepResult(account_id, "trial_goes_on", ctx.now)


def to_confirm(ctx: Context) -> int:
    """Count the trials that wait for an operator's confirmation before suspension; 0 if none does.

    The count is exact up to the policy's limit, and bounded beyond it.
    """
    limit = ctx.policy.suspended_at_once
    waiting = select(Trial.account_id).where(
        Trial.ended_at.is_(None),
        Trial.suspends_at <= ctx.now,
        Trial.suspends_at > confirmed_until(ctx.session),
    )
    bounded = waiting.limit(limit + COUNTED_BEYOND).subquery()
    count = ctx.session.execute(select(func.count()).select_from(bounded)).scalar_one()
    return count if count > limit else 0


def confirmed_until(session: Session) -> dt.datetime:
    """Return up to when the ends of trials are confirmed, however many they are."""
    last = session.execute(select(func.max(TrialConfirmation.confirmed_until))).scalar()
    return last or _NEVER
