"""One mutant against its tests: a forked process that imports the product with the change in it.

The parent has started the servers, imported the libraries and nothing of the product, and migrated a
database, which each trial copies. So a trial takes a second or two and its tests.
"""

import importlib
import os
import shutil
import signal
import sys
import tempfile
import time
import traceback
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

import hypothesis
import psycopg2
import pytest
import redis

from devstack import running_stack
from tests.tools.mutants.started import sitecustomize
from tests.tools.tracer import ROOT

LIBRARIES = (
    "alembic.command",
    "celery",
    "celery.app.trace",
    "celery.bin.worker",
    "click",
    "flower",
    "hypothesis.stateful",
    "jinja2",
    "kombu.transport.redis",
    "msgspec",
    "pydantic_settings",
    "rich.table",
    "sqlalchemy.orm",
    "sqlalchemy.dialects.postgresql",
    "standardwebhooks",
    "stdnum",
    "stripe",
    "structlog",
    "urllib3",
    "waitress",
    "xdist",
)
#: A mutant may loop: it has this many times its tests' own time, and these seconds.
PATIENCE, PATIENCE_S = 5, 60
_TEMPLATE, _MUTATED = "mutants_template", "mutants_mutated"
_BODIES = """
SELECT p.pronamespace::regnamespace || '.' || p.proname, p.prosrc, pg_get_functiondef(p.oid)
FROM pg_proc AS p JOIN pg_language AS l ON l.oid = p.prolang
WHERE p.pronamespace = 'billing'::regnamespace AND l.lanname IN ('sql', 'plpgsql') AND p.prosrc <> ''
"""


class Verdict(NamedTuple):
    """`killed`, `survived`, `timed out` or `broken`, and the test that failed."""

    outcome: str
    seconds: float
    test: str = ""


class Laboratory:
    """The servers, the migrated database, and its functions' bodies by name."""

    def __init__(self, folder, urls):
        self._folder = folder
        self._urls = urls
        url = self._database(_TEMPLATE)
        if in_child(lambda: _migrate(url), self._log, limit_s=120) != 0:
            raise RuntimeError(f"The migrations fail: {self.output()}")
        with self._sql(_TEMPLATE) as cursor:
            cursor.execute(_BODIES)
            rows = cursor.fetchall()
        self.bodies = {name: body for name, body, _ in rows}
        self._definitions = {name: definition for name, _, definition in rows}

    @property
    def _log(self):
        return self._folder / "output.txt"

    def try_out(self, mutant, tests, *, seconds):
        """Run these tests with the change; without a mutant, as the product is.

        `seconds`: what they take without it.
        """
        began = time.monotonic()
        template = _TEMPLATE
        if mutant and mutant.function:
            template = _MUTATED
            if not self._change_function(mutant):
                return Verdict("killed", time.monotonic() - began, "Postgres refuses it")
        failed = self._folder / "failed.txt"
        failed.unlink(missing_ok=True)

        def run():
            os.environ.update(self._urls, TEST_DATABASE_TEMPLATE=template)
            if mutant and not mutant.function:
                _change_module(mutant)
            return _pytest(tests, failed)

        code = in_child(run, self._log, limit_s=PATIENCE * seconds + PATIENCE_S)
        self._clean()
        outcome = {None: "timed out", 0: "survived", 1: "killed", 2: "killed"}.get(code, "broken")
        if code == pytest.ExitCode.USAGE_ERROR and "while loading conftest" in self.output():
            outcome = "killed"  # it can't even be imported
        test = failed.read_text() if failed.exists() else ""
        return Verdict(outcome, round(time.monotonic() - began, 1), test)

    def output(self):
        """What the last trial printed."""
        return self._log.read_text(errors="replace")

    def _change_function(self, mutant):
        start, end, new, _ = mutant.edit
        body = self.bodies[mutant.function]
        changed = body[:start] + new + body[end:]
        self._database(_MUTATED, template=_TEMPLATE)
        try:
            with self._sql(_MUTATED) as cursor:
                cursor.execute(self._definitions[mutant.function].replace(body, changed))
        except psycopg2.Error:
            return False
        return True

    def _database(self, name, *, template="template1"):
        with self._sql("postgres") as cursor:
            cursor.execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')
            cursor.execute(f'CREATE DATABASE "{name}" TEMPLATE "{template}"')
        return self._url(name)

    def _clean(self):
        """Drop the databases that a killed process left, and empty the Redis."""
        with self._sql("postgres") as cursor:
            cursor.execute("SELECT datname FROM pg_database WHERE datname ~ '_[0-9a-f]{8}$'")
            for (name,) in cursor.fetchall():
                cursor.execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')
        with redis.Redis.from_url(self._urls["REDIS_URL"]) as client:
            client.flushall()

    @contextmanager
    def _sql(self, name):
        connection = psycopg2.connect(self._url(name).replace("+psycopg2", ""))
        connection.autocommit = True
        try:
            yield connection.cursor()
        finally:
            connection.close()

    def _url(self, name):
        return f"{self._urls['DATABASE_URL'].rpartition('/')[0]}/{name}"


@contextmanager
def laboratory():
    """Servers of our own, until the end of the block."""
    for name in LIBRARIES:
        importlib.import_module(name)
    hypothesis.settings.register_profile(
        "mutants",
        deadline=None,
        database=None,
        derandomize=True,
        # No shrinking: that a test fails is all we ask.
        phases=[hypothesis.Phase.explicit, hypothesis.Phase.generate],
        suppress_health_check=list(hypothesis.HealthCheck),
    )
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # so that servers and trials end
    folder = Path(tempfile.mkdtemp(prefix="billing-mutants-"))
    try:
        with running_stack(folder, durable=False) as urls:
            yield Laboratory(folder, urls.environment())
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _change_module(mutant):
    name = mutant.file.removesuffix(".py").removesuffix("/__init__").replace("/", ".")
    start, end, new, _ = mutant.edit
    sitecustomize.pass_on(file=str(ROOT / mutant.file), name=name, start=start, end=end, new=new)


class _FirstFailure:
    def __init__(self, path):
        self._path = path

    def pytest_runtest_logreport(self, report):
        if report.failed and not self._path.exists():
            self._path.write_text(report.nodeid)


def _pytest(tests, failed):
    options = [
        "-q",
        "-x",
        "-n",
        "0",
        "-p",
        "no:randomly",
        "-p",
        "no:cacheprovider",
        "--tb",
        "short",
    ]
    options += ["--hypothesis-profile", "mutants", "--timeout", "60"]
    options += ["-W", "ignore::pytest.PytestAssertRewriteWarning"]  # the libraries are imported
    return int(pytest.main([*tests, *options], plugins=[_FirstFailure(failed)]))


def _migrate(url):
    os.environ.update(DATABASE_URL=url, REDIS_URL="redis://127.0.0.1:1/0")
    from worker import schema

    schema.upgrade()
    return 0


def in_child(act, log, *, limit_s):
    """Fork, run, and return the exit code; None if it takes longer than this, and is killed."""
    pid = os.fork()
    if pid == 0:
        code = 70
        try:
            os.setsid()
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            with log.open("w") as output:
                os.dup2(output.fileno(), 1)
                os.dup2(output.fileno(), 2)
            os.chdir(ROOT)
            code = act()
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)
    try:
        return _exit_code(pid, limit_s)
    finally:
        with suppress(ProcessLookupError):
            os.killpg(pid, signal.SIGKILL)  # and what it started
        with suppress(ChildProcessError):
            os.waitpid(pid, 0)


def _exit_code(pid, limit_s):
    ends = time.monotonic() + limit_s
    while time.monotonic() < ends:
        done, raw = os.waitpid(pid, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(raw)
        time.sleep(0.02)
    return None
