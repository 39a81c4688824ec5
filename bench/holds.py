"""Holds: placed one by one on the app's own connection, captured in batches."""

from functools import partial

from bench import ground, measure
from bench.measure import Result, Row
from bench.stack import server_pids
from billing.usage import post
from billing_client import Capture, PlaceHold
from billing_client.inbox import place_hold
from worker.database import engine, transaction

BATCH = 500
#: Each hold is a transaction of its own, so fewer of them take as long.
PART = 0.2


def run(*, count: int, rounds: int) -> Result:
    """Place holds in transactions of their own, then capture them in batches of 500.

    Raises LedgerDisagrees.
    """
    ground.open_accounts(1)
    measured: dict[str, list[Row]] = {}
    for _ in range(rounds):
        # Captures are faster, so they decide how many holds there are.
        captured = measure.lasting(partial(_round, measured), max(int(count * PART), 1))
        measured.setdefault(captured.name, []).append(captured)
    ground.check_ledger()
    return Result([measure.median(rows) for rows in measured.values()])


def _round(measured: dict[str, list[Row]], count: int) -> Row:
    """Place so many holds and capture them; return the row of the captures."""
    holds = [
        PlaceHold(debit.account_id, debit.operation, debit.key) for debit in ground.debits(count)
    ]
    placed = _placed(holds)
    measured.setdefault(placed.name, []).append(placed)
    return _captured(holds)


def _placed(holds: list[PlaceHold]) -> Row:
    raw = engine().raw_connection()

    def place_all() -> None:
        for hold in holds:
            assert place_hold(raw.driver_connection, hold)
            raw.commit()

    row = measure.timed("hold_placed", len(holds), place_all, roots=server_pids())
    raw.close()
    return row


def _captured(holds: list[PlaceHold]) -> Row:
    captures = [Capture(hold.account_id, hold.key) for hold in holds]

    def capture_all() -> None:
        for start in range(0, len(captures), BATCH):
            with transaction() as ctx:
                answers = post.apply(ctx, captures[start : start + BATCH])
            assert all(answer.outcome == "taken" for answer in answers)

    return measure.timed("hold_captured", len(captures), capture_all, roots=server_pids())
