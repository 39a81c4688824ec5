"""Flower's view of debits that are read in batches: each debit at low rates, sums above.

What ends as a dead letter is a failed task at every rate: a person must see it.
"""

import time
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from kombu.utils.uuid import uuid

from billing.operations.dead_letters import DeadMessage
from billing.usage.post import Answer
from billing_client.client import HIDDEN
from worker.logs import logger

log = logger(__name__)

#: How an outcome begins that is a failure in Flower.
REJECTED = "rejected"

#: Debits a second that are shown one by one: their three events cost more than the debit itself.
SHOWN_A_SECOND = 10
#: Dead letters a second that are shown one by one, whatever the rate of debits.
FAILED_A_SECOND = 20
#: At higher rates a sum is sent, at most this often.
SUM_EVERY_S = 0.5
#: The name under which Flower shows the sum of a batch.
BATCH_NAME = "credits.debit (batch)"
#: The name under which it shows rows of the inbox that became dead letters.
INBOX_NAME = "credits.drain_inbox (rows)"
#: The counts of a batch that became dead letters.
_DEAD = (REJECTED, "malformed")
_now = time.monotonic


class _Allowance:
    """What may be shown: so many a second, and no more at once."""

    def __init__(self, a_second: int) -> None:
        self._a_second = self._left = float(a_second)
        self._at = _now()

    def take(self, count: int) -> bool:
        """Take this many, or none."""
        now = _now()
        self._left = min(self._left + (now - self._at) * self._a_second, self._a_second)
        self._at = now
        if count > self._left:
            return False
        self._left -= count
        return True


class DebitEvents:
    """The reader's task events, on their own connection; none if the worker sends no events."""

    def __init__(self, app: Any, hostname: str) -> None:
        self._dispatcher: Any = None
        self._shown, self._failed = _Allowance(SHOWN_A_SECOND), _Allowance(FAILED_A_SECOND)
        self._unsent: Counter[str] = Counter()
        self._sent_at = 0.0
        if app.conf.worker_send_task_events:
            self._dispatcher = app.events.Dispatcher(
                app.connection_for_write(), hostname=hostname, buffer_while_offline=False
            )

    def send(
        self,
        answered: Sequence[tuple[str, Answer]],
        counts: Mapping[str, int],
        dead: Sequence[DeadMessage] = (),
    ) -> None:
        """Send the events of a committed batch.

        Args:
            answered: Each message's id and its answer.
            counts: The numbers of outcomes, in which `malformed` counts the `dead`.
            dead: Messages that could not be read.
        """
        if self._dispatcher is None:
            return
        unsent = Counter(counts)
        for message in dead:
            if self._failed.take(1):
                send_dead_letter(self._dispatcher, message)
                unsent["malformed"] -= 1
        if self._shown.take(len(answered)):
            self._show(answered)
            unsent = Counter({"malformed": unsent["malformed"]})
        else:
            rejected = [pair for pair in answered if pair[1].is_rejected and self._failed.take(1)]
            self._show(rejected)
            unsent[REJECTED] -= len(rejected)
        self._unsent += unsent
        self.send_sum()

    def _show(self, answered: Sequence[tuple[str, Answer]]) -> None:
        for message_id, answer in answered:
            send_task(self._dispatcher, message_id, answer.message.TASK, _outcome(answer))

    def send_dead(self, message: DeadMessage) -> None:
        """Send the events of a message that became a dead letter by itself."""
        self.send((), {"malformed": 1}, [message])

    def send_dead_rows(self, count: int) -> None:
        """Send the events of rows of the inbox that became dead letters."""
        if count and self._dispatcher is not None:
            send_task(self._dispatcher, uuid(), INBOX_NAME, f"{REJECTED}: {count} rows")

    def send_sum(self) -> None:
        """Send the sum of the debits not shown one by one, unless a sum was sent just now."""
        if self._unsent and _now() >= self._sent_at + SUM_EVERY_S:
            shown = ", ".join(f"{count} {name}" for name, count in self._unsent.items())
            if any(self._unsent[name] for name in _DEAD):
                shown = f"{REJECTED}: {shown}"
            send_task(self._dispatcher, uuid(), BATCH_NAME, shown)
            self._unsent.clear()
            self._sent_at = _now()

    def close(self) -> None:
        """Send the last sum and close the connection."""
        if self._dispatcher is not None:
            self._sent_at = 0.0
            self.send_sum()
            self._dispatcher.close()
            self._dispatcher.connection.release()


def _outcome(answer: Answer) -> str:
    shown = answer.outcome if answer.error is None else f"{answer.outcome}: {answer.error.name}"
    return f"{shown} (repeat)" if answer.is_repeat else shown


def send_task(dispatcher: Any, task_id: str, name: str, outcome: str) -> None:
    """Send that a task was received and how it ended.

    Events are only shown, so a failure to send them is only logged.
    """
    began, event = time.time(), partial(dispatcher.send, uuid=task_id)
    try:
        event("task-received", name=name, args=HIDDEN, kwargs=HIDDEN, retries=0, eta=None)
        event("task-started")
        if outcome.startswith(REJECTED):
            event("task-failed", exception=outcome, traceback="")
        else:
            event("task-succeeded", result=outcome, runtime=time.time() - began)
    except Exception as error:
        log.warning("debit_events_not_sent", error=type(error).__name__)


def send_dead_letter(dispatcher: Any, message: DeadMessage) -> None:
    """Send that a message became a dead letter."""
    name = message.task or "a message that can't be read"
    send_task(dispatcher, message.message_id, name, f"{REJECTED}: {message.error}")
