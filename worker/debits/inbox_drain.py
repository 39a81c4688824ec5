"""Drains the inbox set by set: in the debit reader's spare moments, and when a bell rings."""

import time

from billing.usage import inbox, post
from worker.database import is_transient, transaction
from worker.logs import logger
from worker.settings import settings

log = logger(__name__)

#: An inbox that was empty is looked into again after so long, unless a doorbell rings.
LOOK_EVERY_S = 0.5
#: So often a set is tried in one go where accounts are in other hands.
TRIES = 3
#: Between two tries at the same accounts: a drain that has locked some soon has their rows in hand.
PAUSE_S = 0.01


class InboxDrain:
    """Remembers where the last set ended, and when the inbox was last seen empty."""

    def __init__(self) -> None:
        self._after = inbox.LOWEST
        self._look_at = 0.0

    def ring(self) -> None:
        """Look at once: somebody says that rows wait."""
        self._look_at = 0.0

    def drain_one_set(self) -> int:
        """Take one set of rows and see it through; returns how many, 0 if it is not time."""
        if time.monotonic() < self._look_at:
            return 0
        drained = self._try_to_drain()
        if drained is None or not drained.rows:
            self._look_at = time.monotonic() + LOOK_EVERY_S
            return 0
        counts = post.counts_of(drained.answers)
        log.info("inbox_drained", rows=drained.rows, dead=drained.dead, **counts)
        return drained.rows

    def _try_to_drain(self) -> inbox.Drained | None:
        """Take a set; None if all that was looked at is in other hands."""
        one_by_one = False
        for _ in range(TRIES):
            try:
                drained = self._drain(one_by_one=one_by_one)
            except inbox.InOtherHands as error:
                if error.after <= self._after:
                    # All has been looked at.
                    time.sleep(PAUSE_S)
                self._after = error.after
            except Exception as error:
                if one_by_one or is_transient(error):
                    raise
                # One row breaks the set: alone it becomes a dead letter, and holds up no other.
                log.exception("inbox_set_broke", error=type(error).__name__)
                one_by_one = True
            else:
                self._after = drained.after
                return drained
        return None

    def _drain(self, *, one_by_one: bool = False) -> inbox.Drained:
        with transaction() as ctx:
            return inbox.drain(
                ctx, limit=settings().debit_set_size, after=self._after, one_by_one=one_by_one
            )
