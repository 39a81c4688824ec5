"""The renewal of leases on a Celery worker's messages, in a thread.

The worker's event loop can't do it: it stops while a solo pool runs a task and while a stopping
worker waits for its tasks, and another worker would take its messages. The health check
(`worker.alive`) finds a worker that hangs.
"""

import threading
from typing import Any

import redis
from celery import bootsteps

from worker.logs import logger
from worker.settings import settings
from worker.transport import queues

log = logger(__name__)

#: Renewals of a lease before it would end.
RENEWALS_PER_LEASE = 4


class KeepLeases(bootsteps.StartStopStep):
    """Runs the thread while the worker is connected to the broker."""

    requires = ("celery.worker.consumer.connection:Connection",)

    def __init__(self, parent: Any, **kwargs: Any) -> None:
        super().__init__(parent, **kwargs)
        self._stop = threading.Event()

    def start(self, parent: Any) -> None:
        """Renew the leases of messages from this connection."""
        self._stop = threading.Event()
        arguments = (parent.connection.transport.cycle, self._stop)
        threading.Thread(target=_keep, args=arguments, name="leases", daemon=True).start()

    def stop(self, parent: Any) -> None:
        """End the thread. Celery requeues the messages left, or they return after their lease."""
        self._stop.set()

    shutdown = stop


def _keep(cycle: Any, stop: threading.Event) -> None:
    while not stop.wait(settings().lease_s / RENEWALS_PER_LEASE):
        try:
            tags = [tag for channel in tuple(cycle._channels) for tag in channel.qos.held()]
            queues.renew(queues.connection(), tags)
        except RuntimeError:
            # The worker took or released a message meanwhile: the next round sees it.
            continue
        except redis.RedisError as error:
            # The worker reconnects by itself; its messages return after the lease.
            log.warning("leases_not_renewed", error=type(error).__name__)
