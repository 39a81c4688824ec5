"""A sign of life for a container's health check: a file that the worker's event loop touches.

It does not ask the broker, so a broken Redis does not get healthy workers restarted.
"""

import os
import tempfile
import time
from pathlib import Path
from typing import Any

from celery import bootsteps

from worker.logs import logger

log = logger(__name__)

#: Seconds between two touches, and the age at which a worker counts as stuck.
EVERY_S = 5
STUCK_AFTER_S = 60


def file_of(name: str) -> Path:
    """The file of the worker whose node name starts with `name@`."""
    # By user: in a temporary folder that all share, nobody may touch another one's file.
    own = Path(tempfile.gettempdir(), f"billing-{os.getuid()}")
    folder = Path(os.environ.get("BILLING_ALIVE_DIR") or own)
    return folder / f"billing-{name.split('@', 1)[0]}.alive"


def is_alive(name: str) -> bool:
    """Whether the worker has touched its file of late."""
    try:
        return time.time() - file_of(name).stat().st_mtime < STUCK_AFTER_S
    except OSError:
        return False


def leave_sign(file: Path) -> None:
    """Touch the file. A worker that can't is for its health check to report, and works on."""
    try:
        file.parent.mkdir(mode=0o700, exist_ok=True)
        file.touch()
    except OSError as error:
        log.warning("sign_of_life_not_left", file=str(file), error=type(error).__name__)


class Alive(bootsteps.StartStopStep):
    """Touches the file as long as the worker's event loop turns."""

    requires = ("celery.worker.consumer.connection:Connection",)

    def __init__(self, parent: Any, **kwargs: Any) -> None:
        super().__init__(parent, **kwargs)
        self._timer: Any = None

    def start(self, parent: Any) -> None:
        """Begin to touch the file."""
        file = file_of(parent.hostname)
        leave_sign(file)
        self._timer = parent.timer.call_repeatedly(EVERY_S, leave_sign, (file,))

    def stop(self, parent: Any) -> None:
        """Stop; the file grows old."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    shutdown = stop
