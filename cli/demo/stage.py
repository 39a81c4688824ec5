"""The running system as a section of the demo uses it, and the outcomes that a section finds."""

import time
from collections.abc import Callable
from dataclasses import dataclass

from billing_client import BillingClient

#: A start, or the work of a section, that takes longer means that something is broken.
WAIT_S, SETTLE_S = 60.0, 30.0
POLL_S = 0.1


@dataclass(frozen=True)
class Outcome:
    """One input of a section, its outcome, and the expected outcome.

    `became` is read from rows. It begins with `expected`, and may add details such as a reason.
    """

    came_in: str
    became: str
    expected: str

    @property
    def is_expected(self) -> bool:
        """Whether the outcome is the expected one."""
        return self.became.startswith(self.expected)


@dataclass(frozen=True)
class Stage:
    """The ways into the running system, and a wait for its workers."""

    client: BillingClient
    relay_url: str
    webhook_secret: str
    wait_s: float = SETTLE_S

    def settle(self) -> None:
        """Wait until the workers have done every message, at most `wait_s`.

        After that the section goes on: its outcomes say more than a time-out.
        """
        wait_until(_is_idle, within_s=self.wait_s)


def wait_until(condition: Callable[[], bool], *, within_s: float = WAIT_S) -> bool:
    """Wait for the condition; return whether it was met in time."""
    deadline = time.monotonic() + within_s
    while not condition():
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
