"""The reminders of trials that end, in sets: which are due, which were sent, when the next is."""

from collections.abc import Collection, Iterable

from billing.context import Context
from billing.lifecycle.trials import rows as trial_rows
from billing.lifecycle.trials.rows import DAY, REMINDERS, OpenTrial
from billing.postgres import sql

_TO_REMIND = """
SELECT account_id FROM billing.trials
WHERE ended_at IS NULL AND next_reminder_at <= %(now)s
ORDER BY next_reminder_at, account_id LIMIT %(limit)s FOR UPDATE SKIP LOCKED
"""


def due(ctx: Context, *, limit: int) -> list[int]:
    """Claim trials with a reminder that is due; as `billing.lifecycle.trials.rows.due`."""
    rows = ctx.session.connection().exec_driver_sql(_TO_REMIND, {"now": ctx.now, "limit": limit})
    return [row[0] for row in rows.all()]


_REMEMBER = """
INSERT INTO billing.trial_reminders (account_id, ends_at, days_before, is_sent, recorded_at)
SELECT new.*, %(now)s
FROM unnest(%(ids)s::bigint[], %(ends)s::timestamptz[], %(days)s::int[], %(sent)s::boolean[])
     AS new (account_id, ends_at, days_before, is_sent)
ON CONFLICT DO NOTHING
RETURNING account_id, days_before, is_sent
"""


def remember(ctx: Context, trials: Iterable[OpenTrial], *, told: Collection[int]) -> dict[int, int]:
    """Record the reminders that are due; returns account -> days left of those to be sent.

    Of several that are due the last is sent, to accounts that are to be `told`; the others are
    recorded as overtaken. None is sent that was recorded before.
    """
    rows: list[tuple[OpenTrial, int, bool]] = []
    for trial in trials:
        due = [
            days
            for days in REMINDERS
            if trial.ends_at - days * DAY <= ctx.now
            and (days == 0 or trial.ends_at - days * DAY > trial.started_at)
        ]
        is_told = trial.account_id in told
        rows += [(trial, days, is_told and days == min(due)) for days in due]
    if not rows:
        return {}
    new = ctx.session.connection().exec_driver_sql(
        _REMEMBER,
        {
            "ids": sql.numbers([trial.account_id for trial, _, _ in rows]),
            "ends": sql.times([trial.ends_at for trial, _, _ in rows]),
            "days": sql.numbers([days for _, days, _ in rows]),
            "sent": sql.texts([str(is_sent) for _, _, is_sent in rows]),
            "now": ctx.now,
        },
    )
    return {row[0]: row[1] for row in new.all() if row[2]}


_SET_NEXT = """
UPDATE billing.trials SET next_reminder_at = new.next
FROM unnest(%(ids)s::bigint[], %(next)s::timestamptz[]) AS new (account_id, next)
WHERE trials.account_id = new.account_id
"""


def set_next(ctx: Context, trials: Iterable[OpenTrial]) -> None:
    """Note when each of these trials is to be reminded next."""
    rows = list(trials)
    coming = [trial_rows.next_reminder(trial.ends_at, after=ctx.now) for trial in rows]
    ctx.session.connection().exec_driver_sql(
        _SET_NEXT,
        {
            "ids": sql.numbers([trial.account_id for trial in rows]),
            "next": sql.times(coming),
        },
    )
