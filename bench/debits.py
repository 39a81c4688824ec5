"""Debits from a filled queue to the last commit: ours, a stock no-op, and a naive task.

Then their latency at a steady rate (`bench.latency`). All contestants run on the same servers, in
interleaved rounds; at the end the ledger is audited.
"""

import os
import random
from collections import Counter
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
#: Very many accounts.
MANY_FROM, MANY = 2_000_000, 30_000
#: What an app may keep with an entry.
METADATA = {"site": 17, "post": 4711, "model": "gpt-large", "prompt": "x" * 120}
PUSHED_AT_ONCE = 500

_QUIET = ("-l", "WARNING", "--without-gossip", "--without-mingle")
_STOCK = ("-A", "bench.stock", "worker", *_QUIET)
_TWO, _SOLO = ("-c", "2"), ("--pool", "solo")


@dataclass(frozen=True, slots=True)
class Contestant:
    """A contestant: its worker's command line, the number of workers, and its part of the count.

    A slow one gets fewer messages, so that all take about as long. The debits are those of
    `accounts` accounts from `first` on.
    """

    name: str
    queue: str
    command: tuple[str, ...]
    part: float
    workers: int = 1
    debits_a_message: int = 1
    first: int = 1
    accounts: int = ACCOUNTS
    metadata: dict[str, object] | None = None


def _stock(name: str, queue: str, pool: tuple[str, ...], part: float, number: int) -> Contestant:
    """Make a contestant of the stock app, in one of the ways in which it may be the fastest."""
    first = NAIVE_FROM if queue == stock.NAIVE else 1
    command = (*_STOCK, "-Q", queue, *pool)
    return Contestant(name, queue, command, part, workers=number, first=first)


CONTESTANTS = (
    Contestant("celery_door", Debit.QUEUE, workers.READER, part=1.0),
    Contestant("celery_door_2", Debit.QUEUE, workers.READER, part=1.0, workers=2),
    Contestant("debit_many", Debit.QUEUE, workers.READER, part=1.0, debits_a_message=MAX_DEBITS),
    Contestant(
        "celery_door_30k_accounts",
        Debit.QUEUE,
        workers.READER,
        part=1.0,
        first=MANY_FROM,
        accounts=MANY,
    ),
    Contestant("celery_door_metadata", Debit.QUEUE, workers.READER, part=1.0, metadata=METADATA),
    _stock("no_op", stock.NO_OP, _TWO, 0.1, 1),
    _stock("no_op_2", stock.NO_OP, _TWO, 0.1, 2),
    _stock("no_op_solo", stock.NO_OP, _SOLO, 0.1, 1),
    _stock("naive", stock.NAIVE, _TWO, 0.03, 1),
    _stock("naive_2", stock.NAIVE, _TWO, 0.03, 2),
    _stock("naive_solo", stock.NAIVE, _SOLO, 0.03, 1),
)
#: The ways of the stock app; the fastest of each is the peer.
NO_OPS = ("no_op", "no_op_2", "no_op_solo")
NAIVES = ("naive", "naive_2", "naive_solo")


def run(*, count: int, rounds: int) -> Result:
    """Drain `count` debits, or a part of them, with each contestant, `rounds` times.

    Raises LedgerDisagrees, Stalled or WorkerEnded.
    """
    ground.open_accounts(1)
    ground.open_accounts(MANY_FROM, count=MANY)
    ground.open_accounts(NAIVE_FROM, is_adopted=False)
    stencils = _stencils()
    measured: dict[str, list[Row]] = {contestant.name: [] for contestant in CONTESTANTS}
    sent = Counter[str]()

    def drained(contestant: Contestant, debits: int) -> Row:
        _fill(contestant, stencils[contestant.queue], debits)
        sent[contestant.queue] += debits
        return _drain(contestant, debits)

    for _ in range(rounds):
        for contestant in CONTESTANTS:
            debits = max(int(count * contestant.part), 20)
            row = measure.lasting(partial(drained, contestant), debits)
            measured[contestant.name].append(row)
    _check_ledger(ours=sent[Debit.QUEUE], naive=sent[stock.NAIVE])
    rows = [measure.median(round_rows) for round_rows in measured.values()]
    peers = [measure.best_of(rows, names) for names in (NO_OPS, NAIVES)]
    pairs = [(ours, peer) for ours in ("celery_door", "celery_door_2") for peer in peers]
    result = Result(rows, measure.ratios(rows, pairs))
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
    first, accounts, metadata = contestant.first, contestant.accounts, contestant.metadata
    for start in range(0, count, PUSHED_AT_ONCE):
        debits = [
            Debit(
                first + chance.randrange(accounts),
                chance.choice(OPERATIONS),
                new_key(),
                metadata=metadata,
            )
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
    adopted = ACCOUNTS + MANY
    with transaction() as ctx:
        of_ours = CreditTransaction.key.is_not(None)
        counts = {
            "keys of ours": (sa.select(sa.func.count(Key.key)), ours + 2 * adopted),
            "entries of ours": (_deductions(of_ours), ours + adopted),
            "entries of the naive task": (_deductions(~of_ours), naive),
        }
        for what, (query, wanted) in counts.items():
            if (counted := ctx.session.execute(query).scalar_one()) != wanted:
                raise LedgerDisagrees(f"There are {counted} {what}, not {wanted}.")


def _deductions(condition: sa.ColumnElement[bool]) -> sa.Select[Any]:
    return sa.select(sa.func.count(CreditTransaction.id)).where(
        CreditTransaction.type == "deduction", condition
    )
