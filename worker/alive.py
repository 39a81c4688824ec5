"""The health check of a container: a file that the worker's event loop touches.

It touches the file while Postgres lets this worker in. It does not ask the broker: while Redis is
down, healthy workers are not restarted. A second file says whether the worker is ready: a reader of
debits that waits for a server is not, from the first seconds on.
"""

import os
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

from celery import bootsteps
from sqlalchemy.exc import SQLAlchemyError

from worker.database import engine
from worker.logs import logger
from worker.server_errors import first_line

log = logger(__name__)

#: Seconds between two touches, and the age of the file at which a worker counts as stuck.
TOUCH_EVERY_S = 5
STUCK_AFTER_S = 60
#: The age of the other file at which a worker is not ready.
NOT_READY_AFTER_S = 15
#: Seconds between two questions to Postgres, and between two lines about its silence.
ASK_EVERY_S = 5.0
LOG_EVERY_S = 60.0


def alive_file(name: str) -> Path:
    """Return the file of the worker whose node name starts with `name@`."""
    # A folder for each user: a shared temporary folder lets nobody touch another user's file.
    own = Path(tempfile.gettempdir(), f"billing-{os.getuid()}")
    folder = Path(os.environ.get("BILLING_ALIVE_DIR") or own)
    return folder / f"billing-{name.split('@', 1)[0]}.alive"


def ready_file(name: str) -> Path:
    """Return the file that the worker touches while it reaches its servers."""
    return alive_file(name).with_suffix(".ready")


def is_alive(name: str) -> bool:
    """Whether the worker touched its file within the last minute."""
    return _age_s(alive_file(name)) < STUCK_AFTER_S


def is_ready(name: str) -> bool:
    """Whether the worker is alive, and reached its servers a moment ago."""
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


class PostgresWatch:
    """Asks Postgres now and then, in a thread of its own, whether it lets this worker in."""

    def __init__(self) -> None:
        self._ends = threading.Event()
        self._logged_at = float("-inf")
        self.has_answered: bool | None = None

    def start(self) -> None:
        """Ask from now on."""
        threading.Thread(target=self._run, name="postgres-watch", daemon=True).start()

    def stop(self) -> None:
        """Ask no more."""
        self._ends.set()

    def _run(self) -> None:
        while not self._ends.is_set():
            self.ask()
            self._ends.wait(ASK_EVERY_S)

    def ask(self) -> None:
        """Ask once; log the server's words when it does not answer, and when it does again."""
        try:
            with engine().connect() as connection:
                connection.exec_driver_sql("SELECT 1")
        except SQLAlchemyError as error:
            self._tell_silence(first_line(getattr(error, "orig", error)))
            return
        if self.has_answered is False:
            log.info("postgres_reachable")
            self._logged_at = float("-inf")
        self.has_answered = True

    def _tell_silence(self, reason: str) -> None:
        self.has_answered = False
        if time.monotonic() >= self._logged_at + LOG_EVERY_S:
            self._logged_at = time.monotonic()
            log.error("postgres_unreachable", reason=reason)


class Alive(bootsteps.StartStopStep):
    """Touches the file while the worker's event loop runs and Postgres answers."""

    requires = ("celery.worker.consumer.connection:Connection",)

    def __init__(self, parent: Any, **kwargs: Any) -> None:
        super().__init__(parent, **kwargs)
        self._timer: Any = None
        self._watch: PostgresWatch | None = None

    def start(self, parent: Any) -> None:
        """Touch the file now and at intervals."""
        self._watch = PostgresWatch()
        self._watch.ask()
        self._watch.start()
        self._touch(parent)
        self._timer = parent.timer.call_repeatedly(TOUCH_EVERY_S, self._touch, (parent,))

    def _touch(self, parent: Any) -> None:
        if self._watch is None or not self._watch.has_answered:
            return
        touch(alive_file(parent.hostname))
        # A reader of debits is always at both servers, and knows first.
        reader = getattr(parent, "debit_reader", None)
        if reader is None or reader.is_ready:
            touch(ready_file(parent.hostname))

    def stop(self, parent: Any) -> None:
        """Stop touching the file."""
        if self._watch is not None:
            self._watch.stop()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    shutdown = stop
