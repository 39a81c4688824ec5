"""Children that can't outlive this process, however it ends."""

import contextlib
import os
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Self

from devstack import guardian, launch
from devstack.children import PATIENT, Child, Command, open_log
from devstack.errors import GuardianDied

GUARDIAN_SECONDS = 5.0  # it ends at once when its pipe closes, unless it hangs
# Without site-packages: our two scripts need only the standard library, and start in 20 ms.
PYTHON = (sys.executable, "-I", "-S")


class Guard:
    """A context that stops its children, in reverse order of their start, when it ends.

    `stop_requests` returns the number of stop requests, which shortens waits (see Child.stop).
    """

    def __init__(self, stop_requests: Callable[[], int] = lambda: 0) -> None:
        self.stop_requests = stop_requests
        self.children: list[Child] = []
        # PDEATHSIG fires when the *thread* that forked ends, so one thread that lives as long as
        # the process does all forks.
        self._forker = ThreadPoolExecutor(max_workers=1, thread_name_prefix="forker")

    def __enter__(self) -> Self:
        command = [*PYTHON, guardian.__file__, str(os.getpid())]
        # In a session of its own, so that a Ctrl-C or a kill of our group does not reach it.
        quiet: Any = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        self._guardian = subprocess.Popen(
            command, stdin=subprocess.PIPE, start_new_session=True, **quiet
        )
        return self

    def __exit__(self, *_: object) -> None:
        try:
            for child in reversed(self.children.copy()):
                self.stop(child)
        finally:  # the guardian ends what a repeated Ctrl-C left running
            self._dismiss_guardian()
            self._forker.shutdown()

    def spawn(self, command: Command, log: Path) -> Child:
        """Start a child in a session of its own. Raises GuardianDied."""
        # Entirely in the forker thread: a Ctrl-C interrupts this one, and would lose a child that
        # is half started.
        return self._forker.submit(self._spawn, command, log).result()

    def stop(self, child: Child) -> None:
        """Stop a child and its process group before the guard ends."""
        child.stop(lambda: max(PATIENT, self.stop_requests()))
        self.children.remove(child)
        with contextlib.suppress(GuardianDied):  # then nothing is watched any more
            self._send(f"forget {child.pid}")

    def check(self) -> None:
        """Check the guardian, without which a kill -9 would leave grandchildren.

        Raises GuardianDied.
        """
        if self._guardian.poll() is not None:
            raise GuardianDied

    def _spawn(self, command: Command, log: Path) -> Child:
        self.check()
        parent = (str(int(command.death_signal)), str(os.getpid()))
        launcher = [*PYTHON, launch.__file__, *parent, command.runs_as]
        output = open_log(log)
        try:
            log_start = os.fstat(output).st_size
            process = subprocess.Popen(
                [*launcher, *command.argv],
                env=dict(command.env),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                pass_fds=command.inherits,
                start_new_session=True,  # a group of its own, which `watch` names
            )
        finally:
            os.close(output)
        child = Child(command, process, log, log_start)
        self.children.append(child)
        self._send(f"watch {child.pid} {int(command.death_signal)}")
        return child

    def _send(self, line: str) -> None:
        assert self._guardian.stdin is not None  # opened as a pipe
        try:
            # Unbuffered, so that it arrives at once; a line fits into any pipe.
            os.write(self._guardian.stdin.fileno(), f"{line}\n".encode())
        except BrokenPipeError:
            raise GuardianDied from None

    def _dismiss_guardian(self) -> None:
        assert self._guardian.stdin is not None  # opened as a pipe
        self._guardian.stdin.close()
        try:
            self._guardian.wait(GUARDIAN_SECONDS)
        except subprocess.TimeoutExpired:
            self._guardian.kill()
            self._guardian.wait()
