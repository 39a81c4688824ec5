"""Real workers in processes of their own, on the suite's servers."""

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import pytest
from sqlalchemy import select

from billing.operations import dead_letters
from billing_client import BillingClient
from models.credits import Refusal
from worker import dead_letters as letters
from worker.database import transaction
from worker.transport import queues

#: For what takes well under a second, on a busy machine.
WAIT_S = 30.0
#: The settings of the workers under test: leases end soon, pauses are short, logs are for machines.
SETTINGS = {
    "BILLING_LEASE_S": "5",
    "BILLING_MAX_RETRIES": "2",
    "BILLING_MAX_BACKOFF_S": "1",
    "BILLING_SOFT_SHUTDOWN_S": "2",
    "BILLING_LOG_FORMAT": "json",
}
TASKS = {"credits.debit", "credits.grant", "credits.seed_account"}


def wait_until(question, what="it never came true"):
    deadline = time.monotonic() + WAIT_S
    while not (answer := question()):
        assert time.monotonic() < deadline, what() if callable(what) else what
        time.sleep(0.02)
    return answer


@dataclass
class Worker:
    """A worker under test; `log` is all its output."""

    process: subprocess.Popen
    log_file: Path

    @property
    def log(self):
        return self.log_file.read_text()

    @property
    def is_alive(self):
        return self.process.poll() is None

    @property
    def children(self):
        pid = self.process.pid
        return [int(c) for c in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]

    def kill_9(self):
        for pid in [self.process.pid, *self.children]:
            os.kill(pid, signal.SIGKILL)
        self.process.wait()

    def terminate(self):
        """As a container does; returns the exit code."""
        self.process.terminate()
        return self.process.wait(WAIT_S)


@contextlib.contextmanager
def running_worker(name, *options, app="worker.app", wait=True, talks=False, **environment):
    """`talks`: to the other workers at its start, and on and on; it takes some seconds."""
    command = [sys.executable, "-m", "celery", "-A", app, "worker", "-n", f"{name}@%h", *options]
    command += ["--loglevel", "INFO"]
    command += [] if talks else ["--without-mingle", "--without-gossip"]
    variables = {**os.environ, **SETTINGS, **environment}
    with tempfile.TemporaryDirectory() as folder:
        log_file = Path(folder) / "log"
        with log_file.open("w") as log:
            process = subprocess.Popen(command, env=variables, stdout=log, stderr=log)
        worker = Worker(process, log_file)
        try:
            if wait:
                wait_until(lambda: "ready." in worker.log or not worker.is_alive)
                assert worker.is_alive, worker.log
            yield worker
        finally:
            if worker.is_alive:
                worker.kill_9()
            sys.stdout.write(worker.log)  # pytest shows it under a test that failed


@pytest.fixture
def start():
    """Starts workers for one test."""
    with contextlib.ExitStack() as stack:
        yield lambda *args, **options: stack.enter_context(running_worker(*args, **options))


@pytest.fixture(scope="module")
def standing():
    """A general worker and a debit worker that a module's tests share; each test must leave them well."""
    with (
        running_worker(
            "general", "-Q", "credits,bank,maintenance,stripe", "--concurrency", "1"
        ) as general,
        running_worker("debits", "-Q", "debits", "--pool", "solo") as reader,
    ):
        yield {"credits": general, "debits": reader}


@pytest.fixture
def client(redis_client):
    return BillingClient(os.environ["REDIS_URL"])


@pytest.fixture
def outcome(redis_client, ledger):
    """Waits until nothing is queued or in hand, then tells what became of the messages."""

    def look():
        wait_until(lambda: is_idle(redis_client))
        letters.collect(TASKS)
        with transaction() as ctx:
            refusals = list(ctx.session.scalars(select(Refusal.reason)))
            return refusals + [each.error for each in dead_letters.list_open(ctx.session, limit=99)]

    return look


def is_idle(redis_client):
    """Whether nothing waits or is in hand, seen at one moment: messages move between the two."""
    lists = [
        name
        for queue in ("debits", "credits", "bank", "maintenance", "stripe")
        for name in queues.lists_of(queue)
    ]
    with redis_client.pipeline() as pipe:
        for name in lists:
            pipe.llen(name)
        pipe.zcard(queues.UNACKED_INDEX)
        return not any(pipe.execute())
