"""A launcher: drops root if requested, ties its life to its parent's, and execs the command.

Run as a script, with only the standard library, so that it starts in 20 ms, needs no preexec_fn
(unsafe with threads) and keeps its process id: `launch.py DEATH_SIGNAL PARENT_PID
same|namespace:UID:GID|user:UID:GID COMMAND...`
"""

import ctypes
import os
import signal
import sys
from pathlib import Path

PR_SET_PDEATHSIG = 1  # linux/prctl.h
CLONE_NEWUSER = 0x10000000  # linux/sched.h; os.unshare exists only since Python 3.12
CANNOT_START = 126  # the code of a shell for "found but could not be run"


def enter_namespace(uid: int, gid: int) -> None:
    """Enter a user namespace as `uid`; files still belong to the user who started the process."""
    outer_uid, outer_gid = os.getuid(), os.getgid()
    _checked(ctypes.CDLL(None, use_errno=True).unshare(CLONE_NEWUSER), "unshare")
    # The kernel requires this before an unprivileged gid_map.
    Path("/proc/self/setgroups").write_text("deny")
    Path("/proc/self/uid_map").write_text(f"{uid} {outer_uid} 1")
    Path("/proc/self/gid_map").write_text(f"{gid} {outer_gid} 1")


def become_user(uid: int, gid: int) -> None:
    """Change the user id for good, without root's groups."""
    os.setgroups([])
    os.setgid(gid)
    os.setuid(uid)


def die_with_parent(death_signal: int, parent: int) -> None:
    """Let the kernel end this process with its parent; on macOS only the guardian does."""
    if sys.platform == "linux":
        _checked(ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, death_signal), "prctl")
    if os.getppid() != parent:  # it died before the call took effect
        sys.exit(CANNOT_START)


def main(death_signal: str, parent: str, identity: str, *command: str) -> None:
    """Exec the command; never returns."""
    kind, *ids = identity.split(":")
    try:
        if kind == "namespace":
            enter_namespace(int(ids[0]), int(ids[1]))
        elif kind == "user":
            become_user(int(ids[0]), int(ids[1]))
        # Last: the kernel clears the death signal whenever the user id changes.
        die_with_parent(int(death_signal), int(parent))
        # Python ignores SIGPIPE, a shell's background job ignores SIGINT, and exec would keep that.
        for ignored in (signal.SIGPIPE, signal.SIGXFSZ, signal.SIGINT):
            signal.signal(ignored, signal.SIG_DFL)
        os.execv(command[0], command)  # noqa: S606 - no shell is wanted
    except OSError as error:
        sys.stderr.write(f"Can't start {command[0]} as {identity}: {error}\n")
        sys.exit(CANNOT_START)


def _checked(result: int, call: str) -> None:
    if result != 0:
        error = ctypes.get_errno()
        raise OSError(error, f"{call}: {os.strerror(error)}")


if __name__ == "__main__":
    main(*sys.argv[1:])
