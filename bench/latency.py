"""Latency from enqueueing to the commit, with 1,000 debits a second for one debit reader."""

import os
import statistics
import time

import click
import sqlalchemy as sa

from bench import ground, workers
from bench.measure import Result, Row
from bench.stencil import stencil_of
from billing_client import BillingClient, Debit, new_key
from worker.database import engine
from worker.transport import queues

OFFERED_A_SECOND = 1000
#: The pause between two bursts of a sender.
EVERY_S = 0.01
WARM_UP_S = 2.0
#: A debit that is not committed by then counts as lost.
LOST_AFTER_S = 60.0

_COMMITTED = """
SELECT extract(epoch FROM pg_xact_commit_timestamp(e.xmin))
FROM unnest(CAST(:keys AS uuid[])) WITH ORDINALITY AS asked (key, number)
JOIN billing.keys AS k USING (key) JOIN igny8_credit_transactions AS e ON e.id = k.entry_id
ORDER BY number
"""


def run(*, count: int, rounds: int) -> Result:
    """Send a third of `count` debits at a steady rate, and read from Postgres when each was committed.

    Without `track_commit_timestamp` in Postgres nothing is measured. Raises click.ClickException if
    a debit was lost, and LedgerDisagrees.
    """
    del rounds  # one long run says more than several short ones
    with engine().connect() as connection:
        if connection.exec_driver_sql("SHOW track_commit_timestamp").scalar() != "on":
            click.echo(
                "Latency is not measured: Postgres has track_commit_timestamp = off.", err=True
            )
            return Result()
    ground.open_accounts(1)
    # Prepared in advance, since a real sender has a machine of its own.
    warm_up = list(ground.debits(int(OFFERED_A_SECOND * WARM_UP_S)))
    debits = list(ground.debits(max(count // 3, 200)))
    first, raws = _messages(warm_up), _messages(debits)
    with workers.running(workers.READER):
        # Twice: the first time includes the worker's start.
        for _ in range(2):
            _offer(first)
            waited_for([debit.key for debit in warm_up])
        sent = _offer(raws)
        committed = waited_for([debit.key for debit in debits])
    waits = sorted([(end - begun) * 1000 for begun, end in zip(sent, committed, strict=True)])
    row = Row(
        "celery_door_at_1000",
        OFFERED_A_SECOND,
        0.0,
        p50_ms=round(statistics.median(waits), 1),
        p99_ms=round(waits[int(len(waits) * 0.99)], 1),
    )
    ground.check_ledger()
    return Result([row])


def _messages(debits: list[Debit]) -> list[bytes]:
    client = BillingClient(os.environ["REDIS_URL"])
    opening = Debit(1, ground.OPERATIONS[0], new_key())
    stencil = stencil_of(queues.connection(), Debit.QUEUE, lambda: client.send(opening))
    return [stencil.cut(debit.arguments()) for debit in debits]


def _offer(raws: list[bytes]) -> list[float]:
    """Send at a steady rate; return when each message was sent."""
    redis = queues.connection()
    sent: list[float] = []
    burst = int(OFFERED_A_SECOND * EVERY_S)
    began = time.monotonic()
    for turn, start in enumerate(range(0, len(raws), burst)):
        time.sleep(max(began + turn * EVERY_S - time.monotonic(), 0))
        part = raws[start : start + burst]
        sent += [time.time()] * len(part)
        redis.lpush(Debit.QUEUE, *part)
    return sent


def waited_for(keys: list[str]) -> list[float]:
    """Wait until all debits are committed; return when each was, by the machine's clock."""
    until = time.monotonic() + LOST_AFTER_S
    while time.monotonic() < until:
        with engine().connect() as connection:
            rows = connection.execute(sa.text(_COMMITTED), {"keys": keys})
            committed = [float(row[0]) for row in rows]
        if len(committed) == len(keys):
            return committed
        time.sleep(0.2)
    raise click.ClickException(f"{len(keys) - len(committed)} debits were never committed.")
