"""Stop requests: Ctrl-C, `kill`, a closed terminal or the end of the parent."""

import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class StopRequest:
    """The number of stop requests so far."""

    def __init__(self, *, until_parent_ends: bool = False) -> None:
        self._signals = 0
        self._parent = os.getppid() if until_parent_ends else None

    def times(self) -> int:
        """Return the number of signals so far; the end of the parent counts as one."""
        orphaned = self._parent is not None and os.getppid() != self._parent
        return self._signals + int(orphaned)

    def wait(self, seconds: float) -> bool:
        """Sleep, then return whether a stop was requested."""
        if not self.times():
            # Not an Event: a signal handler that takes its lock while this thread holds it would
            # hang.
            time.sleep(seconds)
        return self.times() > 0

    def count(self, _number: int = 0, _frame: FrameType | None = None) -> None:
        """Count a stop request; used as a signal handler."""
        self._signals += 1


@contextmanager
def listening_for_stop(*, until_parent_ends: bool = False) -> Iterator[StopRequest]:
    """Count stop signals instead of being interrupted by them. In the main thread only."""
    request = StopRequest(until_parent_ends=until_parent_ends)
    before = {number: signal.getsignal(number) for number in STOP_SIGNALS}
    for number in STOP_SIGNALS:
        # Respect nohup, which ignores SIGHUP. A shell ignores SIGINT for its background jobs, but
        # a SIGINT sent to one is meant for it.
        if number != signal.SIGHUP or before[number] != signal.SIG_IGN:
            signal.signal(number, request.count)
    try:
        yield request
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
