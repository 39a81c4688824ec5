"""A sign of life for a container's health check: a file that the worker's event loop touches.

It does not ask the broker, so a broken Redis does not get healthy workers restarted.
"""

import os
import tempfile
import time
from pathlib import Path
from typing import Any

from celery import bootsteps

#: Seconds between two touches, and the age at which a worker counts as stuck.
EVERY_S = 5
STUCK_AFTER_S = 60


def file_of(name: str) -> Path:
    """The file of the worker whose node name starts with `name@`."""
    folder = Path(os.environ.get("BILLING_ALIVE_DIR", tempfile.gettempdir()))
    return folder / f"billing-{name.split('@', 1)[0]}.alive"


def is_alive(name: str) -> bool:
    """Whether the worker has touched its file of late."""
    try:
        return time.time() - file_of(name).stat().st_mtime < STUCK_AFTER_S
    except FileNotFoundError:
        return False


class Alive(bootsteps.StartStopStep):
    """Touches the file as long as the worker's event loop turns."""

    requires = ("celery.worker.consumer.connection:Connection",)

    def __init__(self, parent: Any, **kwargs: Any) -> None:
        super().__init__(parent, **kwargs)
        self._timer: Any = None

    def start(self, parent: Any) -> None:
        """Begin to touch the file."""
        file = file_of(parent.hostname)
        file.touch()
        self._timer = parent.timer.call_repeatedly(EVERY_S, file.touch)

    def stop(self, parent: Any) -> None:
        """Stop; the file grows old."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    shutdown = stop
