"""Errors of the embedded servers and of the children of `billing run`."""

from pathlib import Path
from typing import Any


class StackError(Exception):
    """An error that an operator can act on.

    The docstring of its class is the template of its message; the facts become attributes.
    """

    def __init__(self, **facts: Any) -> None:
        super().__init__((type(self).__doc__ or "").format(**facts))
        vars(self).update(facts)


class BinariesMissing(StackError):
    """No {programs} was found. {remedy}."""


class CannotLeaveRoot(StackError):
    """Postgres does not run as root, and no other user could run it here: {reasons}. {remedy}."""

    def __init__(self, *reasons: str) -> None:
        remedy = "Start as an ordinary user, or set DATABASE_URL and REDIS_URL to your own servers"
        super().__init__(reasons="; ".join(reasons), remedy=remedy)


class DataOwnedByOther(StackError):
    """{path} belongs to user id {owner}, not {wanted}. Use another folder."""


class NotAFolder(StackError):
    """{path} is not a folder. Name another one with --data or BILLING_DATA."""


class FileDamaged(StackError):
    """{path} can't be read: {problem}. Delete it if no servers of this folder run."""


class DataInUse(StackError):
    """{folder} is in use by {holder}."""

    def __init__(self, folder: Path, pid: int | None) -> None:
        others = "another process, or by servers that are still stopping"
        super().__init__(folder=folder, pid=pid, holder=f"process {pid}" if pid else others)


class SecretMissing(StackError):
    """{path} is missing, but {data} was made with it. Restore it from a backup."""


class NotOurs(StackError):
    """The stack in {folder} runs in the foreground: end process {pid} to stop it."""


class PortTaken(StackError):
    """Port {port} for {name} is already in use on 127.0.0.1."""


class HalfConfigured(StackError):
    """{present} is set but {absent} is not. Set both, or neither."""


class NoEmptyRedis(StackError):
    """All {databases} databases of the Redis at REDIS_URL hold data. Empty one of them."""


class StartInterrupted(StackError):
    """A stop was requested while the servers were starting."""


class GuardianDied(StackError):
    """The guardian process ended, so a kill -9 would leave processes behind. Stopping."""


class ChildFailed(StackError):
    """A child ended by itself, or did not become ready in time (`exit_code` None)."""

    def __str__(self) -> str:
        lines = "".join(
            f"\n  | {line}" for line in vars(self)["tail"].splitlines() or ["(nothing)"]
        )
        return "{name} {reason}. The end of {log}:".format(**vars(self)) + lines
