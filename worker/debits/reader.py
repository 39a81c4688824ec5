"""Reads the debit queue in sets: one pop, one transaction, one acknowledgement for many.

Between two sets it drains a set of the inbox; a doorbell in the queue wakes it for that.

It runs as a thread of a Celery worker that was told to consume `debits` (`-Q debits --pool solo`),
so that ping, Flower, shutdown and logs are Celery's. A set is acknowledged after its commit. A set
that fails for a passing cause waits and goes again; one that breaks is halved until the message
that breaks it is alone, and that one becomes a dead letter.
"""

import gc
import threading
import time
from collections.abc import Sequence
from typing import Any

import redis
from celery import bootsteps
from celery.exceptions import ImproperlyConfigured
from sqlalchemy.exc import IntegrityError

from billing.host import accounts
from billing.operations import dead_letters
from billing.usage import post
from billing.usage.post import Answer
from worker import clock
from worker import dead_letters as letters
from worker.database import is_away, is_locked, transaction
from worker.debits import items as debit_items
from worker.debits.flower_events import DebitEvents
from worker.debits.inbox_drain import InboxDrain
from worker.debits.items import QUEUE, Item
from worker.debits.prefetch import SetTaker
from worker.debits.single import rejected
from worker.logs import logger
from worker.settings import settings
from worker.task import is_transient
from worker.transport import queues as mailbox

log = logger(__name__)

#: How long an idle reader waits for a message before it looks whether it should stop.
IDLE_WAIT_S = 1.0
#: Pauses after a passing fault: the first, and the longest.
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.2, 10.0
#: A set that fails so often while the database is there is halved: one message is the cause.
MAX_TRIES = 5
#: A set waits so long for its accounts; then those that are locked are left, and the others go on.
LOCK_WAIT_MS = 1000
#: What dead readers held is looked for this often.
SWEEP_S = 5.0
#: A stopping reader finishes its set within this time, or leaves it to the next one.
STOP_S = 15.0


def spare_the_collector() -> None:
    """Let Python's collector of cycles pass over what stays, and look at the rest less often.

    A set makes and drops some 50,000 objects, none in a cycle. Looking through all of Celery for
    each took a quarter of the reader's time.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 100)


class DebitReader:
    """Drains the debit queue until it is told to stop."""

    def __init__(self, app: Any, hostname: str) -> None:
        self._app = app
        self._redis = mailbox.connection()
        self._events = DebitEvents(app, hostname)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="debit-reader", daemon=True)
        self._swept_at = 0.0
        self._inbox = InboxDrain()
        self._taker = SetTaker(self._redis, app.tasks)

    def start(self) -> None:
        """Begin to read."""
        self._thread.start()

    def stop(self) -> None:
        """Finish the set in hand, and end."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join(STOP_S)

    def _run(self) -> None:
        log.info("debit_reader_started", set_size=settings().debit_set_size)
        spare_the_collector()
        pause = FIRST_PAUSE_S
        while not self._stop.is_set():
            try:
                self._bring_back()
                items = self._taker.next()
                self._taker.take_ahead()
                worked = self._read(items) + self._inbox.drain_one_set()
                self._events.tell_sum()
                if not worked:
                    mailbox.wait(self._redis, QUEUE, IDLE_WAIT_S)
                pause = FIRST_PAUSE_S
            except Exception as error:
                # A reader that ends would leave the queue to nobody: it says so and goes on.
                log.exception("debit_reader_stumbled", error=type(error).__name__)
                self._stop.wait(pause)
                pause = min(pause * 2, LONGEST_PAUSE_S)
        self._taker.close()
        self._events.close()
        log.info("debit_reader_stopped")

    def read_one_set(self) -> int:
        """Take one set from the queue, and see it through; returns how many messages it had."""
        return self._read(self._taker.take())

    def _read(self, items: Sequence[Item]) -> int:
        if not items:
            return 0
        began = time.monotonic()
        if any(item.is_doorbell for item in items):
            self._inbox.ring()
        self._see_through(items)
        log.debug("debit_set_read", messages=len(items), took_s=time.monotonic() - began)
        return len(items)

    def _see_through(self, items: Sequence[Item]) -> None:
        """Apply and acknowledge; wait out what passes, and halve what breaks."""
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
                    mailbox.give_back(self._redis, QUEUE, [(i.tag, i.raw) for i in items])
                    return
                if is_locked(error) and (unlocked := self._leave_the_locked(items)):
                    items = unlocked
                    continue
                log.warning("debit_set_waits", error=type(error).__name__, pause_s=pause)
                self._keep_lease(items)
                self._stop.wait(pause)
                pause = min(pause * 2, LONGEST_PAUSE_S)
        self._acknowledge(items)
        self._report(items, answers)

    def _leave_the_locked(self, items: Sequence[Item]) -> Sequence[Item]:
        """Send what is of locked accounts to the end of the queue; returns the others, if any.

        The app may keep an account's row locked, as by a hold in a long transaction.
        """
        with transaction() as ctx:
            asked = {message.account_id for item in items for message in item.messages}
            free = set(accounts.try_lock(ctx.session, asked))
        others: list[Item] = []
        left: list[Item] = []
        for item in items:
            is_free = all(message.account_id in free for message in item.messages)
            (others if is_free else left).append(item)
        if others:
            log.warning("debits_of_locked_accounts_left", messages=len(left))
            for item in left:
                mailbox.send_back(self._redis, QUEUE, item.tag, item.raw)
        return others

    def _apply(self, items: Sequence[Item]) -> list[Answer]:
        with transaction() as ctx:
            ctx.session.connection().exec_driver_sql(f"SET LOCAL lock_timeout = {LOCK_WAIT_MS}")
            now = clock.now()
            asked = [message for item in items for message in item.messages]
            answers = post.apply(ctx.at(now), asked) if asked else []
            dead = [item.fault for item in items if item.fault is not None]
            dead += [
                rejected(message_id, answer)
                for message_id, answer in zip(debit_items.ids(items), answers, strict=True)
                if answer.is_rejected
            ]
            dead_letters.keep(ctx.at(now), [letters.storable(letter) for letter in dead])
        return answers

    def _halve(self, items: Sequence[Item], error: Exception) -> None:
        if len(items) > 1:
            log.warning("debit_set_halved", messages=len(items), error=type(error).__name__)
            middle = len(items) // 2
            self._see_through(items[:middle])
            self._see_through(items[middle:])
            return
        (item,) = items
        if is_transient(error) and not isinstance(error, IntegrityError):
            # Somebody holds its account for long: the others need not wait for that.
            log.warning("debit_sent_back", error=type(error).__name__)
            mailbox.send_back(self._redis, QUEUE, item.tag, item.raw)
            return
        log.error("debit_broke", error=type(error).__name__, exc_info=error)
        if item.envelope:
            letters.keep(debit_items.letter_of(item.envelope, error))
            self._acknowledge(items)
        else:
            mailbox.set_aside(self._redis, item.raw, item.tag)

    def _keep_lease(self, items: Sequence[Item]) -> None:
        try:
            mailbox.renew(self._redis, [item.tag for item in items] + self._taker.tags_ahead())
        except redis.RedisError as error:
            log.warning("leases_not_renewed", error=type(error).__name__)

    def _acknowledge(self, items: Sequence[Item]) -> None:
        """What is committed stays committed: without the acknowledgement it is only asked again."""
        try:
            mailbox.acknowledge(self._redis, [item.tag for item in items])
        except redis.RedisError as error:
            log.warning("set_not_acknowledged", messages=len(items), error=type(error).__name__)

    def _report(self, items: Sequence[Item], answers: Sequence[Answer]) -> None:
        counts = post.counts_of(answers)
        counts["malformed"] += sum(item.fault is not None for item in items)
        if answers or counts["malformed"]:
            shown = {name: count for name, count in counts.items() if count}
            log.info("debits_applied", messages=len(items), **shown)
            self._events.send(list(zip(debit_items.ids(items), answers, strict=True)), shown)

    def _bring_back(self) -> None:
        """Do a stock sweep: what a dead reader held comes back to the queue."""
        if time.monotonic() < self._swept_at + SWEEP_S:
            return
        self._swept_at = time.monotonic()
        with self._app.connection_for_read() as connection:
            channel = connection.channel()
            channel.qos.restore_visible(num=channel.unacked_restore_limit, interval=1)


class ReadDebitsInSets(bootsteps.StartStopStep):
    """Takes the debit queue out of Celery's hands and gives it to a DebitReader."""

    requires = ("celery.worker.consumer.events:Events",)

    def __init__(self, parent: Any, **kwargs: Any) -> None:
        super().__init__(parent, **kwargs)
        queues = parent.app.amqp.queues
        self.enabled = settings().debit_reader == "sets" and QUEUE in queues.consume_from
        self._reader: DebitReader | None = None
        if not self.enabled:
            return
        if parent.pool.__module__.endswith("prefork"):
            raise ImproperlyConfigured(
                f"a worker of the queue {QUEUE} needs --pool solo or --pool threads:"
                " children forked while its reader holds connections would share them"
            )
        parent.read_in_sets = [queues[QUEUE]]  # for worker.remote_control
        queues.deselect([QUEUE])

    def include_if(self, parent: Any) -> bool:
        """Only in a worker that was told to consume the debit queue."""
        return self.enabled

    def start(self, parent: Any) -> None:
        """Start reading; after a lost connection Celery stops and starts this step again."""
        self._reader = DebitReader(parent.app, parent.hostname)
        self._reader.start()

    def stop(self, parent: Any) -> None:
        """Finish the set in hand."""
        if self._reader is not None:
            self._reader.stop()
            self._reader = None

    shutdown = stop
