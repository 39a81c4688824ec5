"""The workers of a bench: Celery as a user starts it, gone when the measuring is over."""

import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress

import psutil  # type: ignore[import-untyped]

from billing_client import Debit

#: Our debit reader, as the README starts it.
READER = ("-A", "worker.app", "worker", "-Q", Debit.QUEUE, "--pool", "solo", "-l", "INFO")
#: Of what failed workers said, the last of it.
SHOWN_CHARACTERS = 5000


@contextmanager
def running(command: Sequence[str], *, number: int = 1) -> Iterator[list[int]]:
    """Start so many workers of this `celery` command line; yields their process ids.

    What they said is shown if the measuring fails.
    """
    with tempfile.TemporaryFile() as said:
        workers = [
            subprocess.Popen(
                [sys.executable, "-m", "celery", *command, "-n", f"bench{each}@%h"],
                stdout=said,
                stderr=said,
            )
            for each in range(number)
        ]
        try:
            yield [worker.pid for worker in workers]
        except Exception:
            said.seek(0)
            sys.stderr.write(said.read().decode(errors="replace")[-SHOWN_CHARACTERS:])
            raise
        finally:
            for worker in workers:
                _end(worker)


def _end(worker: "subprocess.Popen[bytes]") -> None:
    """At once, its children with it: what they did is acknowledged, and the books are audited."""
    parent = psutil.Process(worker.pid)
    for process in (*parent.children(recursive=True), parent):
        with suppress(psutil.NoSuchProcess):
            process.kill()
    worker.wait()
