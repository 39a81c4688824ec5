"""The status of the stack in a data folder: its holder, its servers and whether they answer."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from redis.exceptions import RedisError
from sqlalchemy.exc import OperationalError

from devstack.folder import DataFolder
from devstack.postgres import ask_postgres
from devstack.stack import read_record
from devstack.valkey import ask_redis


@dataclass(frozen=True)
class ServerStatus:
    """The status of one server."""

    pid: int
    port: int
    reachable: bool


@dataclass(frozen=True)
class Status:
    """The status of a data folder; the other fields are None if no process holds it."""

    data: str
    data_bytes: int
    running: bool
    pid: int | None = None
    background: bool | None = None
    postgres: ServerStatus | None = None
    redis: ServerStatus | None = None

    @property
    def healthy(self) -> bool:
        """Whether both servers answer."""
        return all(
            server is not None and server.reachable for server in (self.postgres, self.redis)
        )


def stack_status(folder: DataFolder) -> Status:
    """Read the status of a data folder, which may not exist. Raises DataOwnedByOther."""
    record, size = read_record(folder), _size(folder.path)
    if record is None:
        return Status(str(folder.path), size, running=False)
    urls = record.urls(folder)
    database_answers = _answers(lambda: ask_postgres(urls.database_url))
    redis_answers = _answers(lambda: ask_redis(urls.redis_url))
    postgres = ServerStatus(record.postgres_pid, record.postgres_port, database_answers)
    redis = ServerStatus(record.redis_pid, record.redis_port, redis_answers)
    holder = (record.holder.pid, record.background)
    return Status(str(folder.path), size, True, *holder, postgres, redis)


def _answers(ask: Callable[[], None]) -> bool:
    try:
        ask()
    except (OperationalError, RedisError):
        return False
    return True


def _size(path: Path) -> int:
    """Count the bytes in files, also behind links, where Postgres' data may be (see sandbox.py)."""
    total = 0
    for folder, _, files in os.walk(path, followlinks=True):
        for name in files:
            try:
                total += Path(folder, name).stat().st_size
            except FileNotFoundError:  # servers remove files all the time
                continue
    return total
