"""Delivery of events: a backlog of many accounts to receivers that answer at once, or after 50 ms."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import sqlalchemy as sa

from bench import ground, measure
from bench.measure import Result, Row
from bench.stack import server_pids
from flows.events import deliver_due
from gateways.webhooks import Webhooks
from worker.database import engine

#: Events for each of `count`: fast ones, and a part of them to the slow receiver.
SHARE, SLOW_PART = 1.0, 0.2
ACCOUNTS = 1000
#: Seconds after which the slow receiver answers.
SLOW_S = 0.05
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
#: A run goes on until the backlog is sent.
BUDGET_S = 600.0
_LEAVE = """
INSERT INTO billing.outbox (type, account_id, payload, happened_at, due_at)
SELECT 'account.activated', 1 + n % :accounts,
       '{"status_from": "trial", "status_to": "active", "reason": "paid", "actor": "bank"}',
       now(), now()
FROM generate_series(1, :count) AS n
"""


def run(*, count: int, rounds: int) -> Result:
    """Deliver a backlog to a fast receiver, and a smaller one to a slow receiver."""
    ground.open_accounts(1, count=ACCOUNTS)
    measured: dict[str, list[Row]] = {}
    for _ in range(rounds):
        for name, part, answers_after_s in (("", 1.0, 0.0), ("_slow", SLOW_PART, SLOW_S)):
            number = max(int(count * SHARE * part), 20)
            leave(number, accounts=ACCOUNTS)
            with receiver(answers_after_s) as url:
                to = [Webhooks(url, [SECRET])]
                row = measure.timed(
                    f"events_delivered{name}",
                    number,
                    lambda to=to: deliver_due(to, budget_s=BUDGET_S),
                    roots=server_pids(),
                )
            measured.setdefault(row.name, []).append(row)
    return Result([measure.median(rows) for rows in measured.values()])


def leave(count: int, *, accounts: int) -> None:
    """Leave events of these many accounts in turn."""
    with engine().begin() as connection:
        connection.execute(sa.text(_LEAVE), {"count": count, "accounts": accounts})
    ground.settle()


@contextmanager
def receiver(answers_after_s: float) -> Iterator[str]:
    """Start a receiver in a process of its own, as another machine's would be; yield its URL."""
    command = [sys.executable, "-m", "bench.receiver", str(answers_after_s)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield f"http://127.0.0.1:{int(process.stdout.readline())}/events"
        finally:
            process.kill()
