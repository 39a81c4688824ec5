"""The workers of a bench: Celery as a user starts it."""

import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress

import psutil  # type: ignore[import-untyped]

from billing_client import Debit

#: Our debit reader.
READER = ("-A", "worker.app", "worker", "-Q", Debit.QUEUE, "--pool", "solo", "-l", "INFO")
#: The last characters of a failed worker's output that are shown.
SHOWN_CHARACTERS = 5000


@contextmanager
def running(command: Sequence[str], *, number: int = 1) -> Iterator[list[int]]:
    """Start this many workers with a `celery` command line, and yield their process ids.

    If the measurement fails, show the end of their output.
    """
    with tempfile.TemporaryFile() as output:
        workers = [
            subprocess.Popen(
                [sys.executable, "-m", "celery", *command, "-n", f"bench{index}@%h"],
                stdout=output,
                stderr=output,
            )
            for index in range(number)
        ]
        try:
            yield [worker.pid for worker in workers]
        except Exception:
            output.seek(0)
            sys.stderr.write(output.read().decode(errors="replace")[-SHOWN_CHARACTERS:])
            raise
        finally:
            for worker in workers:
                _end(worker)


def _end(worker: "subprocess.Popen[bytes]") -> None:
    """Kill a worker with its children: its work is acknowledged, and the audit checks the ledger."""
    parent = psutil.Process(worker.pid)
    for process in (*parent.children(recursive=True), parent):
        with suppress(psutil.NoSuchProcess):
            process.kill()
    worker.wait()
