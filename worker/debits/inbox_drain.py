"""The batches of the inbox: drained between two batches of the queue, and when a doorbell rings."""

import time

from sqlalchemy.exc import DBAPIError

from billing.postgres.transient import is_locked, is_transient
from billing.purchases import credits_back
from billing.usage import inbox, post
from worker.database import transaction
from worker.debits import careful_drain
from worker.logs import logger
from worker.settings import settings
from worker.transport import queues

log = logger(__name__)

#: Seconds until an empty inbox is read again, unless a doorbell rings.
READ_EVERY_S = 0.5
#: Tries for a batch whose accounts other drains have locked.
TRIES = 3
#: Milliseconds that a drain waits for a lock of anything but an account, such as a key.
LOCK_WAIT_MS = 100
#: A drain that meets so many of them in a row of accounts gives up until the next read.
MOST_LOCKS = 10
#: Pause between two tries at the same accounts: the drain that locked them is soon at work.
PAUSE_S = 0.01


class InboxDrain:
    """Drains the inbox; knows where the last batch ended and when the inbox was last empty."""

    def __init__(self) -> None:
        self._after = inbox.LOWEST
        self._read_at = 0.0
        self._marks = careful_drain.Marks(queues.connection())

    def ring(self) -> None:
        """Read the inbox at the next call: rows wait in it."""
        self._read_at = 0.0

    def drain_batch(self) -> int:
        """Drain one batch of rows; return how many, 0 if it is not time yet."""
        if time.monotonic() < self._read_at:
            return 0
        if self._marks.is_careful():
            drained: inbox.Drained | None = careful_drain.drain(self._marks)
        else:
            with self._marks.batch():
                drained = self._try_to_drain()
        if drained is None or not drained.rows:
            self._read_at = time.monotonic() + READ_EVERY_S
            return 0
        counts = post.counts_of(drained.answers)
        log.info("inbox_drained", rows=drained.rows, dead=drained.dead, **counts)
        return drained.rows

    def _try_to_drain(self) -> inbox.Drained | None:
        """Drain a batch; None if other drains, or the app, have locked all accounts."""
        one_by_one = False
        for _ in range(TRIES):
            try:
                drained = drain(self._after, one_by_one=one_by_one)
            except inbox.AccountsLocked as error:
                if error.after <= self._after:
                    # Every account has been tried.
                    time.sleep(PAUSE_S)
                self._after = error.after
            except Exception as error:
                if is_locked(error):
                    return self._drain_apart()
                if one_by_one or is_transient(error):
                    raise
                # One row is the cause: by itself it becomes a dead letter and delays no other.
                log.exception("inbox_batch_broke", error=type(error).__name__)
                one_by_one = True
            else:
                self._after = drained.after
                return drained
        return None

    def _drain_apart(self) -> inbox.Drained:
        """Drain account by account: something else that one of them needs is locked, as a key."""
        with transaction() as ctx:
            account_ids = inbox.next_accounts(ctx.session, self._after)
        total, locked = inbox.Drained(0, [], 0, self._after), 0
        for account_id in account_ids:
            try:
                drained = drain(self._after, only=account_id)
                answers = [*total.answers, *drained.answers]
                rows, dead = total.rows + drained.rows, total.dead + drained.dead
                total = inbox.Drained(rows, answers, dead, account_id)
            except inbox.AccountsLocked:
                pass
            except DBAPIError as error:
                locked += is_locked(error)
                if not is_locked(error) or locked > MOST_LOCKS:
                    raise
        self._after = account_ids[-1] if account_ids else inbox.LOWEST
        return total


def drain(after: int, *, one_by_one: bool = False, only: int | None = None) -> inbox.Drained:
    """Drain a batch, or only one account's rows, in a transaction. Raises AccountsLocked."""
    limit = settings().debit_batch_size
    with transaction(lock_wait_ms=LOCK_WAIT_MS) as ctx:
        drained = inbox.drain(ctx, limit=limit, after=after, one_by_one=one_by_one, only=only)
        if drained.rows:
            credits_back.follow(ctx, drained.answers)
    return drained
