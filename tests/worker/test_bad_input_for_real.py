"""Real workers outlive every bad message, keep it under its error's name, and handle the next one."""

import json

import pytest

from tests.worker.conftest import wait_until
from tests.worker.rawmessages import body_of, every_poison, message, raw
from worker.transport import queues

KEY = "debit:bad"
DEBIT = {"account_id": 1, "operation": "clustering", "key": KEY}


@pytest.fixture
def acme(ledger):
    """Account 1, with credits for a few debits of 2; account 2 is deleted."""
    assert ledger.open_account("acme", credits=100) == DEBIT["account_id"]
    ledger.open_account("gone", credits=100)
    ledger.delete_account("gone")
    return ledger


@pytest.mark.parametrize(
    ("change", "error"),
    [
        pytest.param({"account_id": 999}, "UnknownAccount", id="an unknown account"),
        pytest.param({"account_id": 2}, "AccountDeleted", id="a deleted account"),
        pytest.param({"operation": "mind_reading"}, "UnknownOperation", id="an unknown operation"),
        pytest.param({"units": 0}, "InvalidField", id="units 0"),
        pytest.param({"units": -3}, "InvalidField", id="negative units"),
        pytest.param({"units": 10**12}, "InvalidField", id="huge units"),
        pytest.param({"units": 1.5}, "InvalidField", id="units as a float"),
        pytest.param({"units": float("nan")}, "Malformed", id="units that are no number"),
        pytest.param({"key": ""}, "InvalidField", id="an empty key"),
        pytest.param({"key": "k" * 201}, "InvalidField", id="a key of 201 characters"),
        pytest.param({"key": "a\x00b"}, "InvalidField", id="a key with a NUL"),
        pytest.param({"key": "\ud800"}, "Malformed", id="a key with half a character"),
        pytest.param({"metadata": {"a": "x" * 2049}}, "InvalidField", id="metadata over 2 KB"),
        pytest.param({"metadata": "text"}, "InvalidField", id="metadata that is no object"),
        pytest.param({"metadata": {"a": "\x00"}}, "InvalidField", id="metadata with a NUL"),
        pytest.param({"metadata": {"a": "\udfff"}}, "Malformed", id="metadata of half a character"),
        pytest.param({"metadata": {"a": float("inf")}}, "Malformed", id="metadata not JSON"),
        pytest.param({"key": None}, "MissingField", id="a missing field"),
        pytest.param({"unit": 3}, "UnknownField", id="an extra field"),
    ],
)
def test_a_bad_debit_ends_under_its_errors_name(
    standing, acme, client, redis_client, outcome, change, error
):
    arguments = {name: value for name, value in (DEBIT | change).items() if value is not None}

    redis_client.lpush("debits", raw(message(**arguments)))
    client.debit(1, "image_prompt_extraction", key="debit:next")

    assert outcome() == [error]
    assert (
        acme.history("acme")
        == """
        opening balance               +100   100
        image_prompt_extraction         -2    98
    """
    )


def test_a_key_that_means_something_else_already_is_kept_under_its_errors_name(
    standing, acme, client, outcome
):
    client.debit(1, "image_prompt_extraction", key=KEY)
    client.debit(1, "clustering", key=KEY)

    assert outcome() == ["KeyReused"]
    assert acme.see("acme").credits == 98


def test_two_debits_with_one_key_are_one_entry(standing, acme, client, outcome):
    client.debit(1, "image_prompt_extraction", key=KEY)
    client.debit(1, "image_prompt_extraction", key=KEY)

    assert outcome() == []
    assert acme.see("acme").credits == 98


def test_positional_arguments_are_refused(standing, acme, redis_client, outcome):
    good = message(**DEBIT)

    redis_client.lpush("debits", raw({**good, "body": body_of('[[1, "clustering", "k"], {}, {}]')}))

    assert outcome() == ["InvalidMessage"]


def test_another_task_in_the_queue_of_debits_is_kept(standing, acme, redis_client, outcome):
    redis_client.lpush("debits", raw(message("credits.seed_account", account_id=1)))

    assert outcome() == ["Malformed"]


@every_poison
def test_the_debit_worker_outlives_it_and_keeps_it(
    standing, acme, client, redis_client, outcome, poison
):
    redis_client.lpush("debits", poison(message(**DEBIT)))
    client.debit(1, "image_prompt_extraction", key="debit:next")

    assert outcome() == ["Malformed"]
    assert acme.see("acme").credits == 98
    assert standing["debits"].is_alive


@every_poison
def test_a_general_worker_outlives_it_and_keeps_it(
    standing, acme, client, redis_client, outcome, poison
):
    redis_client.lpush("credits", poison(message("credits.seed_account", "credits", account_id=1)))
    client.grant(1, 5, "goodwill", key="grant:next")

    assert outcome() == ["Malformed"]
    assert acme.see("acme").credits == 105
    assert standing["credits"].is_alive


@pytest.mark.parametrize(
    ("change", "error"),
    [
        pytest.param({"account_id": 999}, "UnknownAccount", id="an unknown account"),
        pytest.param({"account_id": 2}, "AccountDeleted", id="a deleted account"),
        pytest.param({"amount": 0}, "InvalidField", id="nothing"),
        pytest.param({"source": "luck"}, "InvalidField", id="an unknown source"),
        pytest.param({"key": "a\x00b"}, "InvalidField", id="a key with a NUL"),
        pytest.param({"amount": float("nan")}, "Malformed", id="an amount that is no number"),
    ],
)
def test_a_bad_grant_ends_under_its_errors_name(
    standing, acme, client, redis_client, outcome, change, error
):
    grant = {"account_id": 1, "amount": 5, "source": "goodwill", "key": "grant:bad"} | change

    redis_client.lpush("credits", raw(message("credits.grant", "credits", **grant)))
    client.grant(1, 5, "goodwill", key="grant:next")

    assert outcome() == [error]
    assert acme.see("acme").credits == 105


def test_no_log_line_holds_what_a_message_says(standing, acme, client, redis_client, outcome):
    secret = "the-secret-of-acme"
    before = {name: len(worker.log) for name, worker in standing.items()}

    for queue, task in (("debits", "credits.debit"), ("credits", "credits.grant")):
        for poison in ({"metadata": {secret: secret}}, {secret: 1}, {"operation": secret}):
            fields = DEBIT | poison | {"key": f"{secret}:{queue}:{poison}"[:99]}
            redis_client.lpush(queue, raw(message(task, queue, **fields)))
    client.grant(1, 5, "goodwill", key=secret)

    assert len(outcome()) == 5  # the metadata was good for a debit
    for name, worker in standing.items():
        lines = worker.log[before[name] :]
        assert secret not in lines
        assert all(json.loads(line)["event"] for line in lines.splitlines())


def test_flushing_redis_does_not_hurt_the_workers(standing, acme, client, redis_client, outcome):
    redis_client.flushall()

    client.debit(1, "image_prompt_extraction", key="debit:1")
    client.grant(1, 5, "goodwill", key="grant:1")

    assert outcome() == []
    assert acme.see("acme").credits == 103


def test_a_connection_that_redis_closes_is_made_again(
    standing, acme, client, redis_client, outcome
):
    redis_client.client_kill_filter(skipme=True)

    client.debit(1, "image_prompt_extraction", key="debit:1")
    client.grant(1, 5, "goodwill", key="grant:1")

    assert outcome() == []
    assert acme.see("acme").credits == 103


def test_a_message_of_every_priority_is_handled(standing, acme, client, redis_client, outcome):
    for priority in queues.PRIORITY_STEPS:
        for queue, task, fields in (
            ("debits", "credits.debit", {"operation": "image_prompt_extraction"}),
            ("credits", "credits.grant", {"amount": 5, "source": "goodwill"}),
        ):
            name = queues.lists_of(queue)[queues.PRIORITY_STEPS.index(priority)]
            arguments = {"account_id": 1, "key": f"{task}:{priority}", **fields}
            redis_client.lpush(name, raw(message(task, queue, priority=priority, **arguments)))

    assert outcome() == []
    assert acme.see("acme").credits == 100 - 4 * 2 + 4 * 5


def test_the_workers_say_that_they_are_alive(standing, tmp_path):
    from worker.alive import is_alive

    assert wait_until(lambda: is_alive("general") and is_alive("debits"))
    assert not is_alive("nobody")


def test_a_worker_that_can_not_say_that_it_is_alive_works_all_the_same(
    acme, client, outcome, start, tmp_path
):
    no_folder = tmp_path / "file"
    no_folder.touch()
    start("debits", "-Q", "debits", "--pool", "solo", BILLING_ALIVE_DIR=str(no_folder))

    client.debit(1, "image_prompt_extraction", key="debit:1")

    assert outcome() == []
    assert acme.see("acme").credits == 98


def test_two_users_signs_of_life_do_not_get_into_each_others_way(monkeypatch):
    from worker.alive import alive_file

    monkeypatch.delenv("BILLING_ALIVE_DIR")
    monkeypatch.setattr("os.getuid", lambda: 65534)
    of_nobody = alive_file("debits@host")
    monkeypatch.undo()
    monkeypatch.delenv("BILLING_ALIVE_DIR")

    assert alive_file("debits@host").parent != of_nobody.parent
