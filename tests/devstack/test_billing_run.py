"""`billing run`: one command that starts everything, tells where it is, and leaves nothing behind."""

import signal
import socket

import pytest
from click.testing import CliRunner

from cli.main import main
from cli.run_steps import FLOWER_COLUMNS, Place, flower_login, steps, workers_answer
from devstack import running_stack
from devstack.stack import read_record

# The real command on the real servers; only the table holds small children instead of Celery's.
RUN_WITH_SMALL_CHILDREN = """
import sys
import cli.run
from devstack.children import Command
from devstack.supervisor import Step

CHILD = "import os, time; os.fork(); print(os.getpid(), flush=True); time.sleep(600)"
def small(place):
    environment = place.environment
    done = "import os; print(os.environ['DATABASE_URL'], os.environ['REDIS_URL'])"
    return [
        Step(Command("migrate", (sys.executable, "-c", done), environment), once=True),
        Step(Command("worker", (sys.executable, "-c", CHILD), environment)),
    ]
cli.run.steps = small
report = cli.run._print
def print_ready(line):
    report(line)
    if line.startswith("running"):
        print("ready", flush=True)
cli.run._print = print_ready
cli.run.run(sys.argv[1:])
"""
RUN_IN_A_CHILD_AS_MAKE_DOES = """
import subprocess, sys
run = subprocess.Popen([sys.executable, "-c", *sys.argv[1:]], stdout=subprocess.PIPE, text=True)
print(run.pid)
for line in run.stdout:
    print(line, end="", flush=True)
"""

ONE_WORKER = """
import sys
from celery import Celery, signals
output = lambda **_: print("ready", file=sys.__stdout__, flush=True)  # stdout is a log by then
signals.worker_ready.connect(output, weak=False)
app = Celery(broker=sys.argv[1])
app.worker_main(["worker", "-n", "one@%h", "--pool", "solo", "--without-mingle"])
"""


@pytest.fixture(autouse=True)
def no_servers_from_outside(monkeypatch):
    for name in ("DATABASE_URL", "REDIS_URL", "FLOWER_BASIC_AUTH"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def all_pids(folder, eventually):
    """Of the servers, the child and its grandchild."""

    def read():
        assert eventually(lambda: len(folder.log("worker").read_text().split()) == 2)
        record = read_record(folder)
        servers = [record.postgres_pid, record.redis_pid] if record else []
        return servers + [int(pid) for pid in folder.log("worker").read_text().split()]

    return read


def test_ctrl_c_stops_everything_in_order(folder, script, all_pids, all_gone):
    running, output = script(RUN_WITH_SMALL_CHILDREN, "--data", folder.path)
    pids = all_pids()

    running.send_signal(signal.SIGINT)
    rest = running.communicate()[0]

    assert running.returncode == 0
    assert rest.splitlines() == ["stopping worker", "stopped"]
    assert all_gone(pids)
    assert [line.split("=")[0].split(" ")[0] for line in output.splitlines()[:5]] == [
        "DATABASE_URL",
        "REDIS_URL",
        "Flower",
        "Logs",
        "Data",
    ]


def test_a_kill_9_leaves_no_server_child_or_grandchild(folder, script, kill_9, all_pids, all_gone):
    running, _ = script(RUN_WITH_SMALL_CHILDREN, "--data", folder.path)
    pids = all_pids()

    kill_9(running)

    assert all_gone(pids)


def test_a_kill_9_of_make_stops_the_run_under_it(folder, script, kill_9, all_pids, all_gone):
    arguments = ("--data", folder.path, "--until-parent-ends")
    make, output = script(RUN_IN_A_CHILD_AS_MAKE_DOES, RUN_WITH_SMALL_CHILDREN, *arguments)
    pids = [int(output.split()[0]), *all_pids()]

    kill_9(make)

    assert all_gone(pids)


def test_a_second_run_in_the_same_folder_is_refused(folder, script):
    running, _ = script(RUN_WITH_SMALL_CHILDREN, "--data", folder.path)

    answer = CliRunner().invoke(main, ["run", "--data", str(folder.path)])

    assert answer.exit_code == 1
    assert f"is in use by process {running.pid}" in answer.output


def test_servers_that_run_already_are_used_and_left_running(folder, script):
    with running_stack(folder.path, durable=False) as urls:
        running, _ = script(RUN_WITH_SMALL_CHILDREN, "--data", folder.path)
        running.send_signal(signal.SIGTERM)
        running.communicate()

        assert folder.log("migrate").read_text().split() == [urls.database_url, urls.redis_url]
        assert running.returncode == 0


def test_servers_named_in_the_environment_are_used(folder, script, monkeypatch):
    monkeypatch.setenv("DATABASE_URL", "postgresql+psycopg2://db.example/app")
    monkeypatch.setenv("REDIS_URL", "redis://broker.example/0")

    script(RUN_WITH_SMALL_CHILDREN, "--data", folder.path)

    expected = ["postgresql+psycopg2://db.example/app", "redis://broker.example/0"]
    assert folder.log("migrate").read_text().split() == expected
    assert read_record(folder) is None


def test_the_table_lists_what_runs_in_which_order(empty):
    place = Place(empty, {"REDIS_URL": "redis://127.0.0.1:1/0"}, 5555)

    table = [(step.command.name, " ".join(step.command.argv[2:])) for step in steps(place)]

    flower = "celery -A worker.app flower --address=127.0.0.1 --port=5555"
    assert table == [
        ("migrate", "cli.main migrate"),
        ("samples", "cli.main samples load --unless-the-apps"),
        (
            "worker",
            "celery -A worker.app worker -n worker@%h -Q credits,bank,maintenance,stripe --concurrency 2 --loglevel INFO",
        ),
        (
            "debits",
            "celery -A worker.app worker -n debits@%h -Q debits --pool solo --loglevel INFO",
        ),
        ("beat", f"celery -A worker.app beat --schedule {empty.path / 'beat-schedule'}"),
        (
            "flower",
            f"{flower} --tasks_columns={FLOWER_COLUMNS} --read_only=True --persistent=False",
        ),
    ]


def test_flower_has_a_password_of_its_own_that_stays(empty):
    empty.create()

    login = flower_login(empty, {})

    assert login.startswith("billing:")
    assert len(login) > 30
    assert flower_login(empty, {}) == login
    assert flower_login(empty, {"FLOWER_BASIC_AUTH": "me:mine"}) == "me:mine"


def test_flower_waits_until_every_worker_answers(folder, script):
    with running_stack(folder.path, durable=False) as urls:
        script(ONE_WORKER, urls.redis_url)
        one, two = (f"{name}@{socket.gethostname()}" for name in ("one", "two"))

        assert workers_answer(urls.redis_url, [one])()
        assert not workers_answer(urls.redis_url, [one, two])()
