"""Running several commands side by side; if one ends by itself, all are stopped."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from devstack.children import Child, Command
from devstack.errors import ChildFailed
from devstack.folder import DataFolder
from devstack.guard import Guard
from devstack.ready import failed
from devstack.stopping import StopRequest

POLL_SECONDS = 0.1
WAIT_SECONDS = 90.0  # for a step's condition; Celery on a busy machine needs 10 s to answer


@dataclass(frozen=True)
class Step:
    """A command to start, once `when` returns true.

    `once`: it must end with exit code 0 before the next step starts.
    """

    command: Command
    once: bool = False
    when: Callable[[], bool] = lambda: True


class Supervisor:
    """A runner of steps. It restarts nothing: a crash has a cause that somebody should read."""

    def __init__(
        self,
        guard: Guard,
        folder: DataFolder,
        stop: StopRequest,
        *,
        servers: Sequence[Child] = (),
        say: Callable[[str], None] = print,
    ) -> None:
        """Watch `servers` too, but leave stopping them to their owner."""
        self._guard, self._folder, self._stop, self._say = guard, folder, stop, say
        self._servers = servers
        self._children: list[Child] = []

    def run(self, steps: Sequence[Step], *, on_running: Callable[[], None] = lambda: None) -> None:
        """Start the steps in order and run them until a stop is requested; then stop all.

        Raises ChildFailed or GuardianDied.
        """
        try:
            if all(self._begin(step) for step in steps):
                on_running()
                while not self._stop.wait(POLL_SECONDS):
                    self._check()
        finally:
            for child in reversed(self._children):
                self._say(f"stopping {child.name}")
                self._guard.stop(child)

    def _begin(self, step: Step) -> bool:
        """Start a step; return False if a stop was requested meanwhile."""
        if not self._wait_for(step):
            return False
        child = self._guard.spawn(step.command, self._folder.log(step.command.name))
        self._say(f"started {child.name} (pid {child.pid})")
        if not step.once:
            self._children.append(child)
            return True
        try:
            return self._finish(child)
        finally:
            self._guard.stop(child)

    def _wait_for(self, step: Step) -> bool:
        deadline = time.monotonic() + WAIT_SECONDS
        while not self._stop.times():
            if step.when():
                return True
            self._check()
            if time.monotonic() > deadline:
                raise failed(
                    self._children[-1], f"kept {step.command.name} waiting for {WAIT_SECONDS:.0f} s"
                )
            self._stop.wait(POLL_SECONDS)
        return False

    def _finish(self, child: Child) -> bool:
        while child.exit_code is None:
            if self._stop.wait(POLL_SECONDS):
                return False
            self._check()
        if child.exit_code != 0:
            raise _died(child)
        return True

    def _check(self) -> None:
        self._guard.check()
        for child in (*self._servers, *self._children):
            if child.exit_code is not None:
                raise _died(child)


def _died(child: Child) -> ChildFailed:
    return failed(child, f"ended with exit code {child.exit_code}")
