"""A command finds the servers by itself: those that the environment names, else those of the data folder; else it says what to do."""

import json
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from cli.main import COMMANDS
from devstack import running_stack
from tests.conftest import FreshDatabase

SERVERS = ("DATABASE_URL", "REDIS_URL")
AWAY = {
    "DATABASE_URL": "postgresql://nobody@127.0.0.1:1/none",
    "REDIS_URL": "redis://127.0.0.1:1/0",
}


@pytest.fixture
def folder():
    """Not tmp_path: where Postgres must run as nobody, nobody has to reach the data."""
    with tempfile.TemporaryDirectory(prefix="billing-cli-") as place:
        Path(place).chmod(0o711)
        yield Path(place) / "data"


def billing(*words, **environment):
    """The real program, in an environment that names no servers."""
    program = Path(sys.executable).with_name("billing")
    kept = {name: value for name, value in os.environ.items() if not name.startswith("BILLING_")}
    for name in SERVERS:
        kept.pop(name)
    return subprocess.run(
        [program, *words],
        env={**kept, **environment},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize(
    ("words", "wrong", "problem"),
    [
        pytest.param("status", {"data": ""}, "is not a folder", id="a file"),
        pytest.param("stack start", {"data": ""}, "is a file", id="a file to start in"),
        pytest.param("run", {"": ""}, "is not a folder", id="below a file"),
        pytest.param("status", {"data/stack.json": "{"}, "it is no JSON", id="no JSON"),
        pytest.param("stack start", {"data/ports.json": "{"}, "it is no JSON", id="ports"),
        pytest.param("status", {"data/stack.json": "[]"}, "it is no JSON object", id="no object"),
        pytest.param("status", {"data/stack.json": "{}"}, "missing or unknown", id="no facts"),
        pytest.param("stack stop", {"data/stack.json/x": ""}, "it is a folder", id="a folder"),
    ],
)
def test_a_data_folder_that_can_not_be_used_is_named_in_a_sentence(folder, words, wrong, problem):
    for name, text in wrong.items():
        path = folder.parent / (name or "file")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    data = folder if "" not in wrong else folder.parent / "file" / "data"

    answer = billing(*words.split(), BILLING_DATA=str(data))

    assert answer.returncode in (1, 2)
    assert problem in answer.stderr
    assert str(data) in answer.stderr
    assert "Traceback" not in answer.stderr


@pytest.mark.parametrize(
    "words",
    [
        pytest.param(["status"], id="status"),
        pytest.param(["accounts", "show", "acme"], id="accounts"),
        pytest.param(["dead-letters", "list"], id="dead letters"),
        pytest.param(["audit"], id="audit"),
        pytest.param(["migrate"], id="migrate"),
        pytest.param(["credits", "renew"], id="credits"),
    ],
)
def test_without_servers_a_command_says_in_a_sentence_what_to_do(folder, words):
    answer = billing(*words, BILLING_DATA=str(folder))

    assert answer.returncode == 1
    assert answer.stderr == (
        "Error: Set DATABASE_URL and REDIS_URL, or start servers with `billing stack start`.\n"
    )


def test_without_servers_preflight_lists_what_is_not_set(folder):
    answer = billing("preflight", "--json", BILLING_DATA=str(folder))

    facts = json.loads(answer.stdout)["facts"]
    assert [fact["what"] for fact in facts] == [f"{name} is not set." for name in SERVERS]


def test_help_needs_no_servers(folder):
    answer = billing("--help", BILLING_DATA=str(folder))

    assert answer.returncode == 0
    assert all(name in answer.stdout for name in COMMANDS)
    assert billing("dead-letters", "replay", "--help", BILLING_DATA=str(folder)).returncode == 0


@pytest.mark.parametrize("name", SERVERS)
def test_one_server_without_the_other_is_a_mistake(folder, name):
    answer = billing("audit", BILLING_DATA=str(folder), **{name: "somewhere"})

    assert f"{name} is set but" in answer.stderr


@pytest.mark.parametrize(
    "words",
    [
        pytest.param(["accounts", "show", "acme"], id="accounts"),
        pytest.param(["audit"], id="audit"),
        pytest.param(["migrate"], id="migrate"),
        pytest.param(["credits", "renew"], id="credits"),
        pytest.param(["samples", "load"], id="samples"),
    ],
)
def test_a_postgres_that_is_away_is_said_in_a_sentence(folder, words):
    answer = billing(*words, BILLING_DATA=str(folder), **AWAY)

    assert answer.returncode == 1
    assert re.fullmatch("Error: postgres: .*Connection refused\n", answer.stderr)


def test_a_redis_that_is_away_is_said_in_a_sentence(folder):
    answer = billing("dead-letters", "list", BILLING_DATA=str(folder), **AWAY)

    assert answer.returncode == 1
    assert re.fullmatch("Error: redis: .*Connection refused.*\n", answer.stderr)


def test_a_database_without_our_tables_is_told_to_migrate(folder):
    with FreshDatabase("bare") as url:
        named = {"DATABASE_URL": url, "REDIS_URL": os.environ["REDIS_URL"]}
        answer = billing("audit", BILLING_DATA=str(folder), **named)

    assert answer.returncode == 1
    assert answer.stderr.endswith("does not exist: run `billing migrate` first\n")
    assert answer.stderr.startswith("Error: postgres: ")


def test_the_old_name_of_a_command_works_and_names_the_new_one(folder):
    answer = billing("retention", "--help", BILLING_DATA=str(folder))

    assert answer.returncode == 0
    assert answer.stderr == "`billing retention` is deprecated: use `billing closing`.\n"


def test_bad_settings_are_said_in_words(folder):
    answer = billing(
        "audit", BILLING_DATA=str(folder), BILLING_LEASE_S="x", **dict.fromkeys(SERVERS, "x://")
    )

    assert answer.returncode == 1
    assert "BILLING_LEASE_S: Input should be a valid integer" in answer.stderr
    assert "Traceback" not in answer.stderr


def test_the_servers_of_the_data_folder_are_found(folder):
    with running_stack(folder, durable=False):
        migrated = billing("migrate", BILLING_DATA=str(folder))
        shown = billing("audit", "--json", BILLING_DATA=str(folder))

    assert migrated.stdout == "the database is at the schema of this version\n"
    assert json.loads(shown.stdout)["agrees"] is True
