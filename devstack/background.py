"""The stack in the background: a detached process that owns the servers."""

import contextlib
import json
import os
import select
import signal
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

from devstack.children import open_log, tail
from devstack.errors import ChildFailed, DataInUse, NotOurs, StackError
from devstack.folder import DataFolder
from devstack.guard import Guard
from devstack.lock import is_locked
from devstack.ready import START_SECONDS
from devstack.stack import LOCK, Urls, exclusively, held_stack, read_record
from devstack.stopping import listening_for_stop
from devstack.supervisor import Supervisor

NAME = "stack"
START_LIMIT = 3 * START_SECONDS  # for initdb, Postgres and Redis
STOP_LIMIT = 100.0  # the sum of the servers' own limits
STARTED = b"started\n"
POLL_SECONDS = 0.05


def start_in_background(folder: DataFolder, *, postgres_port: int = 0, redis_port: int = 0) -> Urls:
    """Start the servers in the background unless they run.

    Of two concurrent calls, one starts them and both get the same answer.

    Raises ChildFailed with the end of the log, or DataInUse.
    """
    folder.create()
    with exclusively(folder, "start", wait_seconds=START_LIMIT):
        if read_record(folder) is None:
            _start(folder, postgres_port, redis_port)
        record = read_record(folder)
    if record is None:  # stopped again by somebody else
        raise DataInUse(folder.path, None)
    return record.urls(folder)


def stop_background(folder: DataFolder) -> bool:
    """Stop the background process and wait for its servers. Return False if nothing ran.

    Raises NotOurs for a stack in the foreground, DataInUse if it does not end.
    """
    record = read_record(folder)
    if record is None:
        return False
    if not record.background:
        raise NotOurs(folder=folder.path, pid=record.holder.pid)
    # read_record has just checked that the id still belongs to the holder.
    with contextlib.suppress(ProcessLookupError):
        os.kill(record.holder.pid, signal.SIGTERM)
    deadline = time.monotonic() + STOP_LIMIT
    while is_locked(folder.lock(LOCK)):
        if time.monotonic() > deadline:
            raise DataInUse(folder.path, record.holder.pid)
        time.sleep(POLL_SECONDS)
    return True


def _start(folder: DataFolder, postgres_port: int, redis_port: int) -> None:
    log = folder.log(NAME)
    output = open_log(log)
    log_start = os.fstat(output).st_size
    ports = (str(postgres_port), str(redis_port))
    command = [sys.executable, "-m", __name__, str(folder.path), *ports]
    try:
        launcher = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=output
        )
    finally:
        os.close(output)
    with launcher:
        assert launcher.stdout is not None  # opened as a pipe
        has_output = select.select([launcher.stdout], [], [], START_LIMIT)[0]
        # It writes STARTED once the servers answer. If it ends before, the pipe closes empty.
        if not has_output or launcher.stdout.readline() != STARTED:
            reason = "did not start" if has_output else f"was not ready after {START_LIMIT:.0f} s"
            raise ChildFailed(
                name=NAME, reason=reason, exit_code=None, log=log, tail=tail(log, since=log_start)
            )


def _own(folder: DataFolder, postgres_port: int, redis_port: int) -> None:
    with (
        listening_for_stop() as stop,
        Guard(stop.times) as guard,
        held_stack(
            guard, folder, postgres_port=postgres_port, redis_port=redis_port, background=True
        ) as stack,
    ):
        with contextlib.suppress(BrokenPipeError):  # the process that started us did not wait
            os.write(sys.stdout.fileno(), STARTED)
        log = os.open(folder.log(NAME), os.O_WRONLY | os.O_APPEND)
        os.dup2(log, sys.stdout.fileno())  # the pipe has no reader any more
        _write_event("stack_started")
        Supervisor(guard, folder, stop, servers=stack.children).run(())
        _write_event("stack_stopped")


def _write_event(event: str) -> None:
    """Write a line to standard output, which is the log by now."""
    now = datetime.now(UTC).isoformat(timespec="seconds")
    os.write(
        sys.stdout.fileno(),
        f"{json.dumps({'event': event, 'at': now, 'pid': os.getpid()})}\n".encode(),
    )


def main(path: str, postgres_port: str, redis_port: str) -> None:
    """Run the detached process until it is stopped."""
    # Detach from the terminal and from the parent, whose child ends at once.
    if os.fork() > 0:
        os._exit(0)
    os.setsid()
    try:
        _own(DataFolder(Path(path)), int(postgres_port), int(redis_port))
    except StackError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main(*sys.argv[1:])
