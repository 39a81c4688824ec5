"""The reader of the debit queue: one pop, one transaction and one acknowledgement for a batch.

Between two batches it drains a batch of the inbox; a doorbell in the queue wakes it for that.

It runs as a thread of a Celery worker that consumes `debits` (`-Q debits --pool solo`), so that
ping, Flower, shutdown and logs are Celery's. A batch is acknowledged after its commit. After a
transient error it waits and is tried again. After any other error it is halved until the message
that causes it is alone; that message becomes a dead letter. Messages of locked accounts go behind
all others, so a locked account delays only itself.
"""

import gc
import threading
import time
from collections.abc import Sequence
from typing import Any

import redis
from sqlalchemy.exc import DBAPIError, IntegrityError

from billing.context import Context
from billing.host import accounts
from billing.operations import dead_letters as dead_letters_table
from billing.postgres.transient import is_locked
from billing.purchases import credits_back
from billing.usage import post
from billing.usage.post import Answer
from billing_client.messages import Debit
from worker import dead_letters
from worker.database import is_away, transaction
from worker.debits import batch, returned
from worker.debits.batch import QUEUE, Item, Prefetch
from worker.debits.flower_events import DebitEvents
from worker.debits.inbox_drain import InboxDrain
from worker.logs import logger
from worker.settings import settings
from worker.task import is_transient
from worker.transport import queues

log = logger(__name__)

#: Time that an idle reader waits for a message before it checks whether it should stop.
IDLE_WAIT_S = 1.0
#: Pauses after a transient error: the first, and the longest.
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.2, 10.0
#: A batch that fails this often while the database is up is halved: one message is the cause.
MAX_TRIES = 5
#: If all accounts of a batch are locked, it waits this long for them: another reader is soon done.
LOCK_WAIT_MS = 100
#: A batch that meets so many other locks, such as those of a key or a table, is requeued.
MOST_LOCKS = 25
#: A reader that finished nothing for so long, and does not idle, is not ready.
NOT_READY_AFTER_S = 10.0
#: Seconds between two searches for the messages of dead readers.
SWEEP_S = 5.0
#: A stopping reader finishes its batch within this time, or leaves it to the next reader.
STOP_S = 15.0


def tune_garbage_collector() -> None:
    """Exempt the loaded program from Python's cyclic garbage collector, and run it less often.

    A batch creates and drops some 50,000 objects, none in a cycle. Scanning all of Celery for each
    batch took a quarter of the reader's time.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 100)


class AllLocked(Exception):
    """All accounts of a batch are locked; nothing was done."""


class DebitReader:
    """Reads the debit queue until it is told to stop."""

    def __init__(self, app: Any, hostname: str) -> None:
        self._app = app
        self._redis = queues.connection()
        self._events = DebitEvents(app, hostname)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="debit-reader", daemon=True)
        self._swept_at = 0.0
        self._inbox = InboxDrain()
        self._prefetch = Prefetch(self._redis, app.tasks)
        self._locks_met = 0
        self._well_at = time.monotonic()

    @property
    def is_ready(self) -> bool:
        """Whether the reader reaches both servers; false while it waits for one of them."""
        return time.monotonic() < self._well_at + NOT_READY_AFTER_S

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def stop(self) -> None:
        """Finish the current batch and end the thread."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join(STOP_S)

    def _run(self) -> None:
        log.info("debit_reader_started", batch_size=settings().debit_batch_size)
        tune_garbage_collector()
        pause = FIRST_PAUSE_S
        while not self._stop.is_set():
            try:
                self._restore_expired()
                items = self._prefetch.next()
                self._prefetch.take_ahead()
                count = self._read(items) + self._inbox.drain_batch()
                self._events.send_sum()
                if not count:
                    queues.wait(self._redis, QUEUE, IDLE_WAIT_S)
                pause, self._well_at = FIRST_PAUSE_S, time.monotonic()
            except Exception as error:
                # Without a reader nobody would read the queue, so it logs the error and goes on.
                log.exception("debit_reader_failed", error=type(error).__name__)
                self._stop.wait(pause)
                pause = min(pause * 2, LONGEST_PAUSE_S)
        self._prefetch.close()
        self._events.close()
        log.info("debit_reader_stopped")

    def read_batch(self) -> int:
        """Take one batch from the queue and finish it; return the number of messages finished."""
        return self._read(self._prefetch.take())

    def _read(self, items: Sequence[Item]) -> int:
        if not items:
            return 0
        began = time.monotonic()
        if any(item.is_doorbell for item in items):
            self._inbox.ring()
        self._locks_met = 0
        count = self._finish([item for item in items if not item.is_returned])
        if came_back := [item for item in items if item.is_returned]:
            count += self._finish_returned(came_back)
        log.debug("debit_batch_read", messages=count, took_s=time.monotonic() - began)
        return count

    def _finish_returned(self, items: Sequence[Item]) -> int:
        """Finish messages of which a reader may have died, in ever smaller groups."""
        count = 0
        for group in returned.groups(self._redis, items):
            self._renew_leases(items)
            with returned.counting(self._redis, group, self._app.tasks) as opened:
                count += self._finish(opened)
        return count

    def _finish(self, items: Sequence[Item]) -> int:
        """Apply and acknowledge; retry after a transient error, halve after any other.

        Messages of locked accounts are requeued. Return the number of the others.
        """
        pause, tries = FIRST_PAUSE_S, 0
        while items:
            try:
                unlocked, answers = self._apply(items)
                break
            except AllLocked:
                unlocked, answers = [], []
                break
            except Exception as error:
                tries += 1
                is_hopeless = is_locked(error) or (tries >= MAX_TRIES and not is_away(error))
                if not is_transient(error) or is_hopeless:
                    return self._halve(items, error)
                if self._stop.is_set():
                    queues.requeue_front(self._redis, QUEUE, [(i.tag, i.raw) for i in items])
                    return 0
                log.warning("debit_batch_delayed", error=type(error).__name__, pause_s=pause)
                self._renew_leases(items)
                self._stop.wait(pause)
                pause = min(pause * 2, LONGEST_PAUSE_S)
        else:
            return 0
        self._well_at = time.monotonic()
        self._acknowledge(unlocked)
        self._report(unlocked, answers)
        if len(unlocked) < len(items):
            done = set(map(id, unlocked))
            self._requeue_last([item for item in items if id(item) not in done])
        return len(unlocked)

    def _apply(self, items: Sequence[Item]) -> tuple[Sequence[Item], list[Answer]]:
        """Apply the items whose accounts are not locked; return them with their answers.

        Raises AllLocked.
        """
        with transaction(lock_wait_ms=LOCK_WAIT_MS) as ctx:
            items = self._unlocked(ctx, items)
            messages = [message for item in items for message in item.messages]
            answers = post.apply(ctx, messages) if messages else []
            if not all(isinstance(message, Debit) for message in messages):
                credits_back.follow(ctx, answers)
            self._keep_dead(ctx, items, answers)
        return items, answers

    def _unlocked(self, ctx: Context, items: Sequence[Item]) -> Sequence[Item]:
        """Lock the accounts that are free, and return their items.

        The app can lock an account's row for long, as by a hold in a long transaction. If no item
        is free, it waits for a moment. Raises AllLocked.
        """
        account_ids = {message.account_id for item in items for message in item.messages}
        if not account_ids:
            return items
        try:
            free = set(accounts.try_lock(ctx.session, account_ids))
            if len(free) == len(account_ids):
                return items
            unlocked = [i for i in items if all(m.account_id in free for m in i.messages)]
            if unlocked:
                return unlocked
            accounts.lock(ctx.session, account_ids)
        except DBAPIError as error:
            if is_locked(error):
                raise AllLocked from error
            raise
        return items

    def _keep_dead(self, ctx: Context, items: Sequence[Item], answers: Sequence[Answer]) -> None:
        """Keep unreadable and rejected messages as dead letters."""
        dead = [item.dead for item in items if item.dead is not None]
        if any(answer.error is not None for answer in answers):
            dead += dead_letters.from_rejected(batch.ids(items), answers)
        if dead:
            dead_letters_table.keep(ctx, [dead_letters.storable(message) for message in dead])

    def _requeue_last(self, items: Sequence[Item]) -> None:
        log.info("debits_of_locked_accounts_requeued", messages=len(items))
        queues.requeue_last(self._redis, QUEUE, [(item.tag, item.raw) for item in items])

    def _halve(self, items: Sequence[Item], error: Exception) -> int:
        self._locks_met += is_locked(error)
        if self._locks_met > MOST_LOCKS:
            self._requeue_last(items)
            return 0
        if len(items) > 1:
            log.warning("debit_batch_halved", messages=len(items), error=type(error).__name__)
            middle = len(items) // 2
            return self._finish(items[:middle]) + self._finish(items[middle:])
        (item,) = items
        if is_transient(error) and not isinstance(error, IntegrityError):
            # Something that it needs stays locked; the others need not wait for it.
            log.warning("debit_requeued", error=type(error).__name__)
            self._requeue_last(items)
            return 0
        log.error("debit_broke", error=type(error).__name__, exc_info=error)
        if item.envelope:
            dead_letters.keep(batch.dead_message(item.envelope, error))
            self._acknowledge(items)
        else:
            queues.quarantine(self._redis, item.raw, item.tag)
        return 1

    def _renew_leases(self, items: Sequence[Item]) -> None:
        try:
            tags = [item.tag for item in items] + self._prefetch.tags_ahead()
            queues.renew(self._redis, tags)
        except redis.RedisError as error:
            log.warning("leases_not_renewed", error=type(error).__name__)

    def _acknowledge(self, items: Sequence[Item]) -> None:
        """Acknowledge a committed batch. If that fails, it is delivered again, without effect."""
        try:
            queues.acknowledge(self._redis, [item.tag for item in items])
        except redis.RedisError as error:
            log.warning("batch_not_acknowledged", messages=len(items), error=type(error).__name__)

    def _report(self, items: Sequence[Item], answers: Sequence[Answer]) -> None:
        counts = post.counts_of(answers)
        counts["malformed"] += sum(item.dead is not None for item in items)
        if answers or counts["malformed"]:
            shown = {name: count for name, count in counts.items() if count}
            log.info("debits_applied", messages=len(items), **shown)
            self._events.send(list(zip(batch.ids(items), answers, strict=True)), shown)

    def _restore_expired(self) -> None:
        """Requeue the messages of dead readers, as stock kombu does."""
        if time.monotonic() < self._swept_at + SWEEP_S:
            return
        self._swept_at = time.monotonic()
        with self._app.connection_for_read() as connection:
            channel = connection.channel()
            channel.qos.restore_visible(num=channel.unacked_restore_limit, interval=1)
