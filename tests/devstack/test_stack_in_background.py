"""`billing stack start | stop | status`: one stack a folder, whoever asks and however often."""

import json
import os
import signal
import subprocess
import sys

import pytest
from click.testing import CliRunner
from sqlalchemy import NullPool, create_engine, text

from cli.main import main
from devstack import running_stack
from devstack.background import stop_background
from devstack.errors import HalfConfigured
from devstack.stack import Urls, outside_urls, read_record


@pytest.fixture(autouse=True)
def no_servers_from_outside(monkeypatch):
    monkeypatch.delenv("DATABASE_URL", raising=False)
    monkeypatch.delenv("REDIS_URL", raising=False)


@pytest.fixture
def billing(folder):
    """The command line on the test's folder; what it started is stopped at the end."""

    def call(*arguments):
        return CliRunner().invoke(main, ["stack", *arguments, "--data", str(folder.path)])

    yield call
    stop_background(folder)


def test_status_of_a_folder_that_is_not_there_says_not_running_and_makes_nothing(empty):
    answer = CliRunner().invoke(main, ["stack", "status", "--data", str(empty.path)])

    assert answer.exit_code == 3
    assert answer.output.startswith("not running")
    assert not empty.path.exists()


def test_start_prints_urls_that_work_after_it_has_returned(billing):
    answer = billing("start")

    lines = dict(line.split("=", 1) for line in answer.output.splitlines())
    assert list(lines) == ["DATABASE_URL", "REDIS_URL"]
    with create_engine(lines["DATABASE_URL"], poolclass=NullPool).connect() as connection:
        assert connection.scalar(text("SELECT 1")) == 1


def test_starting_twice_gives_one_stack_and_the_same_answer(billing, folder):
    first, holder = billing("start"), read_record(folder).holder
    second = billing("start")

    assert (second.exit_code, second.output) == (0, first.output)
    assert read_record(folder).holder == holder


def test_two_starts_that_race_give_one_stack(billing, folder):
    command = [sys.executable, "-m", "cli.main", "stack", "start", "--data", str(folder.path)]
    racing = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    answers = [process.communicate()[0] for process in racing]

    assert [process.returncode for process in racing] == [0, 0]
    assert answers[0] == answers[1] == billing("start").output


def test_status_tells_ids_ports_health_and_size_for_programs(billing, folder):
    billing("start")

    answer = billing("status", "--json")

    facts, record = json.loads(answer.output), read_record(folder)
    assert answer.exit_code == 0
    assert facts.pop("data_bytes") > 1_000_000
    assert facts == {
        "data": str(folder.path),
        "running": True,
        "pid": record.holder.pid,
        "background": True,
        "postgres": {"pid": record.postgres_pid, "port": record.postgres_port, "reachable": True},
        "redis": {"pid": record.redis_pid, "port": record.redis_port, "reachable": True},
    }


def test_stop_ends_every_process_and_stopping_again_is_no_error(billing, folder, all_gone):
    billing("start")
    record = read_record(folder)

    assert billing("stop").output == "stopped\n"

    assert all_gone([record.holder.pid, record.postgres_pid, record.redis_pid])
    assert billing("stop", "--json").output == '{"stopped": false}\n'
    assert billing("status").exit_code == 3


def test_after_a_kill_9_nothing_is_left_and_start_works_again(billing, folder, all_gone):
    first = billing("start").output
    record = read_record(folder)

    os.kill(record.holder.pid, signal.SIGKILL)

    assert all_gone([record.holder.pid, record.postgres_pid, record.redis_pid])
    assert billing("status").exit_code == 3
    assert billing("start").output == first


def test_a_server_that_dies_takes_the_stack_down_and_the_log_says_which(billing, folder, all_gone):
    billing("start")
    record = read_record(folder)

    os.kill(record.redis_pid, signal.SIGKILL)

    assert all_gone([record.holder.pid, record.postgres_pid])
    assert "redis ended with exit code -9" in folder.log("stack").read_text()


def test_a_start_that_fails_shows_the_servers_own_words(billing, folder):
    (folder.postgres / "data" / "PG_VERSION").write_text("9.6\n")

    answer = billing("start")

    assert answer.exit_code == 1
    assert "database files are incompatible with server" in answer.output


def test_stop_leaves_alone_what_runs_in_the_foreground(billing, folder):
    with running_stack(folder.path, durable=False):
        answer = billing("stop")

    assert answer.exit_code == 1
    assert f"end process {os.getpid()}" in answer.output


def test_an_id_that_another_process_has_now_is_never_signalled(billing, folder):
    billing("start")
    facts = json.loads(folder.record.read_text())
    billing("stop")
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as stranger:
        folder.record.write_text(
            json.dumps(facts | {"holder": {"pid": stranger.pid, "started": "long ago"}})
        )

        assert billing("stop").output == "not running\n"

    assert stranger.returncode == 1  # its input ended; nobody signalled it


def test_servers_named_in_the_environment_are_used_and_none_is_started(
    billing, folder, monkeypatch
):
    monkeypatch.setenv("DATABASE_URL", "postgresql+psycopg2://db.example/app")
    monkeypatch.setenv("REDIS_URL", "redis://broker.example/0")

    answer = billing("start")

    assert (
        answer.stdout
        == "DATABASE_URL=postgresql+psycopg2://db.example/app\nREDIS_URL=redis://broker.example/0\n"
    )
    assert read_record(folder) is None


def test_the_folders_own_urls_in_the_environment_do_not_keep_it_from_starting(
    billing, folder, monkeypatch
):
    for line in billing("start").output.splitlines():
        monkeypatch.setenv(*line.split("=", 1))
    billing("stop")

    billing("start")

    assert read_record(folder) is not None


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        pytest.param({}, None, id="neither is set"),
        pytest.param({"DATABASE_URL": "a", "REDIS_URL": "b"}, Urls("a", "b"), id="both are set"),
        pytest.param({"DATABASE_URL": "", "REDIS_URL": ""}, None, id="both are set to nothing"),
    ],
)
def test_the_environment_decides_whose_servers_are_used(empty, environ, expected):
    assert outside_urls(empty, environ) == expected


@pytest.mark.parametrize("name", ["DATABASE_URL", "REDIS_URL"])
def test_one_server_without_the_other_is_a_mistake(empty, name):
    with pytest.raises(HalfConfigured, match=f"{name} is set"):
        outside_urls(empty, {name: "somewhere"})
