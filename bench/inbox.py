"""The inbox drained by one process, and the same effect one debit a transaction, by 8 clients."""

import multiprocessing

import psycopg2

from bench import ground, measure
from bench.measure import Result, Row
from bench.stack import server_pids
from billing_client import inbox as door
from billing_client import new_key
from worker.database import engine
from worker.debit_reader import tune_python
from worker.inbox_drain import InboxDrain

CLIENTS = 8
#: A client that has not connected by then never will.
START_S = 60
#: The one-by-one way gets so much of the count: it is that much slower.
PART = 0.3
#: The account that takes every debit of the hot rows.
HOT = 500
#: Accounts of their own for the way that goes past the books.
ONE_BY_ONE_FROM = 3_000_000
RATIOS = (("inbox_uniform", "one_by_one_uniform"), ("inbox_hot", "one_by_one_hot"))

#: All that a debit does, in one statement and one round trip; what it lacks is our checks.
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
    """Drain `count` rows over all accounts, then over one, `rounds` times. Raises BooksDisagree."""
    ground.open_accounts(1)
    measured: dict[str, list[Row]] = {}
    for _ in range(rounds):
        for name, accounts, first in (("uniform", ground.ACCOUNTS, 1), ("hot", 1, HOT)):
            rows = (
                _drained(f"inbox_{name}", count, first, accounts),
                _one_by_one(f"one_by_one_{name}", int(count * PART), accounts),
            )
            for row in rows:
                measured.setdefault(row.name, []).append(row)
    ground.check_books()
    rows_shown = [measure.median(each) for each in measured.values()]
    return Result(rows_shown, dict(measure.ratios(rows_shown, RATIOS)))


def _drained(name: str, count: int, first: int, accounts: int) -> Row:
    raw = engine().raw_connection()
    door.leave(raw.driver_connection, ground.debits(count, first=first, accounts=accounts))
    raw.commit()
    raw.close()
    ground.settle()
    drain = InboxDrain()
    tune_python()  # as the reader does, in which the drain runs

    def until_empty() -> None:
        while drain.drain_one_set():
            pass

    return measure.timed(name, count, until_empty, roots=server_pids())


def _one_by_one(name: str, count: int, accounts: int) -> Row:
    """A schema of its own would be fairer to nobody: same tables, other accounts, undone after."""
    share = count // CLIENTS
    url = engine().url.set(drivername="postgresql").render_as_string(hide_password=False)
    _prepare_one_by_one()
    spawn = multiprocessing.get_context("spawn")
    ready, go = spawn.Barrier(CLIENTS + 1), spawn.Barrier(CLIENTS + 1)
    clients = [
        spawn.Process(
            target=_client,
            args=(url, share, accounts),
            kwargs={"ready": ready, "go": go, "number": number},
        )
        for number in range(CLIENTS)
    ]
    for client in clients:
        client.start()
    ready.wait(START_S)

    def all_done() -> None:
        go.wait()
        for client in clients:
            client.join()

    row = measure.timed(name, share * CLIENTS, all_done, roots=server_pids())
    _forget_one_by_one()
    return row


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
    """What went past the books would not pass their audit."""
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
