"""Accounts whose credit cycle ends in the same minute: renewals a second of the sweep."""

from bench import ground, measure
from bench.measure import Result, Row
from bench.stack import server_pids
from bench.sweeps import RUN
from billing.renewal import renewals
from flows import sweeps
from worker.database import engine

#: Accounts for each of `count`: 20,000 by default.
SHARE = 1
FIRST = 40_000_000
PLANS = {"": 4_000, "_with_rollover": 4_001}
CREDITS, LEFT, CAP = 1000, 400, 200
_PLANS = (
    """INSERT INTO igny8_plans (id, slug, name, price, included_credits, max_sites, max_users)
    SELECT n, 'renewal-' || n, 'renewal', 0, 1000, 1, 1 FROM generate_series(4000, 4001) AS n
    ON CONFLICT DO NOTHING""",
    """INSERT INTO billing.plan_policies (plan_id, debt_limit, rollover_cap) VALUES (4001, 0, 200)
    ON CONFLICT DO NOTHING""",
)
#: As a month leaves them: credits are left of the period that is over.
_FILL = (
    """INSERT INTO igny8_tenants (id, name, slug, plan_id, status, credits, created_at)
    SELECT n, 'n', 'renewal-' || n, %(plan)s, 'active', %(left)s, now() - interval '1 month'
    FROM generate_series(%(first)s, %(last)s) AS n""",
    """INSERT INTO billing.books (account_id, credits, debt, debt_limit, opened_at,
                                  opening_credits, chain)
    SELECT n, %(left)s, 0, 0, now() - interval '1 month', 0, sha256(n::text::bytea)
    FROM generate_series(%(first)s, %(last)s) AS n""",
    """INSERT INTO billing.credit_calendars (account_id, anchor_at, period_number, first_period,
                                             next_due_at, plan_id, recorded_at)
    SELECT n, at - interval '1 month', 1, 1, at, %(plan)s, at - interval '1 month'
    FROM generate_series(%(first)s, %(last)s) AS n, now() AS at""",
    """INSERT INTO billing.lots (account_id, source, priority, is_promotional, granted, remaining,
                                 expires_at, key, period_number, recorded_at)
    SELECT account_id, 'plan', 20, false, %(granted)s, %(left)s, next_due_at, 'bench:' || account_id,
           1, recorded_at
    FROM billing.credit_calendars WHERE account_id BETWEEN %(first)s AND %(last)s""",
    """INSERT INTO igny8_credit_transactions (tenant_id, type, amount, balance_after, description,
        idempotency_key, actor, happened_at, lots_used, chain)
    SELECT account_id, 'grant', %(left)s, %(left)s, 'plan', key, 'billing', recorded_at,
           jsonb_build_array(jsonb_build_array(id, %(left)s)), sha256(account_id::text::bytea)
    FROM billing.lots WHERE account_id BETWEEN %(first)s AND %(last)s""",
)


def run(*, count: int, rounds: int) -> Result:
    """Renew accounts whose rest expires, then accounts whose rest rolls over in part.

    Raises LedgerDisagrees.
    """
    number = count * SHARE
    measured: dict[str, list[Row]] = {}
    first = FIRST
    for _ in range(rounds):
        for suffix, plan in PLANS.items():
            fill(first, number, plan=plan)
            row = measure.timed(f"renewals{suffix}", number, renew_all, roots=server_pids())
            measured.setdefault(row.name, []).append(row)
            first += number
    ground.check_ledger(with_chain=False)
    return Result([measure.median(rows) for rows in measured.values()])


def renew_all() -> None:
    """Renew all that is due, as the task does but for its time limit."""
    sweeps.until_done(renewals.sweep_due, **RUN)


def fill(first: int, number: int, *, plan: int = PLANS[""]) -> None:
    """Create accounts whose first period ends now, with credits left."""
    values = {
        "first": first,
        "last": first + number - 1,
        "plan": plan,
        "granted": CREDITS,
        "left": LEFT,
    }
    with engine().begin() as connection:
        for statement in _PLANS:
            connection.exec_driver_sql(statement)
        for statement in _FILL:
            connection.exec_driver_sql(statement, values)
    ground.settle()
