"""The operator's first screen hears what is up, and says what needs a person."""

import datetime as dt
import json
import os
import subprocess
import sys

import pytest
from click.testing import CliRunner
from sqlalchemy import insert

from billing_client.client import SENT_AT
from celeryconfig import QUEUES
from cli.main import main
from models.credits import InboxRow
from tests.worker.conftest import running_worker, wait_until
from tests.worker.rawmessages import message, raw, with_headers
from worker import beat, clock, dead_letters
from worker.database import transaction
from worker.transport import queues


def status():
    result = CliRunner().invoke(main, ["status", "--json"])
    return result.exit_code, json.loads(result.output)


def readers(seen):
    return {queue["name"]: queue["readers"] for queue in seen["queues"]}


@pytest.fixture
def ticking(redis_client):
    """Beat has just sent a tick."""
    beat.note()


def test_it_names_the_workers_that_answer_and_sets_their_answers_aside_nowhere(
    database, redis_client, ticking
):
    with running_worker("all", "-Q", ",".join(QUEUES), "--pool", "solo"):
        exit_code, seen = status()

    assert [name.partition("@")[0] for name in seen["workers"]] == ["all"]
    assert set(readers(seen).values()) == {1}
    assert (exit_code, seen["problems"], dead_letters.count_in_redis()) == (0, [], 0)


def test_a_queue_that_no_worker_reads_is_said_and_fails(database, redis_client, ticking):
    general = ",".join(name for name in QUEUES if name != "debits")
    with running_worker("general", "-Q", general, "--concurrency", "1"):
        exit_code, seen = status()

    assert [name for name, count in readers(seen).items() if not count] == ["debits"]
    assert (exit_code, seen["problems"]) == (1, ["no worker reads the queue debits"])


def test_what_waits_for_more_than_a_minute_is_said(ledger, redis_client, ticking):
    sent = clock.now() - dt.timedelta(seconds=90)
    redis_client.lpush("credits", raw(with_headers(message(), **{SENT_AT: sent.isoformat()})))
    ledger.open_account("acme", credits=100)
    with transaction() as ctx:
        row = {"account_id": 1, "task": "credits.debit", "arguments": {}, "sent_at": sent}
        ctx.session.execute(insert(InboxRow).values(**row))

    _, seen = status()

    assert [words.partition(" has waited 9")[0] for words in seen["problems"]] == [
        "no worker answers",
        "the oldest message in credits",
        "the oldest row in the inbox",
    ]


def test_without_a_worker_it_says_so_and_fails(database, redis_client, ticking):
    redis_client.lpush("debits", b"x", b"y")

    exit_code, seen = status()

    assert (exit_code, seen["problems"]) == (1, ["no worker answers"])
    assert {q["name"]: q["waiting"] for q in seen["queues"]}["debits"] == 2
    assert queues.depth(redis_client, "debits") == 2


def test_connections_that_redis_closed_in_between_do_not_matter(database, redis_client):
    first = status()
    redis_client.client_kill_filter(skipme=True)

    assert status() == first


@pytest.mark.parametrize(
    ("silent_s", "problems"),
    [
        (None, ["beat has never sent a tic"]),
        (20, []),
        (45, ["beat sent its last tick 4"]),
    ],
)
def test_a_beat_that_is_silent_is_said_within_a_minute(database, redis_client, silent_s, problems):
    if silent_s is not None:
        redis_client.set(beat.KEY, clock.now().timestamp() - silent_s)

    exit_code, seen = status()

    assert exit_code == 1  # no worker answers
    assert [words[:25] for words in seen["problems"]] == ["no worker answers", *problems]


def test_a_running_beat_gives_a_sign_of_life_with_its_first_tick(database, redis_client, tmp_path):
    schedule = str(tmp_path / "schedule")
    command = [sys.executable, "-m", "celery", "-A", "worker.app", "beat", "--schedule", schedule]
    running = subprocess.Popen([*command, "--pidfile="], env={**os.environ})
    try:
        wait_until(lambda: (beat.silent_s(redis_client) or 99) < 5)
    finally:
        running.terminate()
        running.wait(30)


def test_a_message_in_a_queue_that_nobody_reads_is_said(database, redis_client, ticking):
    redis_client.lpush("debit", raw(message(queue="debit")), raw(message(queue="debit")))
    redis_client.lpush("debit\x06\x163", raw(message(queue="debit")))
    redis_client.lpush("a list of the main app", b"1", json.dumps(["x"]))
    redis_client.lpush("reply.celery.pidbox", json.dumps({"body": "", "headers": {}}))

    _, seen = status()

    assert seen["unread_queues"] == {"debit": 3}
    assert seen["problems"][1:] == ["3 messages in the queue debit, which no worker reads"]
