"""Real servers in folders that go away: one folder is made with initdb, the tests work on copies of it."""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from devstack import running_stack
from devstack.folder import DataFolder
from devstack.identity import started_at

READY = "ready"
ROOM_BYTES = 500_000_000  # a cluster takes 50 MB; containers often give /dev/shm 64 MB in all
WAIT_SECONDS = 20.0  # for what takes well under one, on a busy machine


@contextmanager
def short_lived_folder() -> Iterator[Path]:
    """Not tmp_path: where Postgres must run as nobody, nobody has to reach the data."""
    memory = Path("/dev/shm")  # a copy of a cluster and its syncs take no time there
    roomy = memory.is_dir() and shutil.disk_usage(memory).free > ROOM_BYTES
    with tempfile.TemporaryDirectory(
        prefix="billing-stack-", dir=memory if roomy else None
    ) as place:
        Path(place).chmod(0o711)
        yield Path(place)


@pytest.fixture(scope="session")
def made_once() -> Iterator[Path]:
    with short_lived_folder() as place:
        with running_stack(place / "data", durable=False):
            pass
        yield place / "data"


@pytest.fixture
def empty() -> Iterator[DataFolder]:
    with short_lived_folder() as place:
        yield DataFolder(place / "data")


@pytest.fixture
def folder(made_once: Path, empty: DataFolder) -> DataFolder:
    """As left by a stack that has ended; with ports of its own."""
    shutil.copytree(made_once, empty.path)
    (empty.path / "ports.json").unlink()
    return empty


@pytest.fixture
def script() -> Iterator[Callable[..., tuple[subprocess.Popen[str], str]]]:
    """Runs Python code in a process of its own until its line `ready`; gives it and its output until then.

    Kills it at the end.
    """
    with ExitStack() as started:

        def run(code: str, *arguments: object) -> tuple[subprocess.Popen[str], str]:
            command = [sys.executable, "-c", code, *map(str, arguments)]
            process = started.enter_context(
                subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
            )
            started.callback(process.kill)
            assert process.stdout is not None
            output = ""
            for line in process.stdout:
                if line.strip() == READY:
                    return process, output
                output += line
            raise AssertionError(f"never ready, exit code {process.wait()}")

        yield run


@pytest.fixture
def kill_9() -> Callable[[subprocess.Popen[str]], None]:
    def kill(process: subprocess.Popen[str]) -> None:
        os.kill(process.pid, signal.SIGKILL)
        process.wait()

    return kill


@pytest.fixture
def eventually() -> Callable[[Callable[[], object]], bool]:
    def becomes_true(question: Callable[[], object]) -> bool:
        deadline = time.monotonic() + WAIT_SECONDS
        while time.monotonic() < deadline:
            if question():
                return True
            time.sleep(0.03)
        return False

    return becomes_true


@pytest.fixture
def all_gone(eventually: Callable[[Callable[[], object]], bool]) -> Callable[[list[int]], bool]:
    def gone(pids: list[int]) -> bool:
        assert pids
        return eventually(lambda: not any(started_at(pid) for pid in pids))

    return gone
