"""Counts how often we were asked to stop: Ctrl-C, `kill`, a closed terminal, our parent's end."""

import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

ASKING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class StopRequest:
    """How often somebody asked, from none to impatient."""

    def __init__(self, *, until_parent_ends: bool = False) -> None:
        self._signals = 0
        self._parent = os.getppid() if until_parent_ends else None

    def times(self) -> int:
        """The signals so far; the end of the parent counts as one."""
        orphaned = self._parent is not None and os.getppid() != self._parent
        return self._signals + int(orphaned)

    def wait(self, seconds: float) -> bool:
        """Sleeps; a signal is seen at the end of it. Says whether somebody asked."""
        if not self.times():
            # Not an Event: its lock, taken in a signal handler while this thread holds it, would
            # hang.
            time.sleep(seconds)
        return self.times() > 0

    def count(self, _number: int = 0, _frame: FrameType | None = None) -> None:
        """Asks once more; a signal handler."""
        self._signals += 1


@contextmanager
def listening_for_stop(*, until_parent_ends: bool = False) -> Iterator[StopRequest]:
    """In the main thread only. A signal is counted here instead of interrupting whatever runs."""
    request = StopRequest(until_parent_ends=until_parent_ends)
    before = {number: signal.getsignal(number) for number in ASKING}
    for number in ASKING:
        # nohup ignores the closed terminal. A shell ignores SIGINT for its background jobs; whoever
        # sends it means it.
        if number != signal.SIGHUP or before[number] != signal.SIG_IGN:
            signal.signal(number, request.count)
    try:
        yield request
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
