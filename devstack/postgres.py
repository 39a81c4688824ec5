"""The embedded Postgres: makes its data once, starts it as our child, creates the database."""

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
INITDB_SECONDS = 120.0  # takes 1 s; a slow disk that syncs a thousand files gets its time
SHUTDOWN_SECONDS = 60.0  # a fast shutdown writes out all dirty buffers
# Sorts by code point, so that no upgrade of the C library breaks an index; macOS may lack C.UTF-8.
LOCALE = "C.UTF-8" if sys.platform == "linux" else "C"

SETTINGS = {
    "listen_addresses": HOST,
    # No socket: its path may not pass 107 bytes, which a data folder easily does.
    "unix_socket_directories": "",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "log_line_prefix": "%m [%p] ",
    # When each row was committed: the bench reads there how long a debit waited.
    "track_commit_timestamp": "on",
}
DURABLE = {"fsync": "on", "synchronous_commit": "on", "full_page_writes": "on"}  # it is money
FLEETING = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}  # for tests


def postgres_url(folder: DataFolder, port: int, database: str) -> str:
    """Raises SecretMissing."""
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
    """Makes the data at the first start, and the database if it is missing.

    Raises BinariesMissing, CannotLeaveRoot, DataInUse, SecretMissing, ChildFailed.
    """
    binaries = find_postgres()
    sandbox = choose_sandbox(binaries.postgres)
    url = postgres_url(folder, port, database)
    home = prepare_home(folder.postgres, sandbox)
    data = home / "data"
    if not data.exists():
        _initdb(guard, folder, binaries.initdb, home, sandbox, durable=durable)
    free_stale_pid_file(data)

    settings = SETTINGS | {"port": str(port)} | (DURABLE if durable else FLEETING)
    options = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
    command = Command(
        NAME,
        (str(binaries.postgres), "-D", str(data), *options),
        server_environment(),
        stop_signal=signal.SIGINT,  # "fast": ends sessions, writes a checkpoint
        grace_seconds=SHUTDOWN_SECONDS,
        # "Immediate": takes the backends along at once; nothing committed is lost, the next start
        # reads the log back.
        hurry_signal=signal.SIGQUIT,
        death_signal=signal.SIGQUIT,
        runs_as=sandbox.runs_as,
        inherits=inherits,
    )
    child = guard.spawn(command, folder.log(NAME))
    admin_url = postgres_url(folder, port, ROLE)
    wait_until_ready(guard, child, lambda: ask_postgres(admin_url), (OperationalError,))
    _create_database(admin_url, database)
    return Server(child, port, url)


def ask_postgres(url: str) -> None:
    """Raises OperationalError.

    Asks through SQLAlchemy, so that what we hand out is what we tried.
    """
    _execute(url, "SELECT 1")


def free_stale_pid_file(data: Path) -> None:
    """Lets Postgres start over what a kill -9 left.

    Raises DataInUse when a postmaster still works there.

    Postgres believes that the recorded id is still its own as soon as *any* process has it. We tell
    it the id of its own parent, which it knows to be stale, rather than remove the file: it still
    finds the recorded shared memory, and refuses to start while a backend of the old server uses
    it.
    """
    pid_file = data / "postmaster.pid"
    if not pid_file.exists():
        return
    first, _, rest = pid_file.read_text().partition("\n")
    if not first.strip().isdigit():  # the crash came in the middle of writing it
        pid_file.unlink()
        return
    pid = int(first)
    if started_at(pid) is None:
        return  # Postgres sees that too
    if "postgres" in command_of(pid) and working_folder(pid) in (data, None):
        raise DataInUse(data, pid)
    with pid_file.open("r+") as file:  # in place: the owner and mode stay
        file.write(f"{os.getpid()}\n{rest}")
        file.truncate()


def _initdb(
    guard: Guard, folder: DataFolder, program: Path, home: Path, sandbox: Sandbox, *, durable: bool
) -> None:
    """Under another name first, so that an interrupted initdb is never taken for data."""
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
        ended = child.ended_within(INITDB_SECONDS, unless=lambda: guard.times_asked() > 0)
        if guard.times_asked():
            raise StartInterrupted
        if not ended or child.exit_code != 0:
            raise failed(child, "did not make the data folder")
    finally:
        guard.stop(child)
        password_file.unlink(missing_ok=True)
    fresh.rename(home / "data")


def _create_database(admin_url: str, database: str) -> None:
    question = "SELECT 1 FROM pg_database WHERE datname = :name"
    if _execute(admin_url, question, name=database) is None:
        quoted = database.replace('"', '""')
        _execute(admin_url, f'CREATE DATABASE "{quoted}"')


def _execute(url: str, statement: str, **values: str) -> object:
    # No TLS, whatever PGSSLMODE says: it is loopback.
    arguments = {"connect_timeout": ASK_SECONDS, "sslmode": "disable"}
    engine = create_engine(
        url, poolclass=NullPool, isolation_level="AUTOCOMMIT", connect_args=arguments
    )
    with engine.connect() as connection:
        result = connection.execute(text(statement), values)
        return result.first() if result.returns_rows else None
