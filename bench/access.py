"""Who is let in: one read by account, and one by API key, among many accounts."""

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
#: Reads of one kind before the next kind's turn, and those that Postgres is asked to explain.
SLICE, EXPLAINED = 100, 500


def run(*, count: int, rounds: int) -> Result:
    """Read `count` times by each, on one connection, as a request of the main app would.

    `bare_select` is `SELECT 1` beside it: what the machine and the wire cost alone.
    """
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
    with raw.cursor() as cursor:
        reads: dict[str, Callable[[int], object]] = {
            "access_by_account": lambda n: access(raw.driver_connection, ids[n]),
            "access_by_key": lambda n: access(raw.driver_connection, api_key=keys[n]),
            "bare_select": lambda _: cursor.execute("SELECT 1"),
        }
        measured = [_measured(reads, count) for _ in range(rounds)]
        rows = [measure.median(of_one) for of_one in zip(*measured, strict=True)]
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
    """Each read in turns of a slice, so that what else the machine does meets all of them."""
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


def _server_ms(cursor: Any, asked: list[tuple[int | None, str | None]]) -> dict[str, float]:
    """How long Postgres itself works on a read, with its planning: what the wire adds is left out."""
    took = []
    for each in asked:
        cursor.execute("EXPLAIN (ANALYZE, FORMAT JSON) SELECT * FROM billing.access(%s, %s)", each)
        (plan,) = cursor.fetchone()[0]
        took.append(plan["Planning Time"] + plan["Execution Time"])
    took.sort()
    return {"p50": round(_at(took, 50), 3), "p99": round(_at(took, 99), 3)}
