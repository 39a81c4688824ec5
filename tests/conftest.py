"""Real servers for every test: those of DATABASE_URL and REDIS_URL, else embedded ones of our own."""

import os
import secrets
import shutil
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

import pytest
import redis
import sqlalchemy as sa
import structlog
from hypothesis import HealthCheck, settings

from tests import seeds

# How fast inputs are made says something of the machine, and nothing of the code.
settings.register_profile("suite", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("suite")

# Rich tracebacks, with every local variable, take seconds.
plain = structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)
structlog.configure(processors=[structlog.processors.add_log_level, plain])
_session = ExitStack()
_BEGAN = time.monotonic()
#: A Postgres and a Redis each; beyond this a run is as long as its longest file.
MOST_PROCESSES = 4
#: What takes longest is begun first, so that no process ends long after the others.
BEGUN_FIRST = (
    "worker/test_workers_for_real.py",
    "lives/test_lives.py",
    "machine/test_machine.py",
    "bench/test_bench.py",
    "cli/test_finding_servers.py",
    "cli/test_relay_command.py",
    "cli/test_demo.py",
    "billing/usage/test_debits_properties.py",
    "billing/lifecycle/test_payment_during_a_sweep.py",
    "devstack/test_stack_in_background.py",
)
# Rows are deleted where there are any, and sequences set back where they were used: to truncate
# every table makes each of them, and each of its indexes, a new file, before every test.
_EMPTY = """
DO $$ DECLARE name text; is_filled boolean; BEGIN
  FOR name IN
    SELECT format('%I.%I', schemaname, tablename) FROM pg_tables
    WHERE (schemaname = 'billing' AND tablename NOT IN ('alembic_version', 'host_changes', 'prices'))
       OR (schemaname = 'public' AND tablename LIKE 'igny8%')
  LOOP
    EXECUTE 'SELECT EXISTS (SELECT FROM ' || name || ')' INTO is_filled;
    IF is_filled THEN EXECUTE 'DELETE FROM ' || name; END IF;
  END LOOP;
  DELETE FROM billing.prices WHERE valid_from <> '-infinity';
  PERFORM setval(format('%I.%I', schemaname, sequencename)::regclass, start_value, false)
  FROM pg_sequences
  WHERE last_value IS NOT NULL AND sequencename NOT IN ('prices_id_seq', 'host_changes_id_seq')
    AND (schemaname = 'billing' OR sequencename LIKE 'igny8%');
END $$
"""


def pytest_xdist_auto_num_workers(config):
    """The whole suite goes to a process a core, each with servers of its own; a part of it stays here.

    Servers that are named in the environment are one Redis, which two would empty for each other.
    """
    is_whole = config.args_source is not pytest.Config.ArgsSource.ARGS
    is_named = os.environ.get("DATABASE_URL") or os.environ.get("REDIS_URL")
    return min(os.cpu_count() or 1, MOST_PROCESSES) if is_whole and not is_named else 0


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config, items):
    """Behind pytest-randomly's order, which stays as it is otherwise."""
    if hasattr(config, "workerinput"):
        last = len(BEGUN_FIRST)
        places = {Path(__file__).parent / name: place for place, name in enumerate(BEGUN_FIRST)}
        items.sort(key=lambda item: places.get(item.path, last))


def pytest_runtest_setup(item):
    """A part of the long tests ends in time."""
    if seeds.SEED is not None and time.monotonic() - _BEGAN > seeds.PART_S:
        pytest.skip("the part's time is over")


def _hands_out(config):
    """Whether this process runs no test itself: xdist's controller."""
    asked = config.getoption("numprocesses", None)
    if asked == "auto":
        asked = 0 if config.option.usepdb else pytest_xdist_auto_num_workers(config)
    return bool(asked) and not hasattr(config, "workerinput")


def pytest_configure(config):
    """Start the servers before any module that reads its settings is imported."""
    if _hands_out(config):
        return
    if config.option.collectonly or config.option.help:
        os.environ.setdefault("DATABASE_URL", "postgresql://nobody@127.0.0.1:1/none")
        os.environ.setdefault("REDIS_URL", "redis://127.0.0.1:1/0")
        return
    folder = Path(tempfile.mkdtemp(prefix="billing-tests-"))
    _session.callback(shutil.rmtree, folder, ignore_errors=True)
    os.environ["BILLING_DATA"] = str(folder)
    os.environ["BILLING_ALIVE_DIR"] = str(folder)
    _take_servers(folder)
    _refuse_a_redis_in_use(os.environ["REDIS_URL"])
    template = os.environ.get("TEST_DATABASE_TEMPLATE", "template1")
    os.environ["DATABASE_URL"] = _session.enter_context(FreshDatabase("suite", template))
    from worker import schema

    schema.upgrade()
    if os.environ.get("TEST_AS_WORKER"):
        from tests import as_worker

        as_worker.begin()


def _take_servers(folder):
    """Those that are named, both or none; else embedded ones."""
    from devstack import running_stack
    from devstack.errors import HalfConfigured
    from devstack.folder import DataFolder
    from devstack.stack import outside_urls

    try:
        if outside_urls(DataFolder(folder)) is not None:
            return
    except HalfConfigured as error:
        pytest.exit(str(error), 2)
    urls = _session.enter_context(running_stack(folder, durable=False))
    os.environ.update(urls.environment())


def _refuse_a_redis_in_use(url):
    with redis.Redis.from_url(url) as client:
        if client.dbsize():
            pytest.exit("REDIS_URL names a Redis that holds data; the tests would erase it", 2)


def pytest_unconfigure(config):
    """Stop them."""
    if _hands_out(config):
        return
    from worker.database import engine

    if engine.cache_info().currsize:
        engine().dispose()
    _session.close()


class FreshDatabase:
    """A database of its own on the test server, dropped at the end."""

    def __init__(self, name, template="template1"):
        self._url = sa.make_url(os.environ["DATABASE_URL"]).set(drivername="postgresql+psycopg2")
        self._name = f"billing_{name}_{secrets.token_hex(4)}"
        self._template = template

    def __enter__(self):
        self._run(f'CREATE DATABASE "{self._name}" TEMPLATE "{self._template}"')
        return self._url.set(database=self._name).render_as_string(hide_password=False)

    def __exit__(self, *_):
        self._run(f'DROP DATABASE "{self._name}" WITH (FORCE)')

    def _run(self, statement):
        engine = sa.create_engine(self._url, isolation_level="AUTOCOMMIT", poolclass=sa.NullPool)
        with engine.connect() as connection:
            connection.execute(sa.text(statement))


def empty_database():
    """Empty the suite's database; returns its engine."""
    from worker.database import engine

    with engine().begin() as connection:
        connection.execute(sa.text("SET LOCAL session_replication_role = replica"))
        connection.execute(sa.text(_EMPTY))
    return engine()


@pytest.fixture
def database():
    """The suite's database, emptied."""
    return empty_database()


@pytest.fixture
def redis_client():
    """The suite's Redis, emptied of what tests leave behind."""
    from worker.transport import queues

    client = queues.connection()
    client.flushdb()
    yield client
    client.flushdb()


@pytest.fixture
def ledger(database):
    """Books to tell a story with."""
    from tests.story import Ledger

    return Ledger()
