"""The identity of a process beyond its id, which the kernel reuses."""

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

PS_SECONDS = 5.0  # `ps` for one id answers in milliseconds; a limit for a machine that hangs


def started_at(pid: int) -> str | None:
    """Return a text that is unique to this start of the process; None if it has ended."""
    if sys.platform != "linux":
        return _ps(pid, "lstart=") or None
    try:
        # Field 2, the name, may have spaces and brackets: count the fields after its last bracket.
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except (FileNotFoundError, ProcessLookupError):
        return None
    state, start_ticks = fields[0], fields[19]  # proc_pid_stat(5), fields 3 and 22
    return None if state in "ZX" else f"{boot}:{start_ticks}"


def command_of(pid: int) -> str:
    """Return the command line of a process; empty if it has ended."""
    if sys.platform != "linux":
        return _ps(pid, "command=")
    try:
        return (
            Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
        )
    except (FileNotFoundError, ProcessLookupError):
        return ""


def working_folder(pid: int) -> Path | None:
    """Return a process's working folder; None if it can't be read, as on macOS."""
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
    """A process id, with a text that distinguishes its process from later ones."""

    pid: int
    started: str

    @classmethod
    def of(cls, pid: int) -> "Identity":
        """Return the identity of a process that runs."""
        started = started_at(pid)
        assert started is not None
        return cls(pid, started)

    def alive(self) -> bool:
        """Whether this process, not a later one of the same id, is running."""
        return started_at(self.pid) == self.started
