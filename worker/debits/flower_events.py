"""Flower's view of debits that are read in batches: each debit at low rates, sums above."""

import time
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from kombu.utils.uuid import uuid

from billing.usage.post import Answer
from billing_client.client import HIDDEN
from worker.logs import logger

log = logger(__name__)

#: Debits a second that are shown one by one: their three events cost more than the debit itself.
SHOWN_A_SECOND = 10
#: At higher rates a sum is sent, at most this often.
SUM_EVERY_S = 0.5
#: The name under which Flower shows the sum of a batch.
BATCH_NAME = "credits.debit (batch)"
_now = time.monotonic


class DebitEvents:
    """The reader's task events, on their own connection; none if the worker sends no events."""

    def __init__(self, app: Any, hostname: str) -> None:
        self._dispatcher: Any = None
        self._allowance, self._allowed_at = float(SHOWN_A_SECOND), _now()
        self._unsent: Counter[str] = Counter()
        self._sent_at = 0.0
        if app.conf.worker_send_task_events:
            self._dispatcher = app.events.Dispatcher(
                app.connection_for_write(), hostname=hostname, buffer_while_offline=False
            )

    def send(self, answered: Sequence[tuple[str, Answer]], counts: Mapping[str, int]) -> None:
        """Send the events of a committed batch: each message's id and its answer."""
        if self._dispatcher is None:
            return
        if self._may_show(len(answered)):
            for message_id, answer in answered:
                self._send_task(message_id, answer.message.TASK, _outcome(answer))
        else:
            self._unsent.update(counts)
            self.send_sum()

    def send_sum(self) -> None:
        """Send the sum of the debits not shown one by one, unless a sum was sent just now."""
        if self._unsent and _now() >= self._sent_at + SUM_EVERY_S:
            shown = ", ".join(f"{count} {name}" for name, count in self._unsent.items() if count)
            self._send_task(uuid(), BATCH_NAME, shown)
            self._unsent.clear()
            self._sent_at = _now()

    def close(self) -> None:
        """Send the last sum and close the connection."""
        if self._dispatcher is not None:
            self._sent_at = 0.0
            self.send_sum()
            self._dispatcher.close()
            self._dispatcher.connection.release()

    def _may_show(self, count: int) -> bool:
        now = _now()
        earned = (now - self._allowed_at) * SHOWN_A_SECOND
        self._allowance = min(self._allowance + earned, SHOWN_A_SECOND)
        self._allowed_at = now
        if count > self._allowance:
            return False
        self._allowance -= count
        return True

    def _send_task(self, task_id: str, name: str, outcome: str) -> None:
        """Send the events of one task. They are only shown, so a failure is only logged."""
        began, send = time.time(), partial(self._dispatcher.send, uuid=task_id)
        try:
            send("task-received", name=name, args=HIDDEN, kwargs=HIDDEN, retries=0, eta=None)
            send("task-started")
            if outcome.startswith("rejected"):
                send("task-failed", exception=outcome, traceback="")
            else:
                send("task-succeeded", result=outcome, runtime=time.time() - began)
        except Exception as error:
            log.warning("debit_events_not_sent", error=type(error).__name__)


def _outcome(answer: Answer) -> str:
    shown = answer.outcome if answer.error is None else f"{answer.outcome}: {answer.error.name}"
    return f"{shown} (repeat)" if answer.is_repeat else shown
