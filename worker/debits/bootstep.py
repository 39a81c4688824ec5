"""The bootstep of a Celery worker that lets a DebitReader consume the debit queue."""

from typing import Any

from celery import bootsteps
from celery.exceptions import ImproperlyConfigured

from worker.debits.batch import QUEUE
from worker.debits.reader import DebitReader
from worker.settings import settings


class ReadDebitsInBatches(bootsteps.StartStopStep):
    """Removes the debit queue from Celery's consumer and starts a DebitReader for it."""

    requires = ("celery.worker.consumer.events:Events",)

    def __init__(self, parent: Any, **kwargs: Any) -> None:
        super().__init__(parent, **kwargs)
        queues = parent.app.amqp.queues
        self.enabled = settings().debit_reader == "batches" and QUEUE in queues.consume_from
        self._reader: DebitReader | None = None
        if not self.enabled:
            return
        if parent.pool.__module__.endswith("prefork"):
            raise ImproperlyConfigured(
                f"A worker of the queue {QUEUE} needs --pool solo or --pool threads:"
                " forked children would share the connections of its reader."
            )
        parent.read_in_batches = [queues[QUEUE]]  # for worker.remote_control
        queues.deselect([QUEUE])

    def include_if(self, parent: Any) -> bool:
        """Whether the worker was told to consume the debit queue."""
        return self.enabled

    def start(self, parent: Any) -> None:
        """Start the reader. After a lost connection Celery stops and starts this step again."""
        self._reader = DebitReader(parent.app, parent.hostname)
        self._reader.start()
        parent.debit_reader = self._reader  # for worker.alive

    def stop(self, parent: Any) -> None:
        """Finish the current batch."""
        if self._reader is not None:
            self._reader.stop()
            self._reader = None

    shutdown = stop
