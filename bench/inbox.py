"""The inbox drained by two processes and by one, and the same effect with one transaction a debit.

Two processes, since the machine has two cores and a busy inbox is served with `--scale debits=2`.
The debits one by one are pgbench's (`bench.one_by_one`).
"""

import multiprocessing
import time
from collections.abc import Callable
from functools import partial

from bench import ground, measure, one_by_one
from bench.measure import Result, Row
from bench.stack import server_pids
from billing_client import inbox as door
from worker import logs
from worker.database import engine
from worker.debits.inbox_drain import InboxDrain
from worker.debits.reader import tune_garbage_collector

#: Concurrent drains.
DRAINS = 2
#: Very many accounts.
MANY_FROM, MANY = 2_000_000, 30_000
#: Pause of a drain while the other drain holds all remaining rows.
EMPTY_WAIT_S = 0.005
#: The limit for a client's start.
START_S = 60
#: The account that takes every debit of the hot rows.
HOT = 500
#: Name, number of accounts, the first of them, and drains.
CASES = (
    ("inbox_uniform", ground.ACCOUNTS, 1, DRAINS),
    ("inbox_uniform_alone", ground.ACCOUNTS, 1, 1),
    ("inbox_hot", 1, HOT, DRAINS),
    ("inbox_hot_alone", 1, HOT, 1),
    ("inbox_30k_accounts", MANY, MANY_FROM, DRAINS),
)
RATIOS = (("inbox_uniform", "one_by_one_uniform"), ("inbox_hot", "one_by_one_hot"))


def run(*, count: int, rounds: int) -> Result:
    """Drain `count` rows of all accounts, then of one, `rounds` times. Raises LedgerDisagrees."""
    ground.open_accounts(1)
    ground.open_accounts(MANY_FROM, count=MANY)
    measured: dict[str, list[Row]] = {}
    for _ in range(rounds):
        for name, accounts, first, drains in CASES:
            drained = partial(_drained, name, first=first, accounts=accounts, drains=drains)
            measured.setdefault(name, []).append(measure.lasting(drained, count))
        for row in one_by_one.rows():
            measured.setdefault(row.name, []).append(row)
    ground.check_ledger()
    rows_shown = [measure.median(round_rows) for round_rows in measured.values()]
    pairs = [pair for pair in RATIOS if pair[1] in measured]
    return Result(rows_shown, measure.ratios(rows_shown, pairs))


def _drained(name: str, count: int, *, first: int, accounts: int, drains: int) -> Row:
    raw = engine().raw_connection()
    door.leave(raw.driver_connection, ground.debits(count, first=first, accounts=accounts))
    raw.commit()
    raw.close()
    ground.settle()
    return _at_once(name, count, drains, _drain, ())


def _at_once(
    name: str, count: int, number: int, work: Callable[..., None], args: tuple[object, ...]
) -> Row:
    """Time `number` processes that start the work on `count` items at the same moment."""
    spawn = multiprocessing.get_context("spawn")
    ready, go = spawn.Barrier(number + 1), spawn.Barrier(number + 1)
    processes = [
        spawn.Process(target=work, args=args, kwargs={"ready": ready, "go": go, "number": index})
        for index in range(number)
    ]
    for process in processes:
        process.start()
    ready.wait(START_S)

    def all_done() -> None:
        go.wait()
        for process in processes:
            process.join()

    return measure.timed(name, count, all_done, roots=server_pids())


def _drain(*, ready, go, number: int) -> None:
    """Drain the inbox as a debit reader without other work does."""
    logs.configure()
    drain = InboxDrain()
    tune_garbage_collector()
    engine().connect().close()
    ready.wait(START_S)
    go.wait()
    while _rows_wait():
        while drain.drain_batch():
            pass
        time.sleep(EMPTY_WAIT_S)


def _rows_wait() -> bool:
    with engine().connect() as connection:
        return bool(
            connection.exec_driver_sql("SELECT EXISTS (SELECT FROM billing.inbox)").scalar()
        )
