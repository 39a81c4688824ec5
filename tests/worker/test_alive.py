"""A worker that Postgres does not let in is not alive, and says the server's words."""

import json
import os
from types import SimpleNamespace

import pytest
import sqlalchemy as sa
from click.testing import CliRunner

from cli.alive import alive as command
from tests.conftest import FreshDatabase
from tests.worker.conftest import wait_until
from worker import alive, database

HOST = "127.0.0.1"


def url_of(**changed):
    url = sa.make_url(os.environ["DATABASE_URL"]).set(drivername="postgresql", **changed)
    return url.render_as_string(hide_password=False)


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        pytest.param({"username": "nobody_here"}, "nobody_here", id="nobody"),
        pytest.param({"database": "no_such"}, 'database "no_such" does not exist', id="nowhere"),
        pytest.param({"port": 1}, "port 1 failed: Connection refused", id="away"),
    ],
)
def test_a_worker_that_never_reached_postgres_says_so_and_is_not_alive(
    database, redis_client, start, tmp_path, monkeypatch, changed, words
):
    monkeypatch.setenv("BILLING_ALIVE_DIR", str(tmp_path))
    worker = start("general", "-Q", "credits", "--concurrency", "1", DATABASE_URL=url_of(**changed))

    wait_until(lambda: "postgres_unreachable" in worker.log)

    lines = [json.loads(line) for line in worker.log.splitlines() if line.startswith("{")]
    reasons = {line["event"]: line["reason"] for line in lines if "reason" in line}
    assert {"server_unreachable", "postgres_unreachable"} <= set(reasons)
    assert all(words in reason for reason in reasons.values())
    assert not alive.is_alive("general")


@pytest.fixture
def gate(monkeypatch):
    """A database of its own, which can be closed to everybody."""
    with FreshDatabase("gate") as url:
        own = sa.create_engine(url, pool_pre_ping=True)
        monkeypatch.setattr(alive, "engine", lambda: own)

        def close(is_closed):
            name = sa.make_url(url).database
            quiet = database.engine().execution_options(isolation_level="AUTOCOMMIT")
            with quiet.connect() as admin:
                admin.execute(sa.text(f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS {not is_closed}'))
                admin.execute(
                    sa.text(
                        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = :n"
                    ),
                    {"n": name},
                )

        yield close
        own.dispose()


@pytest.fixture
def parent():
    """What the step needs of a consumer; its timer calls when it is told."""
    calls = []
    timer = SimpleNamespace(
        call_repeatedly=lambda _, function, args: (
            calls.append((function, args)) or SimpleNamespace(cancel=calls.clear)
        )
    )

    def tick():
        for function, args in calls:
            function(*args)

    return SimpleNamespace(hostname="general@host", timer=timer, tick=tick, steps=[])


def test_a_postgres_that_goes_away_and_comes_back_is_noticed_both_times(
    gate, parent, tmp_path, monkeypatch
):
    monkeypatch.setenv("BILLING_ALIVE_DIR", str(tmp_path))
    monkeypatch.setattr(alive, "ASK_EVERY_S", 0.02)
    file = alive.alive_file("general@host")
    step = alive.Alive(parent)
    step.start(parent)
    assert alive.is_alive("general")

    def touched():
        file.unlink(missing_ok=True)
        parent.tick()
        return file.exists()

    gate(True)
    wait_until(lambda: not touched())
    gate(False)
    wait_until(touched)
    step.stop(parent)
    parent.tick()


def test_a_reader_of_debits_that_waits_for_a_server_is_alive_and_not_ready(
    parent, tmp_path, monkeypatch
):
    monkeypatch.setenv("BILLING_ALIVE_DIR", str(tmp_path))
    parent.debit_reader = SimpleNamespace(is_ready=False)
    step = alive.Alive(parent)
    step.start(parent)

    before = [alive.is_alive("general"), alive.is_ready("general")]
    parent.debit_reader.is_ready = True
    parent.tick()

    assert before == [True, False]
    assert alive.is_ready("general")
    assert CliRunner().invoke(command, ["general", "--ready"]).exit_code == 0
    assert CliRunner().invoke(command, ["nobody", "--ready"]).exit_code == 1
    step.stop(parent)
