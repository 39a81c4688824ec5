"""What can go wrong with the embedded servers and the children of `billing run`.

StackError
├── BinariesMissing       no wheel and no system package has the program
├── CannotLeaveRoot       Postgres refuses root, and this machine lets us become nobody else
├── DataOwnedByOther      the data belongs to another user
├── DataInUse             another stack, or a foreign Postgres, works on the data
├── SecretMissing         the data is there, but not the password that opens it
├── NotOurs               `stop` was asked to end a stack that another program holds
├── PortTaken             the port that was asked for is not free
├── HalfConfigured        only one of DATABASE_URL and REDIS_URL is set
├── NoEmptyRedis          each database of the Redis that was named holds data
├── StartInterrupted      somebody asked to stop while the servers were starting
├── GuardianDied          the process that cleans up after a kill -9 is gone
└── ChildFailed           ended or did not become ready; carries the end of its log
"""

from pathlib import Path


class StackError(Exception):
    """Something an operator can act on; the message says what."""


class BinariesMissing(StackError):
    """Neither a wheel nor a system package has the program."""

    def __init__(self, programs: tuple[str, ...], remedy: str) -> None:
        super().__init__(f"cannot find {' or '.join(programs)}: {remedy}")
        self.programs = programs


class CannotLeaveRoot(StackError):
    """Postgres refuses root, and here we can become nobody else."""

    def __init__(self, reasons: list[str]) -> None:
        super().__init__(
            "Postgres does not run as root, and no other user could run it here: "
            + "; ".join(reasons)
            + ". Start as an ordinary user, or set DATABASE_URL and REDIS_URL to servers of yours"
        )
        self.reasons = reasons


class DataOwnedByOther(StackError):
    """The data belongs to another user."""

    def __init__(self, path: Path, owner: int, wanted: int) -> None:
        super().__init__(f"{path} belongs to user id {owner}, not {wanted}: use a folder of yours")
        self.path, self.owner, self.wanted = path, owner, wanted


class DataInUse(StackError):
    """Another stack, or a foreign Postgres, works on the data."""

    def __init__(self, folder: Path, pid: int | None) -> None:
        holder = f"process {pid}" if pid else "another process, or servers that are still ending"
        super().__init__(f"{folder} is in use by {holder}")
        self.folder, self.pid = folder, pid


class SecretMissing(StackError):
    """The data is there, the password that opens it is not."""

    def __init__(self, path: Path, data: Path) -> None:
        super().__init__(
            f"{path} is missing, but {data} was made with it: restore it from a backup"
        )
        self.path, self.data = path, data


class NotOurs(StackError):
    """`stop` does not end what another program holds in the foreground."""

    def __init__(self, folder: Path, pid: int) -> None:
        super().__init__(f"the stack in {folder} is held in the foreground: end process {pid}")
        self.folder, self.pid = folder, pid


class PortTaken(StackError):
    """Somebody else listens on the port that was asked for."""

    def __init__(self, name: str, port: int) -> None:
        super().__init__(f"port {port}, asked for {name}, is taken on 127.0.0.1")
        self.name, self.port = name, port


class HalfConfigured(StackError):
    """One of DATABASE_URL and REDIS_URL is set, the other is not."""

    def __init__(self, present: str, absent: str) -> None:
        super().__init__(f"{present} is set but {absent} is not: set both, or neither")
        self.present, self.absent = present, absent


class NoEmptyRedis(StackError):
    """What wants a Redis to itself finds none."""

    def __init__(self, databases: int) -> None:
        super().__init__(
            f"REDIS_URL names a Redis whose {databases} databases all hold data: name an empty one"
        )
        self.databases = databases


class StartInterrupted(StackError):
    """Somebody asked to stop while the servers were starting."""

    def __init__(self) -> None:
        super().__init__("asked to stop while the servers were starting")


class GuardianDied(StackError):
    """The process that cleans up after a kill -9 is gone."""

    def __init__(self) -> None:
        super().__init__("the guardian ended, so a kill -9 would leave processes behind: stopping")


class ChildFailed(StackError):
    """A server or child ended by itself, or did not become ready in time (`exit_code` None)."""

    def __init__(
        self, name: str, reason: str, *, exit_code: int | None, log: Path, tail: str
    ) -> None:
        end_of_log = "\n".join(f"  | {line}" for line in tail.splitlines()) or "  | (nothing)"
        super().__init__(f"{name} {reason}; the end of {log}:\n{end_of_log}")
        self.name, self.exit_code, self.log, self.tail = name, exit_code, log, tail
