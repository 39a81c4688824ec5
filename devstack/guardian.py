"""Outlives its owner by a moment and ends what the owner left behind, also after a kill -9.

Why a process of its own: Linux can tie a child's life to its parent's (PDEATHSIG, see launch.py),
but that does not reach grandchildren, such as Celery's prefork children, is bound to one thread,
and does not exist on macOS. A pipe whose other end the kernel closes works everywhere and needs no
root, and a process group includes the grandchildren.

Run as a script with the standard library alone: `guardian.py OWNER_PID`, told on standard input, a
line each: `watch GROUP SIGNAL` and `forget GROUP`.
"""

import os
import select
import signal
import sys
import time

STDIN = 0
# A fork of the owner may hold the pipe open after the owner's death; so look at our parent too,
# this often.
OWNER_CHECK_SECONDS = 2.0
# What does not end on its own signal (Postgres on SIGQUIT takes its backends along) gets SIGKILL
# after this.
GRACE_SECONDS = 1.5
POLL_SECONDS = 0.05


def listen(owner: int) -> dict[int, int]:
    """Follows what the owner says until it is gone; gives the groups left, with their signals."""
    watched: dict[int, int] = {}
    heard = b""
    while os.getppid() == owner:
        if not select.select([STDIN], [], [], OWNER_CHECK_SECONDS)[0]:
            continue
        chunk = os.read(STDIN, 4096)
        if not chunk:
            break
        *lines, heard = (heard + chunk).split(b"\n")
        for line in lines:
            verb, group, *rest = line.split()
            if verb == b"watch":
                watched[int(group)] = int(rest[0])
            else:
                watched.pop(int(group), None)
    return watched


def end(watched: dict[int, int]) -> None:
    """Ends the groups, each by its signal first."""
    told = [group for group, first_signal in watched.items() if tell(group, first_signal)]
    left = [group for group in told if watched[group] != signal.SIGKILL]
    deadline = time.monotonic() + GRACE_SECONDS
    while left and time.monotonic() < deadline:
        time.sleep(POLL_SECONDS)
        left = [group for group in left if tell(group, 0)]
    for group in left:
        tell(group, signal.SIGKILL)


def tell(group: int, number: int) -> bool:
    """Signals a group (0 only asks); says whether there was anybody in it."""
    try:
        os.killpg(group, number)
    except ProcessLookupError:
        return False
    except PermissionError:  # macOS says so of a group of zombies
        return False
    return True


if __name__ == "__main__":
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)  # only the owner's end ends it
    end(listen(int(sys.argv[1])))
