"""`billing dead-letters`: what died is listed with its reason, replayed after the cure, or dropped."""

import json

import pytest
from sqlalchemy import insert, select

from billing_client.client import HIDDEN
from models.host import CreditCostConfig
from models.operations import DeadLetter
from tests.cli.conftest import depth
from tests.worker.rawmessages import message, raw
from worker import clock
from worker.database import transaction
from worker.transport import queues


def set_a_price():
    with transaction() as ctx:
        columns = {"operation": "translation", "credits_per_unit": 4}
        ctx.session.execute(insert(CreditCostConfig).values(columns))


def states():
    with transaction() as ctx:
        rows = ctx.session.scalars(select(DeadLetter).order_by(DeadLetter.id))
        return {letter.id: (letter.state, letter.closed_by) for letter in rows}


def test_a_list_shows_what_died_and_why(billing, unpriced):
    shown = billing("dead-letters", "list")

    for words in ("1 open dead letters", "credits.debit", "UnknownOperation", "'key': 'k1'"):
        assert words in shown


def test_a_list_for_machines_holds_the_whole_letter(billing_json, unpriced):
    listed = billing_json("dead-letters", "list")

    assert listed["open"] == 1
    (letter,) = listed["letters"]
    assert letter["arguments"] == {
        "account_id": 1,
        "operation": "translation",
        "units": 3,
        "key": "k1",
    }
    assert (letter["error"], letter["attempts"], letter["state"]) == ("UnknownOperation", 1, "open")


def test_what_is_still_in_redis_is_listed_too(billing_json, database, redis_client):
    redis_client.lpush(queues.QUARANTINE, b"hello")

    (letter,) = billing_json("dead-letters", "list")["letters"]
    assert "JSON is malformed" in letter["reason"]
    assert redis_client.llen(queues.QUARANTINE) == 0


def test_poison_that_postgres_would_not_take_as_it_is_does_not_hold_up_the_rest(
    billing_json, database, redis_client
):
    nul = message(key="k")
    nul["properties"]["delivery_info"]["routing_key"] = "\x00"
    nul["headers"]["task"] = "\ud800\x00"
    redis_client.lpush(queues.QUARANTINE, raw(nul), b"hello")
    redis_client.lpush(queues.PARKED, b"hello", b'{"message_id": "m"}', b"[1]")
    redis_client.lpush(
        queues.PARKED,
        json.dumps(
            {"message_id": "m-1", "error": "Bug", "reason": "\x00", "arguments": {"a": "\x00"}}
        ),
    )

    assert billing_json("dead-letters", "list")["open"] == 5  # two times hello is one letter
    assert redis_client.llen(queues.QUARANTINE) + redis_client.llen(queues.PARKED) == 0


def test_a_replay_after_the_cure_takes_the_debit_once(billing, unpriced, debit):
    unpriced.now = clock.now()
    set_a_price()

    assert billing("dead-letters", "replay", "1") == "1 replayed: 1\n"
    debit.read()
    billing("dead-letters", "replay", "1", exit_code=1)
    debit(account_id=1, operation="translation", units=3, key="k1")

    assert (
        unpriced.history("acme")
        == """
        opening balance     +100   100
        translation          -12    88
    """
    )
    assert "0 open" in billing("dead-letters", "list")


def test_a_replay_before_the_cure_is_a_letter_again(billing, billing_json, unpriced, debit):
    billing("dead-letters", "replay", "--all")
    debit.read()

    (letter,) = billing_json("dead-letters", "list")["letters"]
    assert (letter["id"], letter["attempts"]) == (1, 2)


def test_a_replay_hides_its_contents_from_onlookers(billing, unpriced, redis_client):
    billing("dead-letters", "replay", "1")

    headers = json.loads(redis_client.lindex("debits", 0))["headers"]
    assert (headers["argsrepr"], headers["kwargsrepr"]) == (HIDDEN, HIDDEN)


def test_what_could_not_be_read_is_replayed_as_it_was(billing, database, redis_client):
    cut = raw(message(key="k"))[:-1]
    redis_client.lpush(queues.QUARANTINE, cut + b" }")
    billing("dead-letters", "list")

    billing("dead-letters", "replay", "1")

    assert redis_client.lrange("debits", 0, -1) == [cut + b" }"]


def test_what_is_no_message_at_all_can_only_be_dropped(billing, database, redis_client):
    redis_client.lpush(queues.QUARANTINE, b"hello")
    billing("dead-letters", "list")

    shown = billing("dead-letters", "replay", "1", exit_code=1)

    assert "Drop it and send a correct one" in shown
    assert states()[1][0] == "open"


def test_what_can_not_be_replayed_does_not_hold_up_the_others(
    billing_json, unpriced, debit, redis_client
):
    redis_client.lpush(queues.QUARANTINE, b"hello")
    billing_json("dead-letters", "list")
    debit(account_id=1, operation="translation", units=4, key="k2")

    answer = billing_json("dead-letters", "replay", "--all", exit_code=1)

    assert answer["ids"] == [1, 3]
    assert list(answer["left"]) == ["2"]
    assert [state for state, _ in states().values()] == ["replayed", "open", "replayed"]


def test_a_dropped_letter_stays_as_a_row_that_says_who_dropped_it(billing, unpriced):
    assert billing("dead-letters", "drop", "1") == "1 dropped: 1\n"

    state, by = states()[1]
    assert state == "dropped"
    assert by.startswith("operator:")


@pytest.mark.parametrize("verb", ["replay", "drop"])
def test_a_dry_run_says_what_would_happen_and_changes_nothing(
    billing, billing_json, unpriced, verb
):
    said = billing("dead-letters", verb, "--all", "--dry-run")
    for_machines = billing_json("dead-letters", verb, "1", "--dry-run")

    done = {"replay": "replayed", "drop": "dropped"}[verb]
    assert said == f"1 would be {done}: 1\n"
    assert for_machines == {"state": done, "dry_run": True, "ids": [1], "left": {}}
    assert states() == {1: ("open", None)}
    assert depth("debits") == 0


def test_all_of_one_task_leaves_those_of_the_others(billing, unpriced, redis_client):
    redis_client.lpush(queues.QUARANTINE, b"hello")
    billing("dead-letters", "list")

    assert billing("dead-letters", "drop", "--all", "--task", "credits.debit") == "1 dropped: 1\n"

    assert [state for state, _ in states().values()] == ["dropped", "open"]


@pytest.mark.parametrize(
    "words",
    [
        pytest.param(["replay"], id="none named"),
        pytest.param(["replay", "1", "--all"], id="one and all"),
        pytest.param(["drop", "1", "--task", "credits.debit"], id="a task without --all"),
    ],
)
def test_what_is_asked_must_be_clear(billing, database, words):
    assert "Usage" in billing("dead-letters", *words, exit_code=2)


def test_a_letter_that_is_not_there_is_said(billing, database):
    assert "No open dead letter has the id 7" in billing("dead-letters", "drop", "7", exit_code=1)
