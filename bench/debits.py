"""Debits from a filled queue to the last commit: ours, a stock no-op, and a naive task.

Then their latency at a steady rate (`bench.latency`). All contestants run on the same servers, in
interleaved rounds; at the end the ledger is audited.
"""

import os
import random
from dataclasses import dataclass
from functools import partial
from typing import Any

import sqlalchemy as sa

from bench import ground, latency, measure, stock, workers
from bench.ground import ACCOUNTS, OPERATIONS, LedgerDisagrees
from bench.measure import Result, Row
from bench.stack import server_pids
from bench.stencil import Stencil, stencil_of
from billing_client import BillingClient, new_key
from billing_client.fields import MAX_DEBITS
from billing_client.messages import Debit
from models.credits import Key
from models.host import CreditTransaction
from worker.database import transaction
from worker.transport import queues

#: The naive task changes the app's balance without our ledger, so it has accounts of its own.
NAIVE_FROM = 1_000_000
PUSHED_AT_ONCE = 500

_QUIET = ("-l", "WARNING", "--without-gossip", "--without-mingle")
_STOCK = ("-A", "bench.stock", "worker", "-c", "2", *_QUIET)


@dataclass(frozen=True, slots=True)
class Contestant:
    """A contestant: its worker's command line, the number of workers, and its part of the count.

    A slow one gets fewer messages, so that all take about as long.
    """

    name: str
    queue: str
    command: tuple[str, ...]
    part: float
    workers: int = 1
    debits_a_message: int = 1


CONTESTANTS = (
    Contestant("celery_door", Debit.QUEUE, workers.READER, part=1.0),
    Contestant("celery_door_2", Debit.QUEUE, workers.READER, part=1.0, workers=2),
    Contestant("debit_many", Debit.QUEUE, workers.READER, part=1.0, debits_a_message=MAX_DEBITS),
    Contestant("no_op", stock.NO_OP, (*_STOCK, "-Q", stock.NO_OP), part=0.1),
    Contestant("naive", stock.NAIVE, (*_STOCK, "-Q", stock.NAIVE), part=0.03),
)
RATIOS = (
    ("celery_door", "no_op"),
    ("celery_door", "naive"),
    ("celery_door_2", "no_op"),
    ("celery_door_2", "naive"),
)


def run(*, count: int, rounds: int) -> Result:
    """Drain `count` debits, or a part of them, with each contestant, `rounds` times.

    Raises LedgerDisagrees, Stalled or WorkerEnded.
    """
    ground.open_accounts(1)
    ground.open_accounts(NAIVE_FROM, is_adopted=False)
    stencils = _stencils()
    measured: dict[str, list[Row]] = {contestant.name: [] for contestant in CONTESTANTS}
    sent: dict[str, int] = {contestant.queue: 0 for contestant in CONTESTANTS}
    for _ in range(rounds):
        for contestant in CONTESTANTS:
            debits = max(int(count * contestant.part), 20)
            _fill(contestant, stencils[contestant.queue], debits)
            measured[contestant.name].append(_drain(contestant, debits))
            sent[contestant.queue] += debits
    _check_ledger(ours=sent[Debit.QUEUE], naive=sent[stock.NAIVE])
    rows = [measure.median(round_rows) for round_rows in measured.values()]
    result = Result(rows, measure.ratios(rows, RATIOS))
    return result + latency.run(count=count, rounds=rounds)


def _stencils() -> dict[str, Stencil]:
    """Make a stencil for each queue from a message that was really sent."""
    redis = queues.connection()
    debit = Debit(1, OPERATIONS[0], new_key())
    client = BillingClient(os.environ["REDIS_URL"])
    stencils = {Debit.QUEUE: stencil_of(redis, Debit.QUEUE, lambda: client.send(debit))}
    for task in (stock.NO_OP, stock.NAIVE):
        send = partial(stock.app.send_task, task, kwargs=debit.arguments())
        stencils[task] = stencil_of(redis, task, send)
    return stencils


def _fill(contestant: Contestant, stencil: Stencil, count: int) -> None:
    """Fill the queue with debits that have time-ordered keys, spread over all accounts."""
    if contestant.debits_a_message > 1:
        BillingClient(os.environ["REDIS_URL"]).debit_many(ground.debits(count))
        return
    redis, chance, queue = queues.connection(), random.Random(count), contestant.queue
    first = NAIVE_FROM if queue == stock.NAIVE else 1
    for start in range(0, count, PUSHED_AT_ONCE):
        debits = [
            Debit(first + chance.randrange(ACCOUNTS), chance.choice(OPERATIONS), new_key())
            for _ in range(min(PUSHED_AT_ONCE, count - start))
        ]
        redis.lpush(queue, *[stencil.cut(debit.arguments()) for debit in debits])


def _drain(contestant: Contestant, count: int) -> Row:
    redis = queues.connection()

    def count_open() -> int:
        waiting = redis.llen(contestant.queue) + queues.in_hand(redis)
        return waiting * contestant.debits_a_message

    with workers.running(contestant.command, number=contestant.workers) as pids:
        return measure.drain(
            contestant.name, count, count_open=count_open, workers=pids, servers=server_pids()
        )


def _check_ledger(*, ours: int, naive: int) -> None:
    """Check that each debit was booked once, and that every invariant of the audit holds."""
    ground.check_ledger()
    with transaction() as ctx:
        of_ours = CreditTransaction.key.is_not(None)
        counts = {
            "keys of ours": (sa.select(sa.func.count(Key.key)), ours + 2 * ACCOUNTS),
            "entries of ours": (_deductions(of_ours), ours + ACCOUNTS),
            "entries of the naive task": (_deductions(~of_ours), naive),
        }
        for what, (query, wanted) in counts.items():
            if (counted := ctx.session.execute(query).scalar_one()) != wanted:
                raise LedgerDisagrees(f"There are {counted} {what}, not {wanted}.")


def _deductions(condition: sa.ColumnElement[bool]) -> sa.Select[Any]:
    return sa.select(sa.func.count(CreditTransaction.id)).where(
        CreditTransaction.type == "deduction", condition
    )
