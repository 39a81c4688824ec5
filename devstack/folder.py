"""The data folder: its files, the passwords and the last used ports."""

import json
import os
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from devstack.errors import DataOwnedByOther, FileDamaged, NotAFolder, SecretMissing

DEFAULT_NAME = ".data"
# 192 bits can't be guessed; as hex it needs no escape in URLs, settings or shells.
PASSWORD_BYTES = 24
PRIVATE_FILE = 0o600
PRIVATE_FOLDER = 0o700


def default_folder(environ: Mapping[str, str] = os.environ) -> Path:
    """Return $BILLING_DATA, else `.data` in the working folder."""
    return Path(environ.get("BILLING_DATA") or DEFAULT_NAME)


class DataFolder:
    """The data of the embedded servers. Only its owner may read it: it has passwords."""

    def __init__(self, path: Path) -> None:
        self.path = path.expanduser().absolute()
        self.postgres = self.path / "postgres"
        self.redis = self.path / "redis"
        self.logs = self.path / "logs"
        self.record = self.path / "stack.json"

    def create(self) -> None:
        """Create the folders.

        Raises NotAFolder, and DataOwnedByOther, for root too, whose files would lock the user out.
        """
        self.check_access()
        password = self.secret_path("postgres")
        if password.exists() and password.stat().st_uid != os.geteuid():
            raise DataOwnedByOther(
                path=self.path, owner=password.stat().st_uid, wanted=os.geteuid()
            )
        self.path.mkdir(mode=PRIVATE_FOLDER, parents=True, exist_ok=True)
        for part in (self.redis, self.logs):
            part.mkdir(mode=PRIVATE_FOLDER, exist_ok=True)

    def check_access(self) -> None:
        """Check that an existing folder may be used. Raises NotAFolder and DataOwnedByOther."""
        if any(path.exists() and not path.is_dir() for path in (self.path, *self.path.parents)):
            raise NotAFolder(path=self.path)
        if self.path.exists() and not os.access(self.path, os.R_OK | os.W_OK | os.X_OK):
            raise DataOwnedByOther(
                path=self.path, owner=self.path.stat().st_uid, wanted=os.geteuid()
            )

    def log(self, name: str) -> Path:
        """Return the path of a child's log."""
        return self.logs / f"{name}.log"

    def lock(self, name: str) -> Path:
        """Return the path of a lock file."""
        return self.path / f"{name}.lock"

    def secret_path(self, name: str) -> Path:
        """Return the path of a password."""
        return self.path / f"{name}.password"

    def secret(self, name: str, *, opens: Path | None = None) -> str:
        """Return a password, made at first use.

        Raises SecretMissing if it is gone, but the data that it `opens` exists.
        """
        path = self.secret_path(name)
        if not path.exists():
            if opens is not None and opens.exists():
                raise SecretMissing(path=path, data=opens)
            write_private(path, secrets.token_hex(PASSWORD_BYTES))
        return path.read_text().strip()

    def ports(self) -> dict[str, int]:
        """Return the last used port of each server. Raises FileDamaged."""
        return read_facts(self.path / "ports.json") or {}

    def remember_port(self, name: str, port: int) -> None:
        """Store a server's port for the next start."""
        write_private(self.path / "ports.json", json.dumps(self.ports() | {name: port}))


def read_facts(path: Path) -> dict[str, Any] | None:
    """Return what a JSON file of ours says; None if there is none. Raises FileDamaged."""
    try:
        facts = json.loads(path.read_text())
    except FileNotFoundError:
        return None
    except IsADirectoryError:
        raise FileDamaged(path=path, problem="it is a folder") from None
    except ValueError:
        raise FileDamaged(path=path, problem="it is no JSON") from None
    if not isinstance(facts, dict):
        raise FileDamaged(path=path, problem="it is no JSON object")
    return facts


def write_private(path: Path, text: str) -> None:
    """Write a file atomically and durably, readable by its owner only."""
    fresh = path.with_name(f".{path.name}.{os.getpid()}")
    fresh.unlink(missing_ok=True)
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, PRIVATE_FILE)
    with os.fdopen(descriptor, "w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    fresh.rename(path)
