"""A lock on a file that the kernel lets go by itself when its last holder dies, however it dies."""

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

RETRY_SECONDS = 0.05  # flock has no time limit of its own


class StillLocked(Exception):
    """Somebody else held the lock for longer than we wait."""

    def __init__(self, path: Path) -> None:
        super().__init__(f"{path} is locked")
        self.path = path


@contextmanager
def file_lock(path: Path, *, wait_seconds: float) -> Iterator[int]:
    """Holds the lock and gives its descriptor. Raises StillLocked after `wait_seconds`.

    A child that inherits the descriptor holds the lock too: it is free when the last of them is
    gone.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        _take(descriptor, path, time.monotonic() + wait_seconds)
        yield descriptor
    finally:
        os.close(descriptor)


def is_locked(path: Path) -> bool:
    """At this moment."""
    if not path.exists():
        return False
    try:
        with file_lock(path, wait_seconds=0):
            return False
    except StillLocked:
        return True


def _take(descriptor: int, path: Path, deadline: float) -> None:
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= deadline:
                raise StillLocked(path) from None
            time.sleep(RETRY_SECONDS)
        else:
            return
