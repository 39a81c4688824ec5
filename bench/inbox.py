"""The inbox drained by two processes and by one, and the same effect with one transaction a debit.

Two processes, since the machine has two cores and a busy inbox is served with `--scale debits=2`.
"""

import multiprocessing
import time
from collections.abc import Callable

import psycopg2

from bench import ground, measure
from bench.measure import Result, Row
from bench.stack import server_pids
from billing_client import inbox as door
from billing_client import new_key
from worker import logs
from worker.database import engine
from worker.debits.inbox_drain import InboxDrain
from worker.debits.reader import tune_garbage_collector

#: Concurrent drains, and clients of the one-by-one way.
DRAINS, CLIENTS = 2, 8
#: Pause of a drain while the other drain holds all remaining rows.
EMPTY_WAIT_S = 0.005
#: The limit for a client's start.
START_S = 60
#: The part of the count for the one-by-one way, which is slower.
PART = 0.3
#: The account that takes every debit of the hot rows.
HOT = 500
#: Separate accounts for the one-by-one way, which bypasses our ledger.
ONE_BY_ONE_FROM = 3_000_000
RATIOS = (("inbox_uniform", "one_by_one_uniform"), ("inbox_hot", "one_by_one_hot"))

#: The effect of a debit in one statement and one round trip, without our checks.
_ONE_DEBIT = """
WITH account AS (SELECT id, credits FROM igny8_tenants WHERE id = %(id)s FOR NO KEY UPDATE),
key AS (INSERT INTO billing.keys (key, content, entry_id) VALUES (%(key)s, 1, NULL)),
lot AS (UPDATE billing.lots SET remaining = remaining - 2
        WHERE account_id = (SELECT id FROM account) AND is_open),
book AS (UPDATE billing.books SET credits = credits - 2
         WHERE account_id = (SELECT id FROM account)),
entry AS (INSERT INTO igny8_credit_transactions
    (tenant_id, type, amount, balance_after, description, idempotency_key, actor, happened_at,
     lots_used, units)
    SELECT id, 'deduction', -2, credits - 2, 'image_prompt_extraction', %(key)s, 'main_app', now(),
           '[[1, -2]]', 1 FROM account)
UPDATE igny8_tenants SET credits = credits - 2 WHERE id = (SELECT id FROM account)
"""


def run(*, count: int, rounds: int) -> Result:
    """Drain `count` rows of all accounts, then of one, `rounds` times. Raises LedgerDisagrees."""
    ground.open_accounts(1)
    measured: dict[str, list[Row]] = {}
    for _ in range(rounds):
        for name, accounts, first in (("uniform", ground.ACCOUNTS, 1), ("hot", 1, HOT)):
            rows = (
                _drained(f"inbox_{name}", count, first, accounts, drains=DRAINS),
                _drained(f"inbox_{name}_alone", count, first, accounts, drains=1),
                _one_by_one(f"one_by_one_{name}", int(count * PART), accounts),
            )
            for row in rows:
                measured.setdefault(row.name, []).append(row)
    ground.check_ledger()
    rows_shown = [measure.median(round_rows) for round_rows in measured.values()]
    return Result(rows_shown, dict(measure.ratios(rows_shown, RATIOS)))


def _drained(name: str, count: int, first: int, accounts: int, *, drains: int) -> Row:
    raw = engine().raw_connection()
    door.leave(raw.driver_connection, ground.debits(count, first=first, accounts=accounts))
    raw.commit()
    raw.close()
    ground.settle()
    return _at_once(name, count, drains, _drain, ())


def _one_by_one(name: str, count: int, accounts: int) -> Row:
    """Debit one by one on the same tables with separate accounts, and delete them afterwards."""
    share = count // CLIENTS
    url = engine().url.set(drivername="postgresql").render_as_string(hide_password=False)
    _prepare_one_by_one()
    row = _at_once(name, share * CLIENTS, CLIENTS, _client, (url, share, accounts))
    _forget_one_by_one()
    return row


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


def _client(url: str, count: int, accounts: int, *, ready, go, number: int) -> None:
    connection = psycopg2.connect(url)
    connection.autocommit = True
    ready.wait(START_S)
    go.wait()
    with connection.cursor() as cursor:
        for turn in range(count):
            account_id = ONE_BY_ONE_FROM + (turn * CLIENTS + number) * 7 % accounts
            cursor.execute(_ONE_DEBIT, {"id": account_id, "key": new_key()})


def _prepare_one_by_one() -> None:
    ground.open_accounts(ONE_BY_ONE_FROM)
    _run(
        "DELETE FROM billing.keys k USING igny8_credit_transactions e"
        f" WHERE e.id = k.entry_id AND e.tenant_id >= {ONE_BY_ONE_FROM}"
    )


def _forget_one_by_one() -> None:
    """Delete what bypassed the ledger and would fail its audit."""
    for statement in (
        f"DELETE FROM igny8_credit_transactions WHERE tenant_id >= {ONE_BY_ONE_FROM}",
        f"DELETE FROM billing.lots WHERE account_id >= {ONE_BY_ONE_FROM}",
        f"DELETE FROM billing.books WHERE account_id >= {ONE_BY_ONE_FROM}",
        f"DELETE FROM igny8_tenants WHERE id >= {ONE_BY_ONE_FROM}",
    ):
        _run(f"SET LOCAL session_replication_role = replica; {statement}")


def _run(statement: str) -> None:
    with engine().begin() as connection:
        connection.exec_driver_sql(statement)
