"""The batches of the inbox: drained between two batches of the queue, and when a doorbell rings."""

import time

from billing.postgres.transient import is_transient
from billing.purchases import credits_back
from billing.usage import inbox, post
from worker.database import transaction
from worker.logs import logger
from worker.settings import settings

log = logger(__name__)

#: Seconds until an empty inbox is read again, unless a doorbell rings.
READ_EVERY_S = 0.5
#: Tries for a batch whose accounts other drains have locked.
TRIES = 3
#: Pause between two tries at the same accounts: the drain that locked them is soon at work.
PAUSE_S = 0.01


class InboxDrain:
    """Drains the inbox; knows where the last batch ended and when the inbox was last empty."""

    def __init__(self) -> None:
        self._after = inbox.LOWEST
        self._read_at = 0.0

    def ring(self) -> None:
        """Read the inbox at the next call: rows wait in it."""
        self._read_at = 0.0

    def drain_batch(self) -> int:
        """Drain one batch of rows; return how many, 0 if it is not time yet."""
        if time.monotonic() < self._read_at:
            return 0
        drained = self._try_to_drain()
        if drained is None or not drained.rows:
            self._read_at = time.monotonic() + READ_EVERY_S
            return 0
        counts = post.counts_of(drained.answers)
        log.info("inbox_drained", rows=drained.rows, dead=drained.dead, **counts)
        return drained.rows

    def _try_to_drain(self) -> inbox.Drained | None:
        """Drain a batch; None if other drains have locked all accounts."""
        one_by_one, limit = False, settings().debit_batch_size
        for _ in range(TRIES):
            try:
                with transaction() as ctx:
                    drained = inbox.drain(
                        ctx, limit=limit, after=self._after, one_by_one=one_by_one
                    )
                    if drained.rows:
                        credits_back.follow(ctx, drained.answers)
            except inbox.AccountsLocked as error:
                if error.after <= self._after:
                    # Every account has been tried.
                    time.sleep(PAUSE_S)
                self._after = error.after
            except Exception as error:
                if one_by_one or is_transient(error):
                    raise
                # One row is the cause: by itself it becomes a dead letter and delays no other.
                log.exception("inbox_batch_broke", error=type(error).__name__)
                one_by_one = True
            else:
                self._after = drained.after
                return drained
        return None
