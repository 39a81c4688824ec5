"""dj-stripe as a contestant: two processes of another Python."""

import os
import subprocess
from collections.abc import Sequence
from pathlib import Path

import sqlalchemy as sa

from bench import measure
from bench.measure import Row
from bench.stack import server_pids

PROCESSES = 2
_CHILD = Path(__file__).with_name("dj_stripe_child.py")


class DjStripeFailed(Exception):
    """dj-stripe did not process all events."""


def row(python: str, events: Path, *, count: int, secret: str) -> Row:
    """Time dj-stripe on the events of a file, one a line.

    `python`: of an environment with dj-stripe and psycopg2. Its tables go into a schema of their
    own in the bench's database. Raises DjStripeFailed.
    """
    _run([python, "-I", str(_CHILD), "prepare", secret])
    children = [
        subprocess.Popen(
            [
                python,
                "-I",
                str(_CHILD),
                "process",
                secret,
                str(events),
                str(number),
                str(PROCESSES),
            ],
            env=_environment(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for number in range(PROCESSES)
    ]
    try:
        _hear(children, "ready")

        def work() -> None:
            for child in children:
                assert child.stdin is not None
                child.stdin.write("go\n")
                child.stdin.flush()
            _hear(children, "done")

        roots = [*[child.pid for child in children], *server_pids()]
        return measure.timed("dj_stripe", count, work, roots=roots)
    finally:
        for child in children:
            child.kill()
            child.communicate()


def _hear(children: Sequence["subprocess.Popen[str]"], word: str) -> None:
    for child in children:
        assert child.stdout is not None
        line = child.stdout.readline().strip()
        if line != word:
            raise DjStripeFailed(line)


def _run(command: Sequence[str]) -> None:
    ended = subprocess.run(command, env=_environment(), capture_output=True, text=True, check=False)
    if ended.returncode:
        raise DjStripeFailed(ended.stderr[-2000:])


def _environment() -> dict[str, str]:
    url = sa.make_url(os.environ["DATABASE_URL"]).set(drivername="postgresql")
    return {**os.environ, "DATABASE_URL": url.render_as_string(hide_password=False)}
