"""The servers of a bench: durable, with a database of its own."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import click
import psutil  # type: ignore[import-untyped]
import redis
import sqlalchemy as sa

from devstack.fresh import fresh_database


@contextmanager
def bench_stack() -> Iterator[None]:
    """Provide durable servers and an empty, migrated database, and set their environment variables.

    They are those of DATABASE_URL and REDIS_URL if set, with a new database and a Redis that must
    be empty; else embedded servers in a temporary folder.
    """
    with ExitStack() as context:
        folder = context.enter_context(tempfile.TemporaryDirectory(prefix="billing-bench-"))
        os.environ.update({"BILLING_DATA": folder, "BILLING_ALIVE_DIR": folder})
        if not os.environ.get("DATABASE_URL"):
            from devstack import running_stack

            # Started by root, the embedded Postgres runs as nobody, which must reach its data.
            Path(folder).chmod(0o711)
            urls = context.enter_context(running_stack(Path(folder) / "stack", durable=True))
            os.environ.update(urls.environment())
        fresh = fresh_database(os.environ["DATABASE_URL"], prefix="billing_bench")
        os.environ["DATABASE_URL"] = context.enter_context(fresh)
        with redis.Redis.from_url(os.environ["REDIS_URL"]) as client:
            if client.dbsize():
                raise click.ClickException(
                    "The Redis at REDIS_URL holds data. A bench needs an empty one."
                )
            context.callback(_empty, os.environ["REDIS_URL"])

        from worker import database, schema

        schema.upgrade()
        yield
        database.engine().dispose()


def _empty(redis_url: str) -> None:
    with redis.Redis.from_url(redis_url) as client:
        client.flushdb()


def server_pids() -> list[int]:
    """Return the ids of the postmaster and of Redis, if they run on this machine."""
    from worker.database import engine
    from worker.transport import queues

    with engine().connect() as connection:
        backend = connection.execute(sa.text("SELECT pg_backend_pid()")).scalar_one()
    facts: dict[str, int] = queues.connection().info("server")
    pids = [_parent(backend, "postgres"), _itself(facts["process_id"], ("redis", "valkey"))]
    return [pid for pid in pids if pid is not None]


def _parent(pid: int, name: str) -> int | None:
    return psutil.Process(pid).ppid() if _itself(pid, (name,)) else None


def _itself(pid: int, names: tuple[str, ...]) -> int | None:
    """Return the id if its process has such a name: a remote server's id may be another program's."""
    try:
        return pid if psutil.Process(pid).name().startswith(names) else None
    except psutil.NoSuchProcess:
        return None
