"""The reader of the debit queue: one pop, one transaction and one acknowledgement for a batch.

Between two batches it drains a batch of the inbox; a doorbell in the queue wakes it for that.

It runs as a thread of a Celery worker that consumes `debits` (`-Q debits --pool solo`), so that
ping, Flower, shutdown and logs are Celery's. A batch is acknowledged after its commit. After a
transient error it waits and is tried again. After any other error it is halved until the message
that causes it is alone; that message becomes a dead letter.
"""

import gc
import threading
import time
from collections.abc import Sequence
from typing import Any

import redis
from sqlalchemy.exc import IntegrityError

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
from worker.debits import batch
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
#: A batch waits this long for its accounts; then messages of locked accounts are requeued.
LOCK_WAIT_MS = 1000
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
                pause = FIRST_PAUSE_S
            except Exception as error:
                # Without a reader nobody would read the queue, so it logs the error and goes on.
                log.exception("debit_reader_failed", error=type(error).__name__)
                self._stop.wait(pause)
                pause = min(pause * 2, LONGEST_PAUSE_S)
        self._prefetch.close()
        self._events.close()
        log.info("debit_reader_stopped")

    def read_batch(self) -> int:
        """Take one batch from the queue and finish it; return the number of messages."""
        return self._read(self._prefetch.take())

    def _read(self, items: Sequence[Item]) -> int:
        if not items:
            return 0
        began = time.monotonic()
        if any(item.is_doorbell for item in items):
            self._inbox.ring()
        self._finish(items)
        log.debug("debit_batch_read", messages=len(items), took_s=time.monotonic() - began)
        return len(items)

    def _finish(self, items: Sequence[Item]) -> None:
        """Apply and acknowledge; retry after a transient error, halve after any other."""
        pause, tries = FIRST_PAUSE_S, 0
        while True:
            try:
                answers = self._apply(items)
                break
            except Exception as error:
                tries += 1
                if not is_transient(error) or (tries >= MAX_TRIES and not is_away(error)):
                    self._halve(items, error)
                    return
                if self._stop.is_set():
                    queues.requeue_front(self._redis, QUEUE, [(i.tag, i.raw) for i in items])
                    return
                if is_locked(error) and (unlocked := self._requeue_locked(items)):
                    items = unlocked
                    continue
                log.warning("debit_batch_delayed", error=type(error).__name__, pause_s=pause)
                self._renew_leases(items)
                self._stop.wait(pause)
                pause = min(pause * 2, LONGEST_PAUSE_S)
        self._acknowledge(items)
        self._report(items, answers)

    def _apply(self, items: Sequence[Item]) -> list[Answer]:
        with transaction() as ctx:
            ctx.session.connection().exec_driver_sql(f"SET LOCAL lock_timeout = {LOCK_WAIT_MS}")
            messages = [message for item in items for message in item.messages]
            answers = post.apply(ctx, messages) if messages else []
            if not all(isinstance(message, Debit) for message in messages):
                credits_back.follow(ctx, answers)
            self._keep_dead(ctx, items, answers)
        return answers

    def _keep_dead(self, ctx: Context, items: Sequence[Item], answers: Sequence[Answer]) -> None:
        """Keep unreadable and rejected messages as dead letters."""
        dead = [item.dead for item in items if item.dead is not None]
        if any(answer.error is not None for answer in answers):
            dead += dead_letters.from_rejected(batch.ids(items), answers)
        if dead:
            dead_letters_table.keep(ctx, [dead_letters.storable(message) for message in dead])

    def _requeue_locked(self, items: Sequence[Item]) -> Sequence[Item]:
        """Requeue messages of locked accounts at the back; return the others, if any.

        The app can lock an account's row for long, as by a hold in a long transaction.
        """
        with transaction() as ctx:
            account_ids = {message.account_id for item in items for message in item.messages}
            free = set(accounts.try_lock(ctx.session, account_ids))
        others: list[Item] = []
        locked: list[Item] = []
        for item in items:
            is_free = all(message.account_id in free for message in item.messages)
            (others if is_free else locked).append(item)
        if others:
            log.warning("debits_of_locked_accounts_requeued", messages=len(locked))
            for item in locked:
                queues.requeue_back(self._redis, QUEUE, item.tag, item.raw)
        return others

    def _halve(self, items: Sequence[Item], error: Exception) -> None:
        if len(items) > 1:
            log.warning("debit_batch_halved", messages=len(items), error=type(error).__name__)
            middle = len(items) // 2
            self._finish(items[:middle])
            self._finish(items[middle:])
            return
        (item,) = items
        if is_transient(error) and not isinstance(error, IntegrityError):
            # Its account stays locked; the others need not wait for it.
            log.warning("debit_requeued", error=type(error).__name__)
            queues.requeue_back(self._redis, QUEUE, item.tag, item.raw)
            return
        log.error("debit_broke", error=type(error).__name__, exc_info=error)
        if item.envelope:
            dead_letters.keep(batch.dead_message(item.envelope, error))
            self._acknowledge(items)
        else:
            queues.quarantine(self._redis, item.raw, item.tag)

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
