"""Senders: debits a second that one process of the main app hands over, by each door."""

import os
from collections.abc import Callable
from functools import partial

import sqlalchemy as sa

from bench import ground, measure
from bench.measure import Result, Row
from bench.stack import server_pids
from billing_client import BillingClient, inbox
from billing_client.messages import Debit
from worker.database import engine
from worker.transport import queues

#: Debits that are sent together where a door takes many.
TOGETHER = 100
#: The parts of the count: a message or a transaction for each debit is slower.
ONE_PART = 0.2


def run(*, count: int, rounds: int) -> Result:
    """Send debits one by one and together, as messages and as rows of the app's transactions."""
    ground.open_accounts(1)
    client = BillingClient(os.environ["REDIS_URL"])
    ways: dict[str, tuple[float, Callable[[list[Debit]], object]]] = {
        "send_message": (ONE_PART, lambda debits: [client.send(debit) for debit in debits]),
        "send_messages_together": (1.0, partial(_together, client.debit_many)),
        "send_row": (ONE_PART, partial(_left, together=1)),
        "send_rows_together": (1.0, partial(_left, together=TOGETHER)),
    }
    measured: dict[str, list[Row]] = {}
    for _ in range(rounds):
        for name, (part, send) in ways.items():
            row = measure.lasting(partial(_sent, name, send), max(int(count * part), 1))
            measured.setdefault(name, []).append(row)
    return Result([measure.median(rows) for rows in measured.values()])


def _sent(name: str, send: Callable[[list[Debit]], object], count: int) -> Row:
    debits = list(ground.debits(count))
    row = measure.timed(name, count, lambda: send(debits), roots=server_pids())
    # Nobody reads them: the next way begins with empty queues.
    queues.connection().delete(Debit.QUEUE)
    with engine().begin() as connection:
        connection.execute(sa.text("DELETE FROM billing.inbox"))
    return row


def _together(send: Callable[[list[Debit]], object], debits: list[Debit]) -> None:
    for start in range(0, len(debits), TOGETHER):
        send(debits[start : start + TOGETHER])


def _left(debits: list[Debit], *, together: int) -> None:
    raw = engine().raw_connection()
    for start in range(0, len(debits), together):
        inbox.leave(raw.driver_connection, debits[start : start + together])
        raw.commit()
    raw.close()
