"""The table of what `billing run` starts, in order, and how each one is ended."""

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
PING_SECONDS = 1.0  # a worker that is up answers in 0.1 s
# A warm shutdown waits for the tasks under way; the longest of them gets this long.
WORKER_GRACE_SECONDS = 30.0


@dataclass(frozen=True)
class Place:
    """Where a run keeps its things, and what its children are told."""

    folder: DataFolder
    environment: Mapping[str, str]
    flower_port: int


def steps(place: Place) -> list[Step]:
    """In this order; stopped in the reverse, the workers last, which finish their tasks."""
    answered = workers_answer(place.environment["REDIS_URL"], nodes("worker", "debits"))
    samples = ("samples", "load", "--unless-the-apps")
    schedule = str(place.folder.path / "beat-schedule")
    flower = (
        "--address=127.0.0.1",
        f"--port={place.flower_port}",
        f"--tasks_columns={FLOWER_COLUMNS}",
        # It is for looking: `billing` and the timetable act. And it keeps nothing, for what it
        # keeps is a pickle, which runs whatever another user writes there.
        "--read_only=True",
        "--persistent=False",
    )
    return [
        Step(_command(place, "migrate", "cli.main", "migrate"), once=True),
        Step(_command(place, "samples", "cli.main", *samples), once=True),
        Step(
            _worker(place, "worker", "-Q", "credits,bank,maintenance,stripe", "--concurrency", "2")
        ),
        Step(_worker(place, "debits", "-Q", "debits", "--pool", "solo")),
        Step(_celery(place, "beat", "beat", "--schedule", schedule)),
        # Flower lists the queues it hears of when it starts: so the workers come first.
        Step(_celery(place, "flower", "flower", *flower), when=answered),
    ]


def nodes(*names: str) -> list[str]:
    """What Celery makes of name@%h."""
    return [f"{name}@{socket.gethostname()}" for name in names]


def workers_answer(redis_url: str, wanted: list[str]) -> Callable[[], bool]:
    """Asks over the broker with a bare app: this process needs none of the worker's settings."""
    app = Celery(broker=redis_url, set_as_current=False)

    def answered() -> bool:
        replies = app.control.ping(destination=wanted, timeout=PING_SECONDS) or []
        return {name for reply in replies for name in reply} >= set(wanted)

    return answered


def flower_login(folder: DataFolder, environment: Mapping[str, str]) -> str:
    """`user:password`: Flower is open to everybody on this machine without one."""
    return environment.get("FLOWER_BASIC_AUTH") or f"{FLOWER_USER}:{folder.secret('flower')}"


def _worker(place: Place, name: str, *options: str) -> Command:
    return _celery(
        place, name, "worker", "-n", f"{name}@%h", *options, grace_seconds=WORKER_GRACE_SECONDS
    )


def _celery(place: Place, name: str, *arguments: str, grace_seconds: float = 10.0) -> Command:
    program, *options = arguments
    level = ["--loglevel", "INFO"] if program == "worker" else []
    command = (sys.executable, "-m", "celery", "-A", "worker.app", program, *options, *level)
    # SIGQUIT is Celery's cold shutdown: it puts messages back instead of finishing them.
    hurry = signal.SIGQUIT if program == "worker" else signal.SIGKILL
    return Command(
        name, command, place.environment, grace_seconds=grace_seconds, hurry_signal=hurry
    )


def _command(place: Place, name: str, module: str, *arguments: str) -> Command:
    argv = (sys.executable, "-m", module, *arguments)
    return Command(name, argv, place.environment)
