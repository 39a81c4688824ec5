"""The reminders of trials that end: those due, their recipients, and the time of the next."""

from collections.abc import Collection, Iterable, Mapping, Sequence

from billing.context import Context
from billing.events import outbox
from billing.events.outbox import NewEvent
from billing.host import accounts
from billing.lifecycle.trials import rows as trial_rows
from billing.lifecycle.trials.rows import DAY, REMINDERS, OpenTrial
from billing.postgres import sql
from billing.sweep import SweepResult, all_or_each

#: Trials that one transaction takes: more than other sweeps take, for they are handled in batches.
AT_ONCE = 1000
#: Statuses in which a trial goes on. An account that is suspended for another reason, or whose
#: transfer is on its way, may return to its trial; it gets no reminder meanwhile.
GOES_ON = frozenset({"trial", "suspended", "pending_payment"})

_DUE = """
SELECT account_id FROM billing.trials
WHERE ended_at IS NULL AND next_reminder_at <= %(now)s
ORDER BY next_reminder_at, account_id LIMIT %(limit)s FOR UPDATE SKIP LOCKED
"""


def remind_due(ctx: Context, *, limit: int = AT_ONCE) -> list[SweepResult]:
    """Leave the reminders that are due; if several are, as after a pause, only the last one."""

    def propose(limit: int) -> list[int]:
        rows = ctx.session.connection().exec_driver_sql(_DUE, {"now": ctx.now, "limit": limit})
        return [row[0] for row in rows]

    ids = accounts.lock_due(ctx.session, propose(limit), propose, limit=limit)
    return all_or_each(ctx, ids, _remind) if ids else []


def _remind(ctx: Context, ids: Sequence[int]) -> list[SweepResult]:
    locked = accounts.lock(ctx.session, ids)
    trials = trial_rows.read(ctx.session, ids)
    running = {
        id: trial
        for id, trial in trials.items()
        if id in locked and locked[id].status in GOES_ON and locked[id].is_billable
    }
    ended = trial_rows.end_not_running(ctx, locked, trials.keys() - running.keys())
    to_remind = {id for id in running if locked[id].status == "trial"}
    days_left = _record(ctx, running.values(), to_remind=to_remind)
    _set_next(ctx, running)
    events = [_event(trials[id], days) for id, days in sorted(days_left.items())]
    outbox.leave_all(ctx, events)
    return ended + [SweepResult(id, "reminded", trials[id].ends_at) for id in running]


def _record(
    ctx: Context, trials: Iterable[OpenTrial], *, to_remind: Collection[int]
) -> dict[int, int]:
    """Record the reminders that are due; returns the days left for each account to be reminded.

    Of several that are due the last is sent; the others are recorded as not sent. No reminder is
    sent that was recorded before.
    """
    rows: list[tuple[object, ...]] = []
    for trial in trials:
        due = [days for days in REMINDERS if _is_due(ctx, trial, days)]
        is_reminded = trial.account_id in to_remind
        rows += [
            (trial.account_id, trial.ends_at, days, is_reminded and days == min(due))
            for days in due
        ]
    new = sql.insert(
        ctx.session,
        "billing.trial_reminders",
        {
            "account_id": "bigint",
            "ends_at": "timestamptz",
            "days_before": "int",
            "is_sent": "boolean",
        },
        rows,
        constants={"recorded_at": ctx.now},
        tail="ON CONFLICT DO NOTHING RETURNING account_id, days_before, is_sent",
    )
    return {account_id: days for account_id, days, is_sent in new if is_sent}


def _is_due(ctx: Context, trial: OpenTrial, days: int) -> bool:
    """Whether the reminder is due. Reminders before the trial's start are left out."""
    due_at = trial.ends_at - days * DAY
    return due_at <= ctx.now and (days == 0 or due_at > trial.started_at)


_SET_NEXT = """
UPDATE billing.trials SET next_reminder_at = new.next
FROM unnest(%(ids)s::bigint[], %(next)s::timestamptz[]) AS new (account_id, next)
WHERE trials.account_id = new.account_id
"""


def _set_next(ctx: Context, trials: Mapping[int, OpenTrial]) -> None:
    next_at = [trial_rows.next_reminder(trial.ends_at, after=ctx.now) for trial in trials.values()]
    values = {"ids": sql.numbers(trials), "next": sql.times(next_at)}
    ctx.session.connection().exec_driver_sql(_SET_NEXT, values)


def _event(trial: OpenTrial, days_left: int) -> NewEvent:
    payload = {
        "ends_at": trial.ends_at.isoformat(),
        "suspends_at": trial.suspends_at.isoformat(),
        "days_left": days_left,
    }
    return NewEvent("trial.ending", trial.account_id, payload)
