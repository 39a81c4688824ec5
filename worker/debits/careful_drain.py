"""The careful drain of the inbox, after a drain has died: the row that killed it is found.

Each drain leaves a mark in Redis while it works on a batch. A mark that stays is a drain that died.
Then one drain at a time goes through the accounts, each in a transaction of its own, and counts in
Redis what it begins. An account that kills a second time is tried row by row, and a row that kills
a third time becomes a dead letter. After one round without a death the inbox is drained in batches
again.
"""

import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import redis
from sqlalchemy.exc import DBAPIError

from billing.context import Context
from billing.errors import ProcessKilled
from billing.postgres.transient import is_locked
from billing.purchases import credits_back
from billing.usage import inbox
from worker.database import transaction
from worker.logs import logger
from worker.transport import queues

log = logger(__name__)

#: The marks of the drains at work, by the time at which each began its batch.
MARKS = "billing.drains"
#: Set while the inbox is drained carefully, and the drain that does it.
CAREFUL, OWNER = "billing.drains.careful", "billing.drains.owner"
#: Seconds after which a mark is one of a dead drain, and after which one that starts thinks so: a
#: batch takes a few tenths. To take a slow drain for a dead one only makes the others careful.
STALE_S, STALE_AT_START_S = 5.0, 1.0
#: Time after which the careful drain ends in any case, and after which its owner counts as dead: a
#: transaction of it has 100 rows, and waits for no lock.
CAREFUL_S, OWNED_MS = 600, 5000
#: Rows of an account in one transaction, by the deaths of the account.
ROWS = {0: 100, 1: 1}
#: Deaths after which a row is a dead letter: in a batch, among the account's rows, and alone.
MOST_DEATHS = 3
#: Milliseconds that it waits for a lock; what is locked is left to the next round.
LOCK_WAIT_MS = 100
NOTHING = inbox.Drained(0, [], 0, inbox.LOWEST)


class Marks:
    """The mark of one drain, and what the marks of the others say."""

    def __init__(self, client: "queues.Redis") -> None:
        self.redis = client
        self.name = uuid.uuid4().hex
        self.round_after = inbox.LOWEST
        self._stale_s = STALE_AT_START_S

    def is_careful(self) -> bool:
        """Whether a drain has died, and the inbox has not been gone through since."""
        stale_at = time.time() - self._stale_s
        with self.redis.pipeline() as pipe:
            pipe.zrangebyscore(MARKS, 0, stale_at)
            pipe.zremrangebyscore(MARKS, 0, time.time() - STALE_S)
            pipe.exists(CAREFUL)
            stale, _, is_careful = pipe.execute()
        self._stale_s = STALE_S
        if stale:
            log.warning("inbox_drain_died", drains=len(stale))
            self.redis.set(CAREFUL, 1, ex=CAREFUL_S)
        return bool(stale or is_careful)

    @contextmanager
    def batch(self) -> Iterator[None]:
        """Leave the mark while the batch inside is drained."""
        self.redis.zadd(MARKS, {self.name: time.time()})
        try:
            yield
        finally:
            with suppress(redis.RedisError):
                self.redis.zrem(MARKS, self.name)

    def owns_careful_drain(self) -> bool:
        """Whether this drain is the one that goes through the inbox, or can become it."""
        if self.redis.set(OWNER, self.name, nx=True, px=OWNED_MS):
            self.round_after = inbox.LOWEST
            return True
        owner = self.redis.get(OWNER)
        return bool(owner == self.name.encode() and self.redis.pexpire(OWNER, OWNED_MS))

    def end_careful_drain(self) -> None:
        """Let all drain in batches again."""
        self.redis.delete(CAREFUL, OWNER)


def drain(marks: Marks) -> inbox.Drained:
    """Drain some rows of the round's next account that is free; none if another has the round."""
    while marks.owns_careful_drain():
        with transaction() as ctx:
            account_ids = inbox.next_accounts(ctx.session, marks.round_after)
        if not account_ids or account_ids[0] <= marks.round_after:
            marks.end_careful_drain()
            break
        account_id = marks.round_after = account_ids[0]
        drained = _count_and_drain(marks.redis, account_id)
        if drained.rows:
            marks.round_after = account_id - 1  # it may have more
            return drained
    return NOTHING


def _count_and_drain(client: "queues.Redis", account_id: int) -> inbox.Drained:
    """Count a death of the account in advance; take it back, unless the process dies."""
    field = f"inbox:{account_id}"
    deaths = client.hincrby(queues.DEATHS, field, 1) - 1
    drained, after = NOTHING, deaths
    try:
        with transaction(lock_wait_ms=LOCK_WAIT_MS) as ctx:
            drained = _drain(ctx, account_id, deaths)
        after = deaths if deaths == 1 and drained.rows else 0
    except inbox.AccountsLocked:
        pass
    except DBAPIError as error:
        if not is_locked(error):
            raise
    finally:
        with suppress(redis.RedisError):
            client.hset(queues.DEATHS, field, after) if after else client.hdel(queues.DEATHS, field)
    return drained


def _drain(ctx: Context, account_id: int, deaths: int) -> inbox.Drained:
    """Drain the account's next rows, or set its first one aside. Raises AccountsLocked."""
    if deaths not in ROWS:
        error = ProcessKilled(times=MOST_DEATHS)
        log.error("inbox_row_killed_its_drain", account_id=account_id, error=error.name)
        rows = inbox.set_aside(ctx, account_id, error)
        return inbox.Drained(rows, [], rows, account_id)
    # One by one: a row that merely fails becomes a dead letter at once.
    drained = inbox.drain(
        ctx, limit=ROWS[deaths], after=account_id, only=account_id, one_by_one=True
    )
    credits_back.follow(ctx, drained.answers)
    return drained
