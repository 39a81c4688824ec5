"""The steps of `billing run`: the processes to start, in order, and the way to stop each."""

import signal
import socket
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from celery import Celery

from devstack.children import Command
from devstack.folder import DataFolder
from devstack.supervisor import Step

FLOWER_USER = "billing"
FLOWER_COLUMNS = "name,state,result,exception,received,runtime,worker,retries,uuid"
#: A running worker answers within 0.1 s.
PING_SECONDS = 1.0
#: Time that a warm shutdown waits for the running tasks.
WORKER_GRACE_SECONDS = 30.0


@dataclass(frozen=True)
class Place:
    """The folder of a run, the environment of its children, and Flower's port."""

    folder: DataFolder
    environment: Mapping[str, str]
    flower_port: int


def steps(place: Place) -> list[Step]:
    """Return the steps in the order of their start; they stop in reverse order."""
    answered = workers_answer(place.environment["REDIS_URL"], nodes("worker", "debits"))
    queues = "credits,bank,maintenance,stripe"
    schedule = str(place.folder.path / "beat-schedule")
    # Flower only shows. It stores nothing, because its store is a pickle, which would run whatever
    # another user writes into it.
    only_shows = (f"--tasks_columns={FLOWER_COLUMNS}", "--read_only=True", "--persistent=False")
    flower = ("--address=127.0.0.1", f"--port={place.flower_port}", *only_shows)
    return [
        Step(_command(place, "migrate", "migrate"), once=True),
        Step(_command(place, "samples", "samples", "load", "--unless-the-apps"), once=True),
        Step(_worker(place, "worker", "-Q", queues, "--concurrency", "2")),
        Step(_worker(place, "debits", "-Q", "debits", "--pool", "solo")),
        Step(_celery(place, "beat", "beat", "--schedule", schedule)),
        # Flower lists the queues that it finds at its start, so the workers start first.
        Step(_celery(place, "flower", "flower", *flower), when=answered),
    ]


def nodes(*names: str) -> list[str]:
    """Return the node names that Celery makes of name@%h."""
    return [f"{name}@{socket.gethostname()}" for name in names]


def workers_answer(redis_url: str, node_names: list[str]) -> Callable[[], bool]:
    """Return a check whether these workers answer. It needs none of the worker's settings."""
    app = Celery(broker=redis_url, set_as_current=False)

    def answered() -> bool:
        replies = app.control.ping(destination=node_names, timeout=PING_SECONDS) or []
        return {name for reply in replies for name in reply} >= set(node_names)

    return answered


def flower_login(folder: DataFolder, environment: Mapping[str, str]) -> str:
    """Return `user:password`; without it Flower is open to every user of this machine."""
    return environment.get("FLOWER_BASIC_AUTH") or f"{FLOWER_USER}:{folder.secret('flower')}"


def _worker(place: Place, name: str, *options: str) -> Command:
    return _celery(
        place, name, "worker", "-n", f"{name}@%h", *options, grace_seconds=WORKER_GRACE_SECONDS
    )


def _celery(place: Place, name: str, *arguments: str, grace_seconds: float = 10.0) -> Command:
    program, *options = arguments
    level = ["--loglevel", "INFO"] if program == "worker" else []
    command = (sys.executable, "-m", "celery", "-A", "worker.app", program, *options, *level)
    # SIGQUIT is Celery's cold shutdown: it requeues messages instead of finishing tasks.
    hurry = signal.SIGQUIT if program == "worker" else signal.SIGKILL
    return Command(
        name, command, place.environment, grace_seconds=grace_seconds, hurry_signal=hurry
    )


def _command(place: Place, name: str, *arguments: str) -> Command:
    return Command(name, (sys.executable, "-m", "cli.main", *arguments), place.environment)
