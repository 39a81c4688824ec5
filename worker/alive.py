"""The health check of a container: a file that the worker's event loop touches.

It does not ask the broker: while Redis is down, healthy workers are not restarted. A second file
says whether the worker is ready: a reader of debits that waits for a server is alive, and not
ready.
"""

import os
import tempfile
import time
from pathlib import Path
from typing import Any

from celery import bootsteps

from worker.logs import logger

log = logger(__name__)

#: Seconds between two touches, and the age of the file at which a worker counts as stuck.
TOUCH_EVERY_S = 5
STUCK_AFTER_S = 60
#: The age of the other file at which a worker is not ready.
NOT_READY_AFTER_S = 15


def alive_file(name: str) -> Path:
    """Return the file of the worker whose node name starts with `name@`."""
    # A folder for each user: a shared temporary folder lets nobody touch another user's file.
    own = Path(tempfile.gettempdir(), f"billing-{os.getuid()}")
    folder = Path(os.environ.get("BILLING_ALIVE_DIR") or own)
    return folder / f"billing-{name.split('@', 1)[0]}.alive"


def ready_file(name: str) -> Path:
    """Return the file that the worker touches while it reaches both servers."""
    return alive_file(name).with_suffix(".ready")


def is_alive(name: str) -> bool:
    """Whether the worker touched its file within the last minute."""
    return _age_s(alive_file(name)) < STUCK_AFTER_S


def is_ready(name: str) -> bool:
    """Whether the worker is alive, and reached both servers a moment ago."""
    return is_alive(name) and _age_s(ready_file(name)) < NOT_READY_AFTER_S


def _age_s(file: Path) -> float:
    try:
        return time.time() - file.stat().st_mtime
    except OSError:
        return float("inf")


def touch(file: Path) -> None:
    """Touch the file. If that fails, the health check reports the worker, and it works on."""
    try:
        file.parent.mkdir(mode=0o700, exist_ok=True)
        file.touch()
    except OSError as error:
        log.warning("alive_file_not_touched", file=str(file), error=type(error).__name__)


class Alive(bootsteps.StartStopStep):
    """Touches the file while the worker's event loop runs."""

    requires = ("celery.worker.consumer.connection:Connection",)

    def __init__(self, parent: Any, **kwargs: Any) -> None:
        super().__init__(parent, **kwargs)
        self._timer: Any = None

    def start(self, parent: Any) -> None:
        """Touch the file now and at intervals."""
        _touch_both(parent)
        self._timer = parent.timer.call_repeatedly(TOUCH_EVERY_S, _touch_both, (parent,))

    def stop(self, parent: Any) -> None:
        """Stop touching the file."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    shutdown = stop


def _touch_both(consumer: Any) -> None:
    touch(alive_file(consumer.hostname))
    # Only a reader of debits can tell: it is always at both servers.
    reader = getattr(consumer, "debit_reader", None)
    if reader is None or reader.is_ready:
        touch(ready_file(consumer.hostname))
