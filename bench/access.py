"""Who is let in: one read by account, and one by API key, among many accounts."""

import random
import time
from collections.abc import Callable

import sqlalchemy as sa

from bench import ground, measure
from bench.measure import Result, Row
from bench.stack import server_pids
from billing_client import access
from worker.database import engine

#: Accounts for each read that is measured: 100,000 unless told otherwise.
SHARE = 5
#: One in ten is suspended, for one reason or two.
FILL = (
    """INSERT INTO igny8_plans (id, slug, name, price, included_credits, max_sites, max_users)
    VALUES (1000, 'bench', 'bench', 0, 1000, 1, 1) ON CONFLICT DO NOTHING""",
    """INSERT INTO igny8_tenants (id, name, slug, plan_id, status)
    SELECT n, 'n', 'access-' || n, 1000, CASE WHEN n % 10 = 0 THEN 'suspended' ELSE 'active' END
    FROM generate_series(:first, :last) AS n""",
    """INSERT INTO igny8_sites (tenant_id, name, slug, wp_api_key)
    SELECT n, 'n', 's', md5(n::text) FROM generate_series(:first, :last) AS n""",
    """INSERT INTO billing.suspensions (account_id, reason, actor, status_before, since)
    SELECT n, reason, 'x', 'active', now()
    FROM generate_series(:first, :last) AS n, unnest(ARRAY['payment_failed', 'manual']) AS reason
    WHERE n % 10 = 0 AND (reason = 'manual' OR n % 20 = 0)""",
)
FIRST = 10_000_000


def run(*, count: int, rounds: int) -> Result:
    """Read `count` times by each, on one connection, as a request of the main app would."""
    accounts = count * SHARE
    with engine().begin() as connection:
        for statement in FILL:
            asked = {"first": FIRST, "last": FIRST + accounts - 1}
            wanted = {name: asked[name] for name in asked if f":{name}" in statement}
            connection.execute(sa.text(statement), wanted)
    ground.settle()
    chance = random.Random(count)
    ids = [FIRST + chance.randrange(accounts) for _ in range(count)]
    with engine().connect() as connection:
        made = connection.execute(
            sa.text("SELECT id, md5(id::text) FROM unnest(:ids) AS id"), {"ids": ids}
        )
        keys = [row[1] for row in made]
    raw = engine().raw_connection()
    reads: dict[str, Callable[[int], object]] = {
        "access_by_account": lambda n: access(raw.driver_connection, ids[n]),
        "access_by_key": lambda n: access(raw.driver_connection, api_key=keys[n]),
    }
    rows = [
        measure.median([_measured(name, read, count) for _ in range(rounds)])
        for name, read in reads.items()
    ]
    raw.close()
    return Result(rows)


def _measured(name: str, read: Callable[[int], object], count: int) -> Row:
    took: list[float] = []

    def read_all() -> None:
        for number in range(count):
            began = time.perf_counter()
            read(number)
            took.append((time.perf_counter() - began) * 1000)

    row = measure.timed(name, count, read_all, roots=server_pids())
    took.sort()
    return Row(
        name,
        row.per_second,
        row.cpu_ms,
        p50_ms=round(took[len(took) // 2], 3),
        p99_ms=round(took[len(took) * 99 // 100], 3),
    )
