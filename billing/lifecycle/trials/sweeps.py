"""The sweeps of trials: an end for those that know none, reminders, and the end itself.

Each is a bounded set under the accounts' locks; run twice, late or by two beats it does no more.
"""

import datetime as dt
from collections.abc import Iterable, Mapping, Sequence

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from billing.context import Context
from billing.events import outbox
from billing.events.outbox import NewEvent
from billing.host import accounts, payment_evidence, recipients
from billing.host.accounts import HostAccount
from billing.host.payment_evidence import Evidence
from billing.lifecycle import status
from billing.lifecycle.trials import fingerprint_rows, fingerprints
from billing.lifecycle.trials import reminders as trial_reminders
from billing.lifecycle.trials import rows as trial_rows
from billing.lifecycle.trials.rows import OpenTrial
from billing.sweep import SweepResult, all_or_each
from models.life import Trial, TrialConfirmation

#: Trials that one transaction takes: larger than other sweeps' sets, for all is done in sets.
AT_ONCE = 1000
#: What the status of an account that is in no trial any more says of how its trial ended.
OUTCOMES = {"active": "paid", "cancelled": "cancelled", "pending_payment": "awaits_payment"}
#: An account whose transfer is on its way may be back in its trial; it is not reminded meanwhile.
AWAITS = "pending_payment"
#: Statuses in which a trial runs: one that was suspended for another reason goes on ageing.
RUNS = frozenset({"trial", "suspended"})


def begin_missing(ctx: Context, *, after: int = 0, limit: int = AT_ONCE) -> list[SweepResult]:
    """Give accounts in trial that know no end one; a repeated one ends at once, if refused.

    Compares also what customers have shown since of themselves, by a card or a transfer.
    """
    terms = ctx.policy
    begun = trial_rows.begin(ctx, terms, after=after, limit=limit)
    emails = recipients.of(ctx.session, begun)
    found = {id: fingerprints.of_email(to.email) for id, to in emails.items()}
    fingerprint_rows.record(ctx, found)
    repeated = fingerprint_rows.judge(ctx, limit=limit)
    if terms.repeated_trials == "refuse":
        trial_rows.cut_short(ctx, fingerprint_rows.repeated(ctx.session, [*begun, *repeated]))
    told = [SweepResult(account_id, "trial_repeated", ctx.now) for account_id in repeated]
    return [SweepResult(account_id, "trial_begun", ctx.now) for account_id in begun] + told


def remind_due(ctx: Context, *, limit: int = AT_ONCE) -> list[SweepResult]:
    """Leave the reminders that are due; of several that are, as after a pause, the last one."""
    ids = accounts.try_lock(ctx.session, trial_reminders.due(ctx, limit=limit))
    return all_or_each(ctx, ids, _remind) if ids else []


def _remind(ctx: Context, ids: Sequence[int]) -> list[SweepResult]:
    found = accounts.lock(ctx.session, ids)
    trials = trial_rows.read(ctx.session, ids)
    running = {
        id: trial
        for id, trial in trials.items()
        if id in found and (_runs(found[id]) or _awaits(found[id]))
    }
    settled = _settle(ctx, found, trials.keys() - running.keys())
    told = {id for id in running if found[id].status == "trial"}
    sent = trial_reminders.remember(ctx, running.values(), told=told)
    trial_reminders.set_next(ctx, running.values())
    events = [_reminder(trials[id], days) for id, days in sorted(sent.items())]
    outbox.leave_all(ctx, events)
    return settled + [SweepResult(id, "reminded", trials[id].ends_at) for id in running]


def expire_due(ctx: Context, *, limit: int = AT_ONCE) -> list[SweepResult]:
    """End the trials whose grace is over: suspend those that nothing speaks for.

    Looks again, under the locks, for a payment, an announced transfer and a subscription. Of more
    trials than the policy lets one run suspend, only those that a person confirmed are taken.
    """
    until = confirmed_until(ctx.session) if to_confirm(ctx) else ctx.now
    due = trial_rows.due(ctx.at(min(until, ctx.now)), limit=limit)
    ids = accounts.try_lock(ctx.session, due)
    return all_or_each(ctx, ids, _expire) if ids else []


def _expire(ctx: Context, ids: Sequence[int]) -> list[SweepResult]:
    found = accounts.lock(ctx.session, ids)
    trials = trial_rows.read(ctx.session, ids)
    running = {id: trials[id].started_at for id in trials if id in found and _runs(found[id])}
    swept = _settle(ctx, found, trials.keys() - running.keys())
    known = payment_evidence.of(ctx, running) if running else {}
    paid = [id for id, each in known.items() if each.is_paid or each.is_subscribed]
    for account_id in paid:
        swept.append(_paid(ctx, found[account_id]))
    trying = {id: each for id, each in known.items() if each.tries_until and id not in paid}
    if trying and ctx.policy.repeated_trials == "refuse":
        for account_id in fingerprint_rows.repeated(ctx.session, trying):
            del trying[account_id]
    swept += _go_on(ctx, trying)
    over = sorted(running.keys() - set(paid) - trying.keys())
    status.suspend_all(ctx.by("billing"), over, reason="trial_over", locked=found)
    return swept + [SweepResult(id, "trial_over", trials[id].suspends_at) for id in over]


def to_confirm(ctx: Context) -> int:
    """How many trials wait for a person's word before they are suspended; 0 if none does.

    Counted no further than is needed to know.
    """
    most = ctx.policy.suspended_at_once
    waits = select(Trial.account_id).where(
        Trial.ended_at.is_(None),
        Trial.suspends_at <= ctx.now,
        Trial.suspends_at > confirmed_until(ctx.session),
    )
    counted = select(func.count()).select_from(waits.limit(most + COUNTED_BEYOND).subquery())
    number = ctx.session.execute(counted).scalar_one()
    return number if number > most else 0


#: A count beyond the limit, for people; exact up to it.
COUNTED_BEYOND = 10_000
_NEVER = dt.datetime(1, 1, 1, tzinfo=dt.UTC)


def confirmed_until(session: Session) -> dt.datetime:
    """Up to when the ends of trials are confirmed, however many."""
    last = session.execute(select(func.max(TrialConfirmation.confirmed_until))).scalar()
    return last or _NEVER


def _runs(account: HostAccount) -> bool:
    return account.status in RUNS and not account.is_deleted and not account.is_system


def _awaits(account: HostAccount) -> bool:
    return account.status == AWAITS and not account.is_deleted and not account.is_system


def _settle(
    ctx: Context, found: Mapping[int, HostAccount], ids: Iterable[int]
) -> list[SweepResult]:
    """Close the rows of accounts that are in no trial any more; the accounts stay as they are."""
    swept = []
    for account_id in sorted(ids):
        account = found.get(account_id)
        outcome = "deleted"
        if account is not None and not account.is_deleted:
            outcome = OUTCOMES.get(account.status, "left")
        trial_rows.end(ctx, [account_id], outcome=outcome)
        swept.append(SweepResult(account_id, "trial_settled", ctx.now))
    return swept


def _paid(ctx: Context, account: HostAccount) -> SweepResult:
    """Money came, and nobody let the account in: it is, unless another reason keeps it out."""
    if account.status == "trial":
        status.change(ctx.by("billing"), account.id, to="active", reason="paid")
    trial_rows.end(ctx, [account.id], outcome="paid")
    return SweepResult(account.id, "trial_paid", ctx.now)


def _go_on(ctx: Context, trying: Mapping[int, Evidence]) -> list[SweepResult]:
    """A trial at Stripe runs longer than ours: ours ends with it."""
    grace = ctx.policy.grace
    for account_id, each in trying.items():
        trial = ctx.session.get_one(Trial, account_id)
        assert each.tries_until is not None, "asked for above"
        trial_rows.move(trial, ends_at=each.tries_until, grace=grace, now=ctx.now)
    ctx.session.flush()
    return [SweepResult(account_id, "trial_goes_on", ctx.now) for account_id in sorted(trying)]


def _reminder(trial: OpenTrial, days_left: int) -> NewEvent:
    payload = {
        "ends_at": trial.ends_at.isoformat(),
        "suspends_at": trial.suspends_at.isoformat(),
        "days_left": days_left,
    }
    return NewEvent("trial.ending", trial.account_id, payload)
