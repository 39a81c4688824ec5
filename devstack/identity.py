"""Tells whether an id still means the process we wrote down: the kernel gives ids out again."""

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

PS_SECONDS = 5.0  # `ps` for one id answers in milliseconds; a hung machine must not hang us


def started_at(pid: int) -> str | None:
    """When it started, in words that are equal for the same process only; None when it is gone."""
    return _started_at_linux(pid) if sys.platform == "linux" else _started_at_ps(pid)


def _started_at_linux(pid: int) -> str | None:
    try:
        # The name, field 2, may hold spaces and brackets: count the fields after its last bracket.
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except (FileNotFoundError, ProcessLookupError):
        return None
    state, start_ticks = fields[0], fields[19]  # proc_pid_stat(5), fields 3 and 22
    return None if state in "ZX" else f"{boot}:{start_ticks}"


def _started_at_ps(pid: int) -> str | None:
    return _ps(pid, "lstart=") or None


def command_of(pid: int) -> str:
    """The command line of a process; empty when it is gone."""
    if sys.platform != "linux":
        return _ps(pid, "command=")
    try:
        return (
            Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
        )
    except (FileNotFoundError, ProcessLookupError):
        return ""


def working_folder(pid: int) -> Path | None:
    """None where it cannot be told: not on Linux, or not ours to see."""
    try:
        return Path(f"/proc/{pid}/cwd").readlink()
    except OSError:
        return None


def _ps(pid: int, column: str) -> str:
    command = ["ps", "-o", column, "-p", str(pid)]
    return subprocess.run(
        command, capture_output=True, text=True, timeout=PS_SECONDS, check=False
    ).stdout.strip()


@dataclass(frozen=True)
class Identity:
    """A process id, with what tells its process from later ones."""

    pid: int
    started: str

    @classmethod
    def of(cls, pid: int) -> "Identity | None":
        """None when there is no such process."""
        started = started_at(pid)
        return cls(pid, started) if started else None

    @classmethod
    def mine(cls) -> "Identity":
        """Of this process."""
        me = cls.of(os.getpid())
        assert me is not None  # we are running
        return me

    def alive(self) -> bool:
        """Whether that very process runs."""
        return started_at(self.pid) == self.started
