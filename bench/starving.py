"""The latency of debits and grants while very many trials end in the same minute."""

import os
import statistics
import time

import click
import sqlalchemy as sa

from bench import ground, latency, workers
from bench.measure import Result, Row
from bench.sweeps import fill
from billing_client import BillingClient, Grant, new_key
from tasks.life import expire_due, remind_due
from worker.database import engine

#: Trials for each of `count`: half of them end, half of them are reminded.
SHARE = 2
FIRST = 30_000_000
CREDITS = 2000
#: The rate of debits, the number of debits for each grant, and the longest time to send them.
DEBITS_A_SECOND = 100
GRANT_EVERY = 20
LONGEST_S = 60.0
#: Seconds of the measurement without sweeps for each of `count`, and its bounds.
ALONE_S, SHORTEST_S, LONGEST_ALONE_S = 1 / 4000, 0.5, 5.0
#: The other worker: two children for all the other queues.
GENERAL = ("-A", "worker.app", "worker", "-Q", "credits,bank,maintenance,stripe", "-c", "2")


def run(*, count: int, rounds: int) -> Result:
    """Send debits and grants to both workers, first without and then with the sweeps of trials.

    Raises click.ClickException if a message was lost, and LedgerDisagrees.
    """
    del rounds
    with engine().connect() as connection:
        if connection.exec_driver_sql("SHOW track_commit_timestamp").scalar() != "on":
            click.echo(
                "Latency is not measured: Postgres has track_commit_timestamp = off.", err=True
            )
            return Result()
    ground.open_accounts(1)
    number = count * SHARE
    fill(FIRST, number, credits=CREDITS)
    _fall_due(FIRST + number // 2)
    with workers.running(workers.READER), workers.running(GENERAL):
        alone_s = min(max(count * ALONE_S, SHORTEST_S), LONGEST_ALONE_S)
        _offered("warm_up", alone_s)
        rows = _offered("alone", alone_s)
        remind_due.apply_async()
        expire_due.apply_async()
        began = time.monotonic()
        rows += _offered("during_sweeps", LONGEST_S, until_swept=True)
        swept_a_second = number / (time.monotonic() - began)
    ground.check_ledger(with_chain=False)
    return Result([*rows, Row("trials_swept_meanwhile", round(swept_a_second), 0.0)])


def _fall_due(first_that_ends: int) -> None:
    """Let half of the trials end now, without reminders; the others are due for a reminder."""
    with engine().begin() as connection:
        connection.execute(
            sa.text(
                "UPDATE billing.trials SET ends_at = now(), suspends_at = now(),"
                " next_reminder_at = NULL WHERE account_id >= :first"
            ),
            {"first": first_that_ends},
        )
        connection.execute(
            sa.text(
                "INSERT INTO billing.trial_confirmations (confirmed_until, actor, recorded_at)"
                " VALUES (now(), 'operator:bench', now())"
            )
        )
    ground.settle()


def _is_swept() -> bool:
    query = "SELECT EXISTS (SELECT FROM billing.trials WHERE ended_at IS NULL AND (suspends_at <= now() OR next_reminder_at <= now()))"
    with engine().connect() as connection:
        return not connection.execute(sa.text(query)).scalar()


def _offered(when: str, longest_s: float, *, until_swept: bool = False) -> list[Row]:
    client = BillingClient(os.environ["REDIS_URL"])
    debits: dict[str, float] = {}
    grants: dict[str, float] = {}
    turn, began = 0, time.monotonic()
    while time.monotonic() < began + longest_s:
        if turn % DEBITS_A_SECOND == 0 and until_swept and _is_swept():
            break
        for debit in ground.debits(1):
            debits[debit.key] = time.time()
            client.send(debit)
        if turn % GRANT_EVERY == 0:
            grant = Grant(1, 1, "goodwill", new_key())
            grants[grant.key] = time.time()
            client.send(grant)
        turn += 1
        time.sleep(max(began + turn / DEBITS_A_SECOND - time.monotonic(), 0))
    took = time.monotonic() - began
    return [_row(f"debits_{when}", debits, took), _row(f"grants_{when}", grants, took)]


def _row(name: str, sent: dict[str, float], took: float) -> Row:
    ends = latency.waited_for(list(sent))
    waits = sorted([(end - begun) * 1000 for begun, end in zip(sent.values(), ends, strict=True)])
    return Row(
        name,
        round(len(sent) / took),
        0.0,
        p50_ms=round(statistics.median(waits), 1),
        p99_ms=round(waits[int(len(waits) * 0.99)], 1),
    )
