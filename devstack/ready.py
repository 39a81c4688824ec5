"""Waits until a server answers a real question, and says why when it does not."""

import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from devstack.children import Child
from devstack.errors import ChildFailed, StartInterrupted
from devstack.guard import Guard

# A start takes 0.2 s; recovery after a crash reads the log back, which may take a minute.
START_SECONDS = 120.0
ASK_SECONDS = 2  # one question; a server on this machine answers in milliseconds
POLL_SECONDS = 0.03
# Servers need little of our environment, and PGDATA or a password in it would only mislead or leak.
KEPT_ENVIRONMENT = ("PATH", "HOME", "TMPDIR", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH")


@dataclass(frozen=True)
class Server:
    """One that answered at its URL."""

    child: Child
    port: int
    url: str


def server_environment() -> Mapping[str, str]:
    """What a server gets to see of our environment."""
    return {name: os.environ[name] for name in KEPT_ENVIRONMENT if name in os.environ} | {
        "LC_ALL": "C"
    }


def wait_until_ready(
    guard: Guard, child: Child, ask: Callable[[], None], refusals: tuple[type[Exception], ...]
) -> None:
    """Asks until there is no refusal.

    Raises ChildFailed, StartInterrupted; the child is stopped then.
    """
    deadline = time.monotonic() + START_SECONDS
    try:
        while not _answers(child, ask, refusals):
            if guard.times_asked():
                raise StartInterrupted
            if time.monotonic() > deadline:
                raise failed(child, f"was not ready after {START_SECONDS:.0f} s")
            time.sleep(POLL_SECONDS)
    except BaseException:
        guard.stop(child)
        raise


def _answers(child: Child, ask: Callable[[], None], refusals: tuple[type[Exception], ...]) -> bool:
    try:
        ask()
    except refusals:
        answered = False
    else:
        answered = True
    # Looked at last: the answer may have been another server's, on the port it wanted.
    if child.exit_code is not None:
        raise failed(child, f"ended with exit code {child.exit_code}")
    return answered


def failed(child: Child, reason: str) -> ChildFailed:
    """The error that tells why, with the child's last words."""
    return ChildFailed(
        child.name, reason, exit_code=child.exit_code, log=child.log, tail=child.tail()
    )
