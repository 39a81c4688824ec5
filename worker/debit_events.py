"""What Flower sees of debits read in sets: each one's outcome at low rates, one sum a set above."""

import time
from collections.abc import Mapping, Sequence
from typing import Any

from kombu.utils.uuid import uuid

from billing.posting import Answer
from billing_client.client import HIDDEN
from worker.logs import logger

log = logger(__name__)

#: Sets larger than this are shown as one sum; two events a debit would cost more than the debit.
SHOWN_ONE_BY_ONE = 10
#: The name under which Flower shows the sum of a set.
SET_NAME = "credits.debit (set)"


class DebitEvents:
    """Sends Celery's task events on a connection of its own, if the worker sends events at all."""

    def __init__(self, app: Any, hostname: str) -> None:
        self._dispatcher: Any = None
        if app.conf.worker_send_task_events:
            self._dispatcher = app.events.Dispatcher(
                app.connection_for_write(), hostname=hostname, buffer_while_offline=False
            )

    def send(self, answered: Sequence[tuple[str, Answer]], counts: Mapping[str, int]) -> None:
        """Tell of a set that is committed: each message's id and its answer.

        Events are for people: failing to send one is logged.
        """
        if self._dispatcher is None:
            return
        try:
            if len(answered) <= SHOWN_ONE_BY_ONE:
                for message_id, answer in answered:
                    self._tell(message_id, answer.message.TASK, _outcome(answer))
            else:
                shown = ", ".join(f"{count} {name}" for name, count in counts.items() if count)
                self._tell(uuid(), SET_NAME, shown)
        except Exception as error:
            log.warning("debit_events_not_sent", error=type(error).__name__)

    def close(self) -> None:
        """Give the connection back."""
        if self._dispatcher is not None:
            self._dispatcher.close()
            self._dispatcher.connection.release()

    def _tell(self, task_id: str, name: str, outcome: str) -> None:
        now = time.time()
        self._dispatcher.send(
            "task-received",
            uuid=task_id,
            name=name,
            args=HIDDEN,
            kwargs=HIDDEN,
            retries=0,
            eta=None,
        )
        self._dispatcher.send("task-started", uuid=task_id)
        if outcome.startswith("rejected"):
            self._dispatcher.send("task-failed", uuid=task_id, exception=outcome, traceback="")
        else:
            runtime = time.time() - now
            self._dispatcher.send("task-succeeded", uuid=task_id, result=outcome, runtime=runtime)


def _outcome(answer: Answer) -> str:
    shown = answer.outcome if answer.error is None else f"{answer.outcome}: {answer.error.name}"
    return f"{shown} (repeat)" if answer.is_repeat else shown
