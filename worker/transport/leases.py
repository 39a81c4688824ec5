"""Renews the leases of what a Celery worker holds, from a thread of its own.

The worker's event loop would not do: it stands still while a solo pool runs a task and while a
worker that was told to stop waits for its tasks, and what it holds would be taken by another.
A worker that hangs is for its health check to find (`worker.alive`).
"""

import threading
from typing import Any

import redis
from celery import bootsteps

from worker.logs import logger
from worker.settings import settings
from worker.transport import queues

log = logger(__name__)

#: Leases are renewed this many times while they last.
RENEWALS_A_LEASE = 4


class KeepLeases(bootsteps.StartStopStep):
    """Runs the thread as long as the worker has its connection to the broker."""

    requires = ("celery.worker.consumer.connection:Connection",)

    def __init__(self, parent: Any, **kwargs: Any) -> None:
        super().__init__(parent, **kwargs)
        self._over = threading.Event()

    def start(self, parent: Any) -> None:
        """Begin to renew what comes over this connection."""
        self._over = threading.Event()
        arguments = (parent.connection.transport.cycle, self._over)
        threading.Thread(target=_keep, args=arguments, name="leases", daemon=True).start()

    def stop(self, parent: Any) -> None:
        """End; what the worker still holds then is put back by Celery, or comes after its lease."""
        self._over.set()

    shutdown = stop


def _keep(cycle: Any, over: threading.Event) -> None:
    while not over.wait(settings().lease_s / RENEWALS_A_LEASE):
        try:
            tags = [tag for channel in tuple(cycle._channels) for tag in channel.qos.held()]
            queues.renew(queues.connection(), tags)
        except RuntimeError:
            # The worker took or gave back a message while we counted: the next round sees it.
            continue
        except redis.RedisError as error:
            # The worker reconnects by itself; what it holds comes back after the lease.
            log.warning("leases_not_renewed", error=type(error).__name__)
