"""A process that outlives its owner and ends what the owner left behind, even after a kill -9.

Linux can tie a child's life to its parent's (PDEATHSIG, see launch.py), but that does not reach
grandchildren such as Celery's prefork children, depends on one thread, and does not exist on macOS.
Everywhere, the kernel closes the dead owner's end of a pipe, and a process group includes the
grandchildren.

Run as a script, with only the standard library: `guardian.py OWNER_PID`. It reads lines from
standard input: `watch GROUP SIGNAL` and `forget GROUP`.
"""

import os
import select
import signal
import sys
import time

STDIN = 0
# A fork of the owner may hold the pipe open after the owner's death, so check our parent too.
OWNER_CHECK_SECONDS = 2.0
# A group that survives its signal for so long gets SIGKILL; Postgres ends its backends on SIGQUIT.
GRACE_SECONDS = 1.5
POLL_SECONDS = 0.05


def listen(owner: int) -> dict[int, int]:
    """Read the owner's lines until it is gone; return the watched groups with their signals."""
    watched: dict[int, int] = {}
    partial_line = b""
    while os.getppid() == owner:
        if not select.select([STDIN], [], [], OWNER_CHECK_SECONDS)[0]:
            continue
        chunk = os.read(STDIN, 4096)
        if not chunk:
            break
        *lines, partial_line = (partial_line + chunk).split(b"\n")
        for line in lines:
            verb, group, *rest = line.split()
            if verb == b"watch":
                watched[int(group)] = int(rest[0])
            else:
                watched.pop(int(group), None)
    return watched


def end(watched: dict[int, int]) -> None:
    """End the groups, each by its own signal first."""
    groups = [group for group, first_signal in watched.items() if send(group, first_signal)]
    alive = [group for group in groups if watched[group] != signal.SIGKILL]
    deadline = time.monotonic() + GRACE_SECONDS
    while alive and time.monotonic() < deadline:
        time.sleep(POLL_SECONDS)
        alive = [group for group in alive if send(group, 0)]
    for group in alive:
        send(group, signal.SIGKILL)


def send(group: int, number: int) -> bool:
    """Send a signal to a group (0 only tests it); return whether the group has a process."""
    try:
        os.killpg(group, number)
    except ProcessLookupError:
        return False
    except PermissionError:  # macOS raises it for a group of zombies
        return False
    return True


if __name__ == "__main__":
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)  # only the end of its owner ends it
    end(listen(int(sys.argv[1])))
