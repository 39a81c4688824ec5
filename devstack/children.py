"""Child processes: their commands, their end and their logs."""

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

TAIL_LINES = 20  # enough for the end of a traceback or a server's last messages
TAIL_BYTES = 8_192
LOG_BYTES = 10_000_000  # a longer log is renamed at the next start; one old log is kept
HURRY_SECONDS = 3.0  # Celery's cold shutdown requeues its messages in about 1.5 s
POLL_SECONDS = 0.05

PATIENT, HURRIED, DESPERATE = 1, 2, 3  # the number of stop requests


@dataclass(frozen=True)
class Command:
    """A command with the signals that stop it: `stop_signal`, `hurry_signal`, then SIGKILL."""

    name: str
    argv: tuple[str, ...]
    env: Mapping[str, str]
    stop_signal: signal.Signals = signal.SIGTERM
    grace_seconds: float = 10.0
    hurry_signal: signal.Signals = signal.SIGKILL
    # Sent if the process that started it was killed and can't wait for it.
    death_signal: signal.Signals = signal.SIGKILL
    runs_as: str = "same"  # see launch.py
    inherits: tuple[int, ...] = ()  # file descriptors


class Child:
    """A running command."""

    def __init__(
        self, command: Command, process: subprocess.Popen[bytes], log: Path, log_start: int
    ) -> None:
        self.command, self.log = command, log
        self._process, self._log_start = process, log_start
        self.name = command.name
        self.pid = process.pid  # also the id of its process group

    @property
    def exit_code(self) -> int | None:
        """The exit code; None while it runs; negative for the signal that ended it."""
        return self._process.poll()

    def tail(self) -> str:
        """Return the last lines that it wrote since its start."""
        return tail(self.log, since=self._log_start)

    def ended_within(self, seconds: float, unless: Callable[[], bool] = lambda: False) -> bool:
        """Wait at most `seconds` for its end, or until `unless` returns true."""
        deadline = time.monotonic() + seconds
        while self.exit_code is None and time.monotonic() < deadline and not unless():
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(POLL_SECONDS)
        return self.exit_code is not None

    def stop(self, stop_requests: Callable[[], int] = lambda: PATIENT) -> None:
        """Stop it and everything in its process group. Repeated stop requests shorten the waits."""
        self._signal(self.command.stop_signal)
        if not self.ended_within(
            self.command.grace_seconds, unless=lambda: stop_requests() >= HURRIED
        ):
            self._signal(self.command.hurry_signal)
            if not self.ended_within(HURRY_SECONDS, unless=lambda: stop_requests() >= DESPERATE):
                self._signal(signal.SIGKILL)
                self._process.wait()
        # Kill grandchildren that outlived the child. The id of a group is not reused while the
        # group has members; macOS raises PermissionError for a group of zombies.
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, signal.SIGKILL)

    def _signal(self, number: signal.Signals) -> None:
        self._process.send_signal(number)  # does nothing if the child is known to have ended


def tail(log: Path, *, since: int = 0) -> str:
    """Return the last lines of a log, from byte `since` at the earliest."""
    if not log.exists():
        return ""
    with log.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(since, size - TAIL_BYTES))
        text = file.read().decode(errors="replace")
    return "\n".join(text.splitlines()[-TAIL_LINES:])


def open_log(log: Path) -> int:
    """Open a log for appending; rename one that is too long first."""
    if log.exists() and log.stat().st_size > LOG_BYTES:
        log.replace(log.with_suffix(".log.1"))
    return os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
