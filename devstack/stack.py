"""Both servers together: starting, recording and stopping them."""

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

from devstack.children import Child
from devstack.errors import DataInUse, FileDamaged, HalfConfigured
from devstack.folder import DataFolder, read_facts, write_private
from devstack.guard import Guard
from devstack.identity import Identity
from devstack.lock import StillLocked, file_lock
from devstack.ports import start_on_port
from devstack.postgres import postgres_url, start_postgres
from devstack.valkey import redis_url, start_redis

DATABASE = "billing_app"
# The lock that is held as long as a process may write to the data.
LOCK = "stack"
# After a kill -9 of their owner, servers hold the lock for up to 2 s until they end.
LOCK_SECONDS = 10.0


@dataclass(frozen=True)
class Urls:
    """The URLs of both servers, with passwords."""

    database_url: str
    redis_url: str

    def environment(self) -> dict[str, str]:
        """Return the environment variables that the worker's settings read."""
        return {"DATABASE_URL": self.database_url, "REDIS_URL": self.redis_url}


@dataclass(frozen=True)
class Record:
    """The holder of a data folder and its servers, stored for `status`, `stop` and `start`."""

    holder: Identity
    background: bool
    postgres_pid: int
    postgres_port: int
    redis_pid: int
    redis_port: int
    database: str

    def urls(self, folder: DataFolder) -> Urls:
        """Return the URLs of the servers. Raises SecretMissing."""
        return Urls(
            postgres_url(folder, self.postgres_port, self.database),
            redis_url(folder, self.redis_port),
        )


@dataclass(frozen=True)
class Stack:
    """The URLs of the servers, and the servers that are our children."""

    urls: Urls
    children: tuple[Child, ...]  # empty when another process owns them


@contextmanager
def running_stack(data_dir: Path, **options: Any) -> Iterator[Urls]:
    """Run Postgres and Redis on loopback; they never outlive the calling process.

    The options are those of `held_stack`. Raises a StackError.
    """
    with Guard() as guard, held_stack(guard, DataFolder(data_dir), **options) as stack:
        yield stack.urls


@contextmanager
def held_stack(
    guard: Guard,
    folder: DataFolder,
    *,
    postgres_port: int = 0,
    redis_port: int = 0,
    durable: bool = True,
    database: str = DATABASE,
    background: bool = False,
) -> Iterator[Stack]:
    """Run both servers under the caller's guard, which also watches them.

    Port 0 means the last port if it is free, else any. `durable=False` is for tests: no fsync and
    no append-only file. Raises a StackError.
    """
    folder.create()
    wait_seconds = 0 if read_record(folder) else LOCK_SECONDS
    with exclusively(folder, LOCK, wait_seconds=wait_seconds) as lock:
        # The servers inherit the lock, so that the folder is free only when the last process that
        # may write to it has ended.
        same: Any = {"durable": durable, "inherits": (lock,)}
        start_database = partial(start_postgres, guard, folder, database=database, **same)
        postgres = start_on_port(folder, "postgres", postgres_port, start_database)
        start_broker = partial(start_redis, guard, folder, **same)
        redis = start_on_port(folder, "redis", redis_port, start_broker)
        pids_and_ports = (postgres.child.pid, postgres.port, redis.child.pid, redis.port)
        record = Record(Identity.of(os.getpid()), background, *pids_and_ports, database)
        write_private(folder.record, json.dumps(asdict(record), indent=2))
        try:
            yield Stack(Urls(postgres.url, redis.url), (postgres.child, redis.child))
        finally:
            folder.record.unlink(missing_ok=True)
            guard.stop(redis.child)
            guard.stop(postgres.child)


def read_record(folder: DataFolder) -> Record | None:
    """Return the record of a folder's holder; None if there is none, or it has died.

    Raises NotAFolder, DataOwnedByOther and FileDamaged.
    """
    folder.check_access()
    facts = read_facts(folder.record)
    if facts is None:
        return None
    try:
        record = Record(**facts | {"holder": Identity(**facts["holder"])})
    except (TypeError, LookupError):
        raise FileDamaged(path=folder.record, problem="a fact is missing or unknown") from None
    return record if record.holder.alive() else None


@contextmanager
def exclusively(folder: DataFolder, name: str, *, wait_seconds: float = 0) -> Iterator[int]:
    """Hold a lock of the folder and yield its descriptor. Raises DataInUse."""
    record = read_record(folder)
    with ExitStack() as context:
        try:
            lock = context.enter_context(file_lock(folder.lock(name), wait_seconds=wait_seconds))
        except StillLocked:
            raise DataInUse(folder.path, record.holder.pid if record else None) from None
        yield lock


def outside_urls(folder: DataFolder, environ: Mapping[str, str] = os.environ) -> Urls | None:
    """Return the servers that the environment names, unless they are this folder's own.

    They are the folder's own if a shell has evaluated the output of `billing stack start`; then
    they may have to be started first.

    Raises HalfConfigured.
    """
    database, redis = environ.get("DATABASE_URL"), environ.get("REDIS_URL")
    if not database and not redis:
        return None
    if not database or not redis:
        names = ("DATABASE_URL", "REDIS_URL")
        present, absent = names if database else names[::-1]
        raise HalfConfigured(present=present, absent=absent)
    urls = Urls(database, redis)
    return None if _is_own(folder, urls) else urls


def _is_own(folder: DataFolder, urls: Urls) -> bool:
    """Compare the passwords, which no other server has; ports change."""
    passwords = [folder.secret_path(name) for name in ("postgres", "redis")]
    if not all(path.exists() for path in passwords):
        return False
    pairs = zip(passwords, (urls.database_url, urls.redis_url), strict=True)
    return all(f":{path.read_text().strip()}@" in url for path, url in pairs)
