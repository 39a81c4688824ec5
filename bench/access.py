"""Access control: one read by account and one by API key, among many accounts."""

import random
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import sqlalchemy as sa

from bench import ground, measure
from bench.measure import Result, Row
from bench.stack import server_pids
from billing_client import access
from worker.database import engine

#: Accounts for each measured read: 100,000 by default.
SHARE = 5
#: One account in ten is suspended, for one or two reasons.
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
#: Reads of one kind before the next kind's turn, and reads for which Postgres explains its plan.
SLICE, EXPLAINED = 100, 500


def run(*, count: int, rounds: int) -> Result:
    """Read `count` times in each way, on one connection, as a request of the main app would.

    `bare_select` is `SELECT 1`: the cost of the machine and the connection alone.
    """
    accounts = count * SHARE
    with engine().begin() as connection:
        for statement in FILL:
            bounds = {"first": FIRST, "last": FIRST + accounts - 1}
            values = {name: bounds[name] for name in bounds if f":{name}" in statement}
            connection.execute(sa.text(statement), values)
    ground.settle()
    chance = random.Random(count)
    ids = [FIRST + chance.randrange(accounts) for _ in range(count)]
    with engine().connect() as connection:
        result = connection.execute(
            sa.text("SELECT id, md5(id::text) FROM unnest(:ids) AS id"), {"ids": ids}
        )
        keys = [row[1] for row in result]
    raw = engine().raw_connection()
    with raw.cursor() as cursor:
        reads: dict[str, Callable[[int], object]] = {
            "access_by_account": lambda n: access(raw.driver_connection, ids[n]),
            "access_by_key": lambda n: access(raw.driver_connection, api_key=keys[n]),
            "bare_select": lambda _: cursor.execute("SELECT 1"),
        }
        measured = [_measured(reads, count) for _ in range(rounds)]
        rows = [measure.median(round_rows) for round_rows in zip(*measured, strict=True)]
        server = {
            "access_by_account": _server_ms(cursor, [(id, None) for id in ids[:EXPLAINED]]),
            "access_by_key": _server_ms(cursor, [(None, key) for key in keys[:EXPLAINED]]),
        }
    raw.close()
    p99 = {row.name: row.p99_ms or 0.0 for row in rows}
    beside = {
        f"{name}/bare_select p99": round(p99[name] / (p99["bare_select"] or 1), 2)
        for name in server
    }
    return Result(rows, beside, {"server_ms": server})


def _measured(reads: dict[str, Callable[[int], object]], count: int) -> list[Row]:
    """Take the reads in turns, so that the machine's other load affects all of them."""
    took: dict[str, list[float]] = {name: [] for name in reads}
    cpu_ms = dict.fromkeys(reads, 0.0)
    pids = server_pids()
    for first in range(0, count, SLICE):
        numbers = range(first, min(first + SLICE, count))
        for name, read in reads.items():
            work = partial(_read_all, read, numbers, took[name])
            cpu_ms[name] += measure.timed(name, 1, work, roots=pids).cpu_ms
    return [_row(name, sorted(took[name]), cpu_ms[name]) for name in reads]


def _read_all(read: Callable[[int], object], numbers: range, took: list[float]) -> None:
    for number in numbers:
        began = time.perf_counter()
        read(number)
        took.append((time.perf_counter() - began) * 1000)


def _row(name: str, took: list[float], cpu_ms: float) -> Row:
    return Row(
        name,
        len(took) * 1000 / sum(took),
        cpu_ms / len(took),
        p50_ms=round(_at(took, 50), 3),
        p99_ms=round(_at(took, 99), 3),
    )


def _at(took: list[float], percent: int) -> float:
    return took[len(took) * percent // 100]


def _server_ms(cursor: Any, arguments: list[tuple[int | None, str | None]]) -> dict[str, float]:
    """Return the time of Postgres itself for a read, planning included, without the connection."""
    took = []
    for pair in arguments:
        cursor.execute("EXPLAIN (ANALYZE, FORMAT JSON) SELECT * FROM billing.access(%s, %s)", pair)
        (plan,) = cursor.fetchone()[0]
        took.append(plan["Planning Time"] + plan["Execution Time"])
    took.sort()
    return {"p50": round(_at(took, 50), 3), "p99": round(_at(took, 99), 3)}
