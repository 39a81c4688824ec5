"""A file lock that the kernel releases when its last holder ends, however it ends."""

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

RETRY_SECONDS = 0.05  # flock has no time limit of its own


class StillLocked(Exception):
    """Another process held the lock for longer than the wait."""

    def __init__(self, path: Path) -> None:
        super().__init__(f"{path} is locked by another process.")
        self.path = path


@contextmanager
def file_lock(path: Path, *, wait_seconds: float) -> Iterator[int]:
    """Hold the lock and yield its descriptor. Raises StillLocked after `wait_seconds`.

    A child that inherits the descriptor holds the lock too, until the last of them has ended.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        _take(descriptor, path, time.monotonic() + wait_seconds)
        yield descriptor
    finally:
        os.close(descriptor)


def is_locked(path: Path) -> bool:
    """Whether a process holds the lock right now."""
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
