"""A hundred thousand trials that end in the same minute: accounts a second of the sweeps."""

import resource
from typing import Any

import sqlalchemy as sa

from bench import ground, measure
from bench.measure import Result, Row
from bench.stack import server_pids
from billing.lifecycle.trials import overrides as trial_overrides
from billing.lifecycle.trials import reminders as trial_reminders
from billing.lifecycle.trials import sweeps as trial_sweeps
from flows import sweeps
from worker import clock
from worker.database import engine, transaction

#: Trials for each of `count`: 100,000 by default.
SHARE = 5
FIRST = 20_000_000
#: As the tasks run them, except for the time limit.
RUN: dict[str, Any] = {"budget_s": 600.0, "lanes": sweeps.LANES}
_ACCOUNTS = """
INSERT INTO igny8_tenants (id, name, slug, status, credits, billing_email, created_at)
SELECT n, 'n', 'trial-' || n, 'trial', %(credits)s, n || '@bench.test', now() - interval '20 days'
FROM generate_series(%(first)s, %(last)s) AS n
"""
_TRIALS = """
INSERT INTO billing.trials (account_id, started_at, ends_at, suspends_at, next_reminder_at,
                            recorded_at)
SELECT n, now() - interval '20 days', now() + interval '12 hours', now() + interval '1 day',
       now() - interval '1 minute', now()
FROM generate_series(%(first)s, %(last)s) AS n
"""
#: As a signup grant leaves them; the entry hashes of filled-in entries are not checked.
_CREDITS = (
    """INSERT INTO billing.books (account_id, credits, debt, debt_limit, opened_at,
                                  opening_credits, chain)
    SELECT n, %(credits)s, 0, 0, now(), 0, sha256(n::text::bytea)
    FROM generate_series(%(first)s, %(last)s) AS n""",
    """INSERT INTO billing.lots (account_id, source, priority, is_promotional, granted, remaining,
                                 key, recorded_at)
    SELECT n, 'trial', 10, true, %(credits)s, %(credits)s, 'bench:' || n, now()
    FROM generate_series(%(first)s, %(last)s) AS n""",
    """INSERT INTO igny8_credit_transactions (tenant_id, type, amount, balance_after, description,
        idempotency_key, actor, happened_at, lots_used, chain)
    SELECT n, 'grant', %(credits)s, %(credits)s, 'trial', 'bench:' || n, 'billing', now(),
           '[[1, 0]]', sha256(n::text::bytea)
    FROM generate_series(%(first)s, %(last)s) AS n""",
)
CREDITS = 2000


def run(*, count: int, rounds: int) -> Result:
    """Remind and then end trials without and with credits. Raises LedgerDisagrees.

    `memory_mb`: how much this process's peak memory grew.
    """
    number = count * SHARE
    before = _memory_mb()
    rows = _trials("", FIRST, number, credits=0)
    rows += _trials("_with_credits", FIRST + number, number, credits=CREDITS)
    ground.check_ledger(with_chain=False)
    return Result(rows, {"memory_mb": round(_memory_mb() - before, 1)})


def _trials(suffix: str, first: int, number: int, *, credits: int) -> list[Row]:
    fill(first, number, credits=credits)
    reminded = measure.timed(
        f"trials_reminded{suffix}",
        number,
        lambda: sweeps.until_done(trial_reminders.remind_due, **RUN),
        roots=server_pids(),
    )
    with transaction() as ctx:
        now = clock.now()
        ctx.session.execute(
            sa.text("UPDATE billing.trials SET ends_at = :now, suspends_at = :now"), {"now": now}
        )
        trial_overrides.confirm(ctx.at(now).by("operator:bench"), until=now)
    ground.settle()
    ended = measure.timed(
        f"trials_ended{suffix}",
        number,
        lambda: sweeps.until_done(trial_sweeps.expire_due, **RUN),
        roots=server_pids(),
    )
    return [reminded, ended]


def fill(first: int, number: int, *, credits: int) -> None:
    """Create accounts on trial with a due reminder and this many trial credits each."""
    bounds = {"first": first, "last": first + number - 1, "credits": credits}
    with engine().begin() as connection:
        for statement in (_ACCOUNTS, _TRIALS, *(_CREDITS if credits else ())):
            connection.exec_driver_sql(statement, bounds)
    ground.settle()


def _memory_mb() -> float:
    """Return the peak memory of this process."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
