"""From enqueueing to the commit, at 1,000 debits a second offered to one debit reader."""

import os
import statistics
import threading
import time

import sqlalchemy as sa

from bench import ground, workers
from bench.measure import Result, Row
from bench.stencil import stencil_of
from billing_client import BillingClient, Debit, new_key
from models.host import CreditTransaction
from worker import mailbox
from worker.database import transaction

OFFERED_A_SECOND = 1000
#: So many are offered at once, as a sender's clock ticks.
EVERY_S = 0.01
WARM_UP_S = 2.0


def run(*, count: int, rounds: int) -> Result:
    """Offer a part of `count` debits at a steady rate, and see when each entry is there."""
    del rounds  # one long run says more than several short ones
    ground.open_accounts(1)
    redis = mailbox.connection()
    client = BillingClient(os.environ["REDIS_URL"])
    stencil = stencil_of(
        redis, Debit.QUEUE, lambda: client.send(Debit(1, ground.OPERATIONS[0], new_key()))
    )
    offered = list(ground.debits(max(count // 3, 200)))
    with workers.running(workers.READER):
        _offer(redis, stencil, list(ground.debits(int(OFFERED_A_SECOND * WARM_UP_S))))
        seen: dict[str, float] = {}
        watcher = _Watcher(seen)
        watcher.start()
        sent = _offer(redis, stencil, offered)
        watcher.finish({debit.key for debit in offered})
    waits = sorted([(seen[key] - at) * 1000 for key, at in sent.items()])
    row = Row(
        "celery_door_at_1000",
        OFFERED_A_SECOND,
        0.0,
        p50_ms=round(statistics.median(waits), 1),
        p99_ms=round(waits[int(len(waits) * 0.99)], 1),
    )
    ground.check_books()
    return Result([row])


def _offer(redis, stencil, debits: list[Debit]) -> dict[str, float]:
    """Send at a steady rate; returns when each was sent."""
    sent: dict[str, float] = {}
    each = int(OFFERED_A_SECOND * EVERY_S)
    began = time.monotonic()
    for turn, start in enumerate(range(0, len(debits), each)):
        time.sleep(max(began + turn * EVERY_S - time.monotonic(), 0))
        part = debits[start : start + each]
        now = time.time()
        redis.lpush(Debit.QUEUE, *[stencil.cut(debit.arguments()) for debit in part])
        sent.update({debit.key: now for debit in part})
    return sent


class _Watcher(threading.Thread):
    """Notes when it first sees each entry: a millisecond or two after its commit."""

    LOOK_EVERY_S = 0.001

    def __init__(self, seen: dict[str, float]) -> None:
        super().__init__(daemon=True)
        self._seen, self._wanted = seen, None
        self._after = self._last_id()
        self._began = time.monotonic()

    def finish(self, wanted: set[str]) -> None:
        """Wait until all of these were seen."""
        self._wanted = wanted
        self.join(120)
        assert wanted <= self._seen.keys(), "some debits were never taken"

    def run(self) -> None:
        """Look for new entries until all that are wanted were seen."""
        while self._wanted is None or not self._wanted <= self._seen.keys():
            with transaction() as session:
                rows = session.execute(
                    sa.select(CreditTransaction.id, CreditTransaction.key).where(
                        CreditTransaction.id > self._after
                    )
                ).all()
            now = time.time()
            for entry_id, key in rows:
                self._seen[key] = now
                self._after = max(self._after, entry_id)
            time.sleep(self.LOOK_EVERY_S)

    @staticmethod
    def _last_id() -> int:
        with transaction() as session:
            return session.execute(sa.select(sa.func.max(CreditTransaction.id))).scalar() or 0
