"""The operator's first screen hears what is up, and says what needs a person."""

import json

from click.testing import CliRunner

from ops.main import main
from tests.worker.conftest import running_worker
from worker import letters, mailbox


def status():
    result = CliRunner().invoke(main, ["status", "--json"])
    return result.exit_code, json.loads(result.output)


def test_it_names_the_workers_that_answer_and_sets_their_answers_aside_nowhere(
    database, redis_client
):
    with running_worker("general", "-Q", "credits", "--concurrency", "1"):
        exit_code, seen = status()

    assert [name.partition("@")[0] for name in seen["workers"]] == ["general"]
    assert (exit_code, seen["problems"], letters.waiting()) == (0, [], 0)


def test_without_a_worker_it_says_so_and_fails(database, redis_client):
    redis_client.lpush("debits", b"x", b"y")

    exit_code, seen = status()

    assert (exit_code, seen["problems"]) == (1, ["no worker answers"])
    assert {q["name"]: q["waiting"] for q in seen["queues"]}["debits"] == 2
    assert mailbox.depth(redis_client, "debits") == 2


def test_connections_that_redis_closed_in_between_do_not_matter(database, redis_client):
    first = status()
    redis_client.client_kill_filter(skipme=True)

    assert status() == first
