"""The running servers as a section uses them: the client, the relay, and a wait for the workers."""

import time
from collections.abc import Callable
from dataclasses import dataclass

from billing_client import BillingClient

#: Longer than this on any machine means that something is broken.
WAIT_S = 60.0
POLL_S = 0.1


@dataclass(frozen=True)
class Stage:
    """The doors through which things come in."""

    client: BillingClient
    relay_url: str
    webhook_secret: str
    wait_s: float = WAIT_S

    def settle(self) -> None:
        """Wait until the workers have done every message; after `wait_s`, go on all the same.

        The section then shows what did not happen, which says more than a time-out.
        """
        wait_until(_is_idle, within_s=self.wait_s)


def wait_until(is_so: Callable[[], bool], *, within_s: float = WAIT_S) -> bool:
    """Whether it became so within this time."""
    deadline = time.monotonic() + within_s
    while not is_so():
        if time.monotonic() > deadline:
            return False
        time.sleep(POLL_S)
    return True


def _is_idle() -> bool:
    """Whether no message waits and no worker holds one."""
    from celeryconfig import QUEUES  # it reads the settings, which the demo makes first
    from worker.transport import queues

    # In one step: a message may go from a queue into a worker's hand meanwhile.
    with queues.connection().pipeline(transaction=True) as pipe:
        pipe.zcard(queues.UNACKED_INDEX)
        for name in QUEUES:
            for list_name in queues.lists_of(name):
                pipe.llen(list_name)
        return not any(pipe.execute())
