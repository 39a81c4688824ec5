"""The cost of a debit on a ledger of 10,000 and of 10,000,000 entries."""

import os

import click

from bench import ground, measure
from bench.measure import Result, Row
from bench.stack import server_pids
from billing.usage import post
from billing_client import Debit
from worker.database import AUDIT_S, engine, transaction

BATCH = 500
SMALL, LARGE = 10_000, int(os.environ.get("BENCH_LARGE", "10000000"))
FILLED_AT_ONCE = 500_000

#: Entries like ours, with time-ordered keys of the past; amounts of 0 keep the sums right.
_FILL = """
WITH made AS (
    SELECT 1 + (random() * %(accounts)s)::int %% %(accounts)s AS account_id,
           (lpad(to_hex(1700000000000 + %(start)s + n), 12, '0') || '7'
            || substr(md5(random()::text), 1, 3) || '8' || substr(md5(random()::text), 1, 15)
           )::uuid AS key
    FROM generate_series(1, %(count)s) AS n
), entry AS (
    INSERT INTO igny8_credit_transactions
        (tenant_id, type, amount, balance_after, description, idempotency_key, actor, happened_at,
         units, lots_used, chain)
    SELECT account_id, 'deduction', 0, b.credits, 'clustering', key::text, 'main_app', now(), 1,
           '[[1, 0]]', sha256(key::text::bytea)
    FROM made JOIN billing.books AS b USING (account_id)
    RETURNING id, idempotency_key
)
INSERT INTO billing.keys (key, content, entry_id)
SELECT idempotency_key::uuid, 1, id FROM entry
"""


def run(*, count: int, rounds: int) -> Result:
    """Take debits in batches on a small ledger, fill the ledger, and take as many again.

    The entry hashes of filled-in entries are not checked. Raises LedgerDisagrees.
    """
    ground.open_accounts(1)
    _fill(SMALL, before=0)
    small = _measure("scale_10k", count, rounds)
    _fill(LARGE, before=SMALL)
    large = _measure("scale_10m", count, rounds)
    ground.check_ledger(with_chain=False)
    ratios = {
        "cpu_10m/cpu_10k": round(large.cpu_ms / small.cpu_ms, 2),
        "wal_10m/wal_10k": round((large.wal_bytes or 0) / (small.wal_bytes or 1), 2),
    }
    return Result([small, large], ratios)


def _measure(name: str, count: int, rounds: int) -> Row:
    """Measure the rounds after a first one, which warms up caches and visibility."""
    return measure.median([_taken(name, count) for _ in range(rounds + 1)][1:])


def _taken(name: str, count: int) -> Row:
    debits: list[Debit] = list(ground.debits(count))

    def take_all() -> None:
        for start in range(0, count, BATCH):
            with transaction() as ctx:
                post.apply(ctx, debits[start : start + BATCH])

    before = _wal()
    row = measure.timed(name, count, take_all, roots=server_pids())
    return Row(row.name, row.per_second, row.cpu_ms, wal_bytes=(_wal() - before) / count)


def _wal() -> int:
    with engine().connect() as connection:
        row = connection.exec_driver_sql("SELECT pg_current_wal_lsn() - '0/0'::pg_lsn")
        return int(row.scalar_one())


def _fill(upto: int, *, before: int) -> None:
    """Insert entries like ours, some at a time."""
    done = before
    while done < upto:
        count = min(FILLED_AT_ONCE, upto - done)
        with transaction(statement_timeout_s=AUDIT_S) as ctx:
            ctx.session.connection().exec_driver_sql(
                _FILL, {"accounts": ground.ACCOUNTS, "start": done, "count": count}
            )
        done += count
        click.echo(f"{done:,} entries", err=True)
    ground.settle()
