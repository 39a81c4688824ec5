"""Running Postgres, which refuses root, under another user id without changing the system."""

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

SAME = "same"  # our own user id
NOBODY = "nobody"  # its id differs between systems; initdb needs one that has a name
PROBE_SECONDS = 10.0  # `postgres --version` takes 30 ms
# Survives a reboot, unlike /tmp; mkdtemp makes a private folder there.
OUTSIDE = "/var/tmp"  # noqa: S108
PASSABLE_FOLDER = 0o711  # others may pass through it, but not list it


@dataclass(frozen=True)
class Sandbox:
    """The user id that Postgres runs under."""

    runs_as: str  # see launch.py
    owner: int  # the owner of its files, outside the namespace

    @property
    def is_other_user(self) -> bool:
        """Whether its files belong to another user than ours."""
        return self.owner != os.geteuid()


def choose_sandbox(program: Path) -> Sandbox:
    """Choose the first sandbox in which `program --version` runs without root.

    A user namespace is tried first: the files stay root's, so the data may be anywhere. Containers
    often forbid it. There Postgres runs as `nobody`, which must be able to reach its programs and
    its data.

    Raises CannotLeaveRoot.
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
    raise CannotLeaveRoot(*reasons)


def prepare_home(home: Path, sandbox: Sandbox) -> Path:
    """Make the folder of Postgres, give it to the sandbox's user, and return its path.

    Raises DataOwnedByOther or CannotLeaveRoot.
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
    """Make the sandbox's user the owner of a path and of everything in it.

    Raises DataOwnedByOther.
    """
    owner = path.stat().st_uid
    if owner == sandbox.owner:
        return
    if os.geteuid() != 0:
        raise DataOwnedByOther(path=path, owner=owner, wanted=sandbox.owner)
    # The top last: its owner shows whether this was completed.
    for folder, _, files in os.walk(path, topdown=False):
        for name in files:
            os.lchown(Path(folder, name), sandbox.owner, -1)
        os.lchown(folder, sandbox.owner, -1)
    os.lchown(path, sandbox.owner, -1)


def why_not(sandbox: Sandbox, *command: str) -> str | None:
    """Return why a command fails in the sandbox; None if it succeeds."""
    launched = [*PYTHON, launch.__file__, "0", str(os.getpid()), sandbox.runs_as, *command]
    try:
        probe = subprocess.run(
            launched, capture_output=True, text=True, timeout=PROBE_SECONDS, check=False
        )
    except subprocess.TimeoutExpired:
        return f"{sandbox.runs_as} did not answer"
    return probe.stderr.strip() or f"exit code {probe.returncode}" if probe.returncode else None


def _reaches(sandbox: Sandbox, folder: Path) -> bool:
    """Try it, since in a namespace even root has only the rights of its new id."""
    return why_not(sandbox, "/bin/sh", "-c", 'cd -- "$0"', str(folder)) is None


def _put_outside(home: Path, sandbox: Sandbox) -> None:
    """Put the data elsewhere, with a link in the data folder, where Postgres could not reach it."""
    if home.exists():
        reason = f"Postgres as {sandbox.runs_as} can't reach {home}: move the data folder"
        raise CannotLeaveRoot(reason)
    home.symlink_to(tempfile.mkdtemp(prefix="billing-postgres-", dir=OUTSIDE))
