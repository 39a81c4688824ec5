"""Waiting until a server answers a real query."""

import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from devstack.children import Child
from devstack.errors import ChildFailed, StartInterrupted
from devstack.guard import Guard

# A start takes 0.2 s; recovery from the log after a crash may take a minute.
START_SECONDS = 120.0
ASK_SECONDS = 2  # for one query; a server on this machine answers in milliseconds
POLL_SECONDS = 0.03
# Servers need little of our environment; PGDATA would mislead them, and a password would leak.
KEPT_ENVIRONMENT = ("PATH", "HOME", "TMPDIR", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH")


@dataclass(frozen=True)
class Server:
    """A server that answered at its URL."""

    child: Child
    port: int
    url: str


def server_environment() -> Mapping[str, str]:
    """Return the part of our environment that a server gets."""
    return {name: os.environ[name] for name in KEPT_ENVIRONMENT if name in os.environ} | {
        "LC_ALL": "C"
    }


def wait_until_ready(
    guard: Guard, child: Child, ask: Callable[[], None], refusals: tuple[type[Exception], ...]
) -> None:
    """Ask the server until it answers.

    If it does not, stop it. Raises ChildFailed or StartInterrupted.
    """
    deadline = time.monotonic() + START_SECONDS
    try:
        while not _answers(child, ask, refusals):
            if guard.stop_requests():
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
        has_answered = False
    else:
        has_answered = True
    # Checked last: the answer may come from another server on the same port.
    if child.exit_code is not None:
        raise failed(child, f"ended with exit code {child.exit_code}")
    return has_answered


def failed(child: Child, reason: str) -> ChildFailed:
    """Return the error of a failed child, with the end of its log."""
    return ChildFailed(
        name=child.name, reason=reason, exit_code=child.exit_code, log=child.log, tail=child.tail()
    )
