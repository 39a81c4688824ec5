"""Postgres refuses root: as root we show it another user id, and change nothing in the system."""

import os
import pwd
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

from devstack import launch
from devstack.errors import CannotLeaveRoot, DataOwnedByOther
from devstack.folder import PRIVATE_FOLDER
from devstack.guard import PYTHON

SAME = "same"  # as ourselves
NOBODY = "nobody"  # its id differs between systems; initdb wants one that has a name
PROBE_SECONDS = 10.0  # `postgres --version` takes 30 ms
# Survives a reboot, unlike /tmp; mkdtemp makes a private folder there.
OUTSIDE = "/var/tmp"  # noqa: S108
PASSABLE_FOLDER = 0o711  # others may pass through it, but not look around


@dataclass(frozen=True)
class Sandbox:
    """As whom Postgres runs."""

    runs_as: str  # see launch.py
    owner: int  # the user id its files have, seen from here

    @property
    def is_other_user(self) -> bool:
        """Whether its files must be given away."""
        return self.owner != os.geteuid()


def choose_sandbox(program: Path) -> Sandbox:
    """The first way in which `program --version` runs here as somebody who is not root.

    Raises CannotLeaveRoot.

    A user namespace comes first: the files stay root's, so the data may lie anywhere. Containers
    often forbid it; there, Postgres runs as `nobody`, who must be able to reach its programs and
    its data.
    """
    if os.geteuid() != 0:
        return Sandbox(SAME, os.geteuid())
    nobody = pwd.getpwnam(NOBODY)
    ids = f"{nobody.pw_uid}:{nobody.pw_gid}"
    reasons = []
    for sandbox in (Sandbox(f"namespace:{ids}", 0), Sandbox(f"user:{ids}", nobody.pw_uid)):
        reason = why_not(sandbox, str(program), "--version")
        if reason is None:
            return sandbox
        reasons.append(reason)
    raise CannotLeaveRoot(reasons)


def prepare_home(home: Path, sandbox: Sandbox) -> Path:
    """Makes the folder of Postgres, gives it to the user it runs as, and tells where it is.

    Raises DataOwnedByOther, CannotLeaveRoot.
    """
    if sandbox.is_other_user:
        home.parent.chmod(PASSABLE_FOLDER)
    if sandbox.runs_as != SAME and not home.is_symlink() and not _reaches(sandbox, home.parent):
        _put_outside(home, sandbox)
    home = home.resolve()
    home.mkdir(mode=PRIVATE_FOLDER, exist_ok=True)
    give(home, sandbox)
    return home


def give(path: Path, sandbox: Sandbox) -> None:
    """Makes the sandbox's user the owner of all in a path, if it is not already.

    Raises DataOwnedByOther.
    """
    owner = path.stat().st_uid
    if owner == sandbox.owner:
        return
    if os.geteuid() != 0:
        raise DataOwnedByOther(path, owner, sandbox.owner)
    # The top last: its owner tells whether this was done.
    for folder, _, files in os.walk(path, topdown=False):
        for name in files:
            os.lchown(Path(folder, name), sandbox.owner, -1)
        os.lchown(folder, sandbox.owner, -1)
    os.lchown(path, sandbox.owner, -1)


def why_not(sandbox: Sandbox, *command: str) -> str | None:
    """Why a command fails in the sandbox; None when it does not."""
    launched = [*PYTHON, launch.__file__, "0", str(os.getpid()), sandbox.runs_as, *command]
    try:
        probe = subprocess.run(
            launched, capture_output=True, text=True, timeout=PROBE_SECONDS, check=False
        )
    except subprocess.TimeoutExpired:
        return f"{sandbox.runs_as} did not answer"
    return probe.stderr.strip() or f"exit code {probe.returncode}" if probe.returncode else None


def _reaches(sandbox: Sandbox, folder: Path) -> bool:
    """Asks the kernel: in a namespace, even root has only the rights of its id."""
    return why_not(sandbox, "/bin/sh", "-c", 'cd -- "$0"', str(folder)) is None


def _put_outside(home: Path, sandbox: Sandbox) -> None:
    """Leaves a link in the data folder, since Postgres could not reach its data there."""
    if home.exists():
        raise CannotLeaveRoot(
            [f"Postgres as {sandbox.runs_as} cannot reach {home}: move the data folder"]
        )
    home.symlink_to(tempfile.mkdtemp(prefix="billing-postgres-", dir=OUTSIDE))
