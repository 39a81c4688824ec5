"""A child of ours: how it is started, watched, and brought to an end."""

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

TAIL_LINES = 20  # enough for a traceback's end or a server's last words
TAIL_BYTES = 8_192
LOG_BYTES = 10_000_000  # a longer log moves aside at the next start; one old one is kept
HURRY_SECONDS = 3.0  # Celery's cold shutdown puts its messages back in about 1.5 s
POLL_SECONDS = 0.05

PATIENT, HURRIED, DESPERATE = 1, 2, 3  # how often we were asked to stop


@dataclass(frozen=True)
class Command:
    """What to run; ended by `stop_signal`, `hurry_signal` after `grace_seconds`, then SIGKILL."""

    name: str
    argv: tuple[str, ...]
    env: Mapping[str, str]
    stop_signal: signal.Signals = signal.SIGTERM
    grace_seconds: float = 10.0
    hurry_signal: signal.Signals = signal.SIGKILL
    # What it gets when the process that started it was killed and nobody is left to wait for it.
    death_signal: signal.Signals = signal.SIGKILL
    runs_as: str = "same"  # see launch.py
    inherits: tuple[int, ...] = ()  # file descriptors


class Child:
    """A command under way."""

    def __init__(
        self, command: Command, process: subprocess.Popen[bytes], log: Path, log_start: int
    ) -> None:
        self.command, self.log = command, log
        self._process, self._log_start = process, log_start

    @property
    def name(self) -> str:
        """Of the command, and of the log."""
        return self.command.name

    @property
    def pid(self) -> int:
        """Also the id of its process group."""
        return self._process.pid

    @property
    def exit_code(self) -> int | None:
        """None while it runs; negative: the signal that ended it."""
        return self._process.poll()

    def tail(self) -> str:
        """The end of what it wrote since its start."""
        return tail(self.log, since=self._log_start)

    def ended_within(self, seconds: float, unless: Callable[[], bool] = lambda: False) -> bool:
        """Waits for its end, at most so long; `unless` cuts the wait short."""
        deadline = time.monotonic() + seconds
        while self.exit_code is None and time.monotonic() < deadline and not unless():
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(POLL_SECONDS)
        return self.exit_code is not None

    def stop(self, times_asked: Callable[[], int] = lambda: PATIENT) -> None:
        """Ends it and whatever it left in its process group.

        Being asked again shortens the waits.
        """
        self._signal(self.command.stop_signal)
        if not self.ended_within(
            self.command.grace_seconds, unless=lambda: times_asked() >= HURRIED
        ):
            self._signal(self.command.hurry_signal)
            if not self.ended_within(HURRY_SECONDS, unless=lambda: times_asked() >= DESPERATE):
                self._signal(signal.SIGKILL)
                self._process.wait()
        self.end_group()

    def end_group(self) -> None:
        """Ends grandchildren that outlived the child.

        Nobody reuses a group's id while it has members.
        """
        # PermissionError is what macOS says of a group of zombies.
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, signal.SIGKILL)

    def _signal(self, number: signal.Signals) -> None:
        self._process.send_signal(number)  # says nothing to a child that it has seen ending


def tail(log: Path, *, since: int = 0) -> str:
    """The last lines of a log, looking back no further than the byte `since`."""
    if not log.exists():
        return ""
    with log.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(since, size - TAIL_BYTES))
        text = file.read().decode(errors="replace")
    return "\n".join(text.splitlines()[-TAIL_LINES:])


def open_log(log: Path) -> int:
    """A descriptor that appends to the log; an overlong one moves aside first."""
    if log.exists() and log.stat().st_size > LOG_BYTES:
        log.replace(log.with_suffix(".log.1"))
    return os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
