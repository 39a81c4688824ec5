"""Both servers, as a context: they answer, keep their data, end with their owner, and refuse with a reason."""

import json
import os
import pwd
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from redis import Redis
from redis.exceptions import AuthenticationError
from sqlalchemy import NullPool, create_engine, text
from sqlalchemy.exc import OperationalError

from devstack import running_stack
from devstack.binaries import find_postgres
from devstack.errors import (
    BinariesMissing,
    ChildFailed,
    DataInUse,
    DataOwnedByOther,
    PortTaken,
    SecretMissing,
)
from devstack.postgres import free_stale_pid_file
from devstack.sandbox import Sandbox, why_not
from devstack.stack import read_record

HOLD_A_STACK = """
import sys, time
from pathlib import Path
from devstack import running_stack
with running_stack(Path(sys.argv[1])) as urls:
    print("ready", flush=True)
    time.sleep(600)
"""

HOLD_A_STACK_FROM_A_THREAD_THAT_ENDS = """
import sys, threading, time
from contextlib import ExitStack
from pathlib import Path
from devstack import running_stack
held = ExitStack()
def start():
    held.enter_context(running_stack(Path(sys.argv[1]), durable=False))
thread = threading.Thread(target=start)
thread.start()
thread.join()
print("ready", flush=True)
time.sleep(600)
"""


def sql(url, statement):
    engine = create_engine(url, poolclass=NullPool)
    with engine.begin() as connection:
        result = connection.execute(text(statement))
        return result.scalars().all() if result.returns_rows else []


def pids_of(folder):
    record = read_record(folder)
    children = subprocess.run(
        ["ps", "-A", "-o", "pid=,ppid="], capture_output=True, text=True, check=True
    )
    pairs = [tuple(map(int, line.split())) for line in children.stdout.splitlines()]
    return [
        record.redis_pid,
        record.postgres_pid,
        *(pid for pid, parent in pairs if parent == record.postgres_pid),
    ]


def test_an_empty_folder_becomes_two_servers_that_answer(empty):
    with running_stack(empty.path, durable=False) as urls:
        assert sql(urls.database_url, "SELECT current_database()") == ["billing_app"]
        assert Redis.from_url(urls.redis_url).ping()

    assert urls.database_url.startswith("postgresql+psycopg2://postgres:")
    assert "@127.0.0.1:" in urls.database_url
    assert "@127.0.0.1:" in urls.redis_url


def test_data_and_ports_survive_a_restart(folder):
    with running_stack(folder.path) as before:
        sql(before.database_url, "CREATE TABLE kept AS SELECT 458 AS credits")
        Redis.from_url(before.redis_url).lpush("queue", "message")

    with running_stack(folder.path) as after:
        assert after == before
        assert sql(after.database_url, "SELECT credits FROM kept") == [458]
        assert Redis.from_url(after.redis_url).lrange("queue", 0, -1) == [b"message"]


def test_money_is_durable_and_a_full_redis_says_no(folder):
    with running_stack(folder.path) as urls:
        settings = [
            sql(urls.database_url, f"SHOW {name}") for name in ("fsync", "synchronous_commit")
        ]
        policy = Redis.from_url(urls.redis_url).config_get("maxmemory-policy", "appendonly")

    assert settings == [["on"], ["on"]]
    assert policy == {"maxmemory-policy": "noeviction", "appendonly": "yes"}


def test_nobody_gets_in_without_the_password(folder):
    with running_stack(folder.path, durable=False) as urls:
        secrets = [folder.secret_path(name) for name in ("postgres", "redis")]
        stranger = urls.database_url.replace(secrets[0].read_text(), "guess")

        with pytest.raises(OperationalError, match="password authentication failed"):
            sql(stranger, "SELECT 1")
        with pytest.raises(AuthenticationError):
            Redis.from_url(urls.redis_url.replace(secrets[1].read_text(), "guess")).ping()

    assert [oct(path.stat().st_mode & 0o777) for path in secrets] == ["0o600", "0o600"]


def test_after_a_kill_9_of_the_owner_no_server_is_left_and_the_next_start_has_the_data(
    folder, script, kill_9, all_gone
):
    owner, _ = script(HOLD_A_STACK, folder.path)
    urls = read_record(folder).urls(folder)
    sql(urls.database_url, "CREATE TABLE kept AS SELECT 458 AS credits")
    pids = pids_of(folder)

    kill_9(owner)

    assert all_gone(pids)
    with running_stack(folder.path) as after:
        assert sql(after.database_url, "SELECT credits FROM kept") == [458]


def test_servers_outlive_the_thread_that_started_them(folder, script):
    script(HOLD_A_STACK_FROM_A_THREAD_THAT_ENDS, folder.path)

    urls = read_record(folder).urls(folder)

    assert sql(urls.database_url, "SELECT 1") == [1]
    assert Redis.from_url(urls.redis_url).ping()


def test_a_second_stack_on_the_same_data_is_refused_and_told_who_has_it(folder):
    with (
        running_stack(folder.path, durable=False),
        pytest.raises(DataInUse) as refused,
        running_stack(folder.path),
    ):
        pass

    assert refused.value.pid == os.getpid()


def test_a_port_that_is_taken_since_the_last_time_is_left_for_another(folder):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        (folder.path / "ports.json").write_text(json.dumps({"postgres": port}))

        with running_stack(folder.path, durable=False) as urls:
            assert f":{port}/" not in urls.database_url


def test_a_port_that_was_asked_for_and_is_taken_is_refused(folder):
    with (
        socket.create_server(("127.0.0.1", 0)) as taken,
        pytest.raises(PortTaken),
        running_stack(folder.path, redis_port=taken.getsockname()[1]),
    ):
        pass


def test_a_server_that_cannot_start_shows_the_end_of_its_log(folder):
    (folder.postgres / "data" / "PG_VERSION").write_text("9.6\n")

    with pytest.raises(ChildFailed) as refused, running_stack(folder.path):
        pass

    assert refused.value.exit_code == 1
    assert "database files are incompatible with server" in str(refused.value)


def test_a_lost_password_is_named_instead_of_waiting_for_an_answer(folder):
    folder.secret_path("postgres").unlink()

    with pytest.raises(SecretMissing, match=r"postgres\.password"), running_stack(folder.path):
        pass


def test_a_stale_pid_file_whose_id_belongs_to_somebody_else_now_does_not_block(folder):
    pid_file = folder.postgres / "data" / "postmaster.pid"
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as stranger:
        pid_file.write_text(
            f"{stranger.pid}\n{folder.postgres / 'data'}\n1700000000\n0\n\n127.0.0.1\n"
        )

        with running_stack(folder.path, durable=False) as urls:
            assert sql(urls.database_url, "SELECT 1") == [1]


def test_a_pid_file_cut_short_by_a_crash_does_not_block(folder):
    (folder.postgres / "data" / "postmaster.pid").touch()

    with running_stack(folder.path, durable=False) as urls:
        assert sql(urls.database_url, "SELECT 1") == [1]


def test_a_postgres_that_somebody_else_started_on_the_data_is_left_alone(tmp_path):
    command = [sys.executable, "-c", "print(flush=True); input()", "postgres"]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen(command, **pipes, cwd=tmp_path) as foreign:
        foreign.stdout.readline()  # before, /proc may not yet tell its command
        (tmp_path / "postmaster.pid").write_text(f"{foreign.pid}\n")

        with pytest.raises(DataInUse) as refused:
            free_stale_pid_file(tmp_path)

    assert refused.value.pid == foreign.pid


def test_missing_programs_are_named_with_the_remedy(monkeypatch):
    monkeypatch.setattr("devstack.binaries._postgres_folders", lambda: iter([Path("/nowhere")]))

    with pytest.raises(BinariesMissing, match=r"billing-worker\[embedded\]"):
        find_postgres()


def test_data_of_another_user_is_refused_before_anything_is_touched(folder, monkeypatch):
    before = sorted(folder.path.rglob("*"))
    monkeypatch.setattr(os, "geteuid", lambda: 1234)

    with pytest.raises(DataOwnedByOther, match="not 1234"), running_stack(folder.path):
        pass

    assert sorted(folder.path.rglob("*")) == before


@pytest.fixture
def only_as_nobody(monkeypatch):
    """As in a container that forbids user namespaces."""
    if os.geteuid() != 0:
        pytest.skip("only root has to become somebody else")
    nobody = pwd.getpwnam("nobody")
    sandbox = Sandbox(f"user:{nobody.pw_uid}:{nobody.pw_gid}", nobody.pw_uid)
    if why := why_not(sandbox, str(find_postgres() / "postgres"), "--version"):
        pytest.skip(f"nobody cannot run Postgres here: {why}")
    monkeypatch.setattr("devstack.postgres.choose_sandbox", lambda _program: sandbox)
    return nobody.pw_uid


def test_root_without_user_namespaces_runs_postgres_as_nobody(folder, only_as_nobody):
    with running_stack(folder.path, durable=False) as urls:
        assert sql(urls.database_url, "SELECT 1") == [1]
        assert Path(f"/proc/{read_record(folder).postgres_pid}").stat().st_uid == only_as_nobody


def test_data_that_nobody_cannot_reach_lies_behind_a_link(empty, only_as_nobody):
    empty.path.parent.chmod(0o700)
    try:
        with running_stack(empty.path, durable=False) as urls:
            assert sql(urls.database_url, "SELECT 1") == [1]
        assert empty.postgres.is_symlink()
    finally:
        shutil.rmtree(empty.postgres.resolve())
