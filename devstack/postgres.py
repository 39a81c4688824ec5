"""The embedded Postgres: initdb at the first start, the server as a child, its database."""

import os
import shutil
import signal
import sys
from pathlib import Path

from sqlalchemy import NullPool, create_engine, text
from sqlalchemy.exc import OperationalError

from devstack.binaries import find_postgres
from devstack.children import Command
from devstack.errors import DataInUse, StartInterrupted
from devstack.folder import DataFolder, write_private
from devstack.guard import Guard
from devstack.identity import command_of, started_at, working_folder
from devstack.ports import HOST
from devstack.ready import ASK_SECONDS, Server, failed, server_environment, wait_until_ready
from devstack.sandbox import Sandbox, choose_sandbox, give, prepare_home

NAME = "postgres"
ROLE = "postgres"
INITDB_SECONDS = 120.0  # usually 1 s; a slow disk must sync a thousand files
SHUTDOWN_SECONDS = 60.0  # a fast shutdown writes out all dirty buffers
# Sorts by code point, so that no upgrade of the C library breaks an index; macOS may lack C.UTF-8.
LOCALE = "C.UTF-8" if sys.platform == "linux" else "C"

SETTINGS = {
    "listen_addresses": HOST,
    # No socket: its path may have at most 107 bytes, and a data folder's is often longer.
    "unix_socket_directories": "",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "log_line_prefix": "%m [%p] ",
    # The time of each commit, from which the bench computes how long a debit waited.
    "track_commit_timestamp": "on",
}
DURABLE = {"fsync": "on", "synchronous_commit": "on", "full_page_writes": "on"}
FLEETING = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}  # for tests


def postgres_url(folder: DataFolder, port: int, database: str) -> str:
    """Return the URL of a database, with the password. Raises SecretMissing."""
    password = folder.secret(NAME, opens=folder.postgres / "data")
    # SQLAlchemy 2.1 reads plain postgresql:// as psycopg 3.
    return f"postgresql+psycopg2://{ROLE}:{password}@{HOST}:{port}/{database}"


def start_postgres(
    guard: Guard,
    folder: DataFolder,
    *,
    port: int,
    database: str,
    durable: bool,
    inherits: tuple[int, ...],
) -> Server:
    """Start Postgres; make its data at the first start, and the database if it is missing.

    Raises BinariesMissing, CannotLeaveRoot, DataInUse, SecretMissing or ChildFailed.
    """
    programs = find_postgres()
    sandbox = choose_sandbox(programs / "postgres")
    url = postgres_url(folder, port, database)
    home = prepare_home(folder.postgres, sandbox)
    data = home / "data"
    if not data.exists():
        _initdb(guard, folder, programs / "initdb", home, sandbox, durable=durable)
    free_stale_pid_file(data)

    settings = SETTINGS | {"port": str(port)} | (DURABLE if durable else FLEETING)
    options = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
    command = Command(
        NAME,
        (str(programs / "postgres"), "-D", str(data), *options),
        server_environment(),
        stop_signal=signal.SIGINT,  # "fast": ends sessions, writes a checkpoint
        grace_seconds=SHUTDOWN_SECONDS,
        # "Immediate": ends the backends at once. Nothing committed is lost: the next start
        # recovers from the log.
        hurry_signal=signal.SIGQUIT,
        death_signal=signal.SIGQUIT,
        runs_as=sandbox.runs_as,
        inherits=inherits,
    )
    child = guard.spawn(command, folder.log(NAME))
    admin_url = postgres_url(folder, port, ROLE)
    wait_until_ready(guard, child, lambda: ask_postgres(admin_url), (OperationalError,))
    query = "SELECT 1 FROM pg_database WHERE datname = :name"
    if _execute(admin_url, query, name=database) is None:
        quoted = database.replace('"', '""')
        _execute(admin_url, f'CREATE DATABASE "{quoted}"')
    return Server(child, port, url)


def ask_postgres(url: str) -> None:
    """Run a query through SQLAlchemy, so that the URL we give out is the one we tested.

    Raises OperationalError.
    """
    _execute(url, "SELECT 1")


def free_stale_pid_file(data: Path) -> None:
    """Let Postgres start after a kill -9 left its pid file.

    Postgres refuses to start if *any* process has the recorded id. We replace the id by that of
    Postgres' own parent, which it treats as stale. The file is not removed, so that Postgres still
    finds the recorded shared memory and refuses to start while an old backend uses it.

    Raises DataInUse if a postmaster still uses the data.
    """
    pid_file = data / "postmaster.pid"
    if not pid_file.exists():
        return
    first, _, rest = pid_file.read_text().partition("\n")
    if not first.strip().isdigit():  # the crash interrupted its writing
        pid_file.unlink()
        return
    pid = int(first)
    if started_at(pid) is None:
        return  # Postgres detects that itself
    if "postgres" in command_of(pid) and working_folder(pid) in (data, None):
        raise DataInUse(data, pid)
    with pid_file.open("r+") as file:  # in place, to keep owner and mode
        file.write(f"{os.getpid()}\n{rest}")
        file.truncate()


def _initdb(
    guard: Guard, folder: DataFolder, program: Path, home: Path, sandbox: Sandbox, *, durable: bool
) -> None:
    """Run initdb under another name first, so that an interrupted one is never used as data."""
    fresh, password_file = home / "fresh", home / "password"
    shutil.rmtree(fresh, ignore_errors=True)
    write_private(password_file, folder.secret(NAME))
    give(password_file, sandbox)
    argv = [str(program), f"--pgdata={fresh}", f"--username={ROLE}", f"--pwfile={password_file}"]
    argv += ["--auth=scram-sha-256", "--encoding=UTF8", f"--locale={LOCALE}"]
    argv += [] if durable else ["--no-sync"]
    command = Command("initdb", tuple(argv), server_environment(), runs_as=sandbox.runs_as)
    child = guard.spawn(command, folder.log("initdb"))
    try:
        has_ended = child.ended_within(INITDB_SECONDS, unless=lambda: guard.stop_requests() > 0)
        if guard.stop_requests():
            raise StartInterrupted
        if not has_ended or child.exit_code != 0:
            raise failed(child, "did not make the data folder")
    finally:
        guard.stop(child)
        password_file.unlink(missing_ok=True)
    fresh.rename(home / "data")


def _execute(url: str, statement: str, **values: str) -> object:
    # No TLS on loopback, whatever PGSSLMODE says.
    arguments = {"connect_timeout": ASK_SECONDS, "sslmode": "disable"}
    engine = create_engine(
        url, poolclass=NullPool, isolation_level="AUTOCOMMIT", connect_args=arguments
    )
    with engine.connect() as connection:
        result = connection.execute(text(statement), values)
        return result.first() if result.returns_rows else None
