"""The client sends what the worker reads, hides it from onlookers, and brings nothing else along."""

import datetime as dt
import json
import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from kombu.exceptions import OperationalError

from billing.statements.limits import MAX_FILE_BYTES
from billing_client import (
    MESSAGES,
    BillingClient,
    Debit,
    InvalidField,
    StripeWebhook,
    new_key,
    statement_files,
)
from billing_client.fields import MAX_STRIPE_BODY
from worker.transport import envelope, queues

TASKS = set(MESSAGES)


@pytest.fixture
def client(redis_client):
    return BillingClient(os.environ["REDIS_URL"])


def sent(redis_client, queue):
    return [
        envelope.read(raw, known_tasks=TASKS) for _, raw in queues.take(redis_client, queue, 10)
    ]


def test_a_debit_arrives_as_it_was_asked(client, redis_client):
    key = new_key()

    client.debit(5, "image_generation", key=key, units=3, metadata={"site": 7})

    (message,) = sent(redis_client, "debits")
    assert (message.task, message.arguments) == (
        "credits.debit",
        {
            "account_id": 5,
            "operation": "image_generation",
            "key": key,
            "units": 3,
            "metadata": {"site": 7},
        },
    )


def test_a_grant_and_a_seeding_go_to_the_queue_of_credits(client, redis_client):
    client.grant(5, 100, "top_up", key="order:1")
    client.seed_account(6)

    assert [m.task for m in sent(redis_client, "credits")] == [
        "credits.grant",
        "credits.seed_account",
    ]


def test_what_is_about_bank_transfers_goes_to_their_queue(client, redis_client):
    client.announce_transfer(31, 2, key="order:1", months=3)
    client.import_statement(7)
    client.confirm_transfer(17, 42, version=2, user_id=5)
    client.reject_transfer(18, version=3, user_id=5, reason="not ours")

    assert [(m.task, m.arguments) for m in sent(redis_client, "bank")] == [
        (
            "bank.announce_transfer",
            {"account_id": 31, "plan_id": 2, "key": "order:1", "months": 3},
        ),
        ("bank.import_statement", {"file_id": 7}),
        (
            "bank.confirm_transfer",
            {"transfer_id": 17, "version": 2, "invoice_id": 42, "user_id": 5},
        ),
        (
            "bank.reject_transfer",
            {"transfer_id": 18, "version": 3, "user_id": 5, "reason": "not ours"},
        ),
    ]


@pytest.mark.parametrize("content", [b"", bytes(statement_files.MAX_BYTES + 1)])
def test_a_file_that_no_worker_would_read_is_refused_before_it_is_left(client, content):
    with pytest.raises(InvalidField, match="content"):
        client.import_statement_in(None, content, name="x")


def test_the_client_and_the_worker_agree_on_the_largest_file():
    assert statement_files.MAX_BYTES == MAX_FILE_BYTES


def test_many_debits_go_in_messages_of_500(client, redis_client):
    debits = [Debit(5, "clustering", f"d{n}") for n in range(1200)]

    assert client.debit_many(debits) == 1200

    messages = sent(redis_client, "debits")
    assert [len(m.arguments["debits"]) for m in messages] == [500, 500, 200]
    assert [d["key"] for m in messages for d in m.arguments["debits"]] == [d.key for d in debits]


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(b'{"id":"evt_1"}', id="JSON"),
        pytest.param('{"name":"Zoë"}'.encode(), id="letters beyond ASCII"),
        pytest.param(b'\xff\xfe{"id"', id="no UTF-8"),
        pytest.param(b"\xed\xa0\x80", id="half a surrogate pair, written as UTF-8 never is"),
        pytest.param(b"a\x00b", id="a NUL"),
        pytest.param(b"", id="nothing"),
        pytest.param(b"x" * MAX_STRIPE_BODY, id="the most that is taken"),
    ],
)
def test_a_webhook_arrives_as_the_very_bytes_that_came(client, redis_client, body):
    client.stripe_event(body, "t=1,v1=00", received_at=dt.datetime(2026, 3, 1, tzinfo=dt.UTC))

    (message,) = sent(redis_client, "stripe")
    webhook = StripeWebhook.from_arguments(message.arguments)
    assert (message.task, webhook.body, webhook.signature) == ("stripe.receive", body, "t=1,v1=00")
    assert webhook.received_at == dt.datetime(2026, 3, 1, tzinfo=dt.UTC)


def test_a_webhooks_body_may_be_given_as_text(client, redis_client):
    client.stripe_event('{"name":"Zoë"}', "")

    (message,) = sent(redis_client, "stripe")
    assert message.arguments["payload"] == '{"name":"Zoë"}'
    assert StripeWebhook.from_arguments(message.arguments).received_at.tzinfo is dt.UTC


def test_a_webhook_of_more_than_a_mebibyte_is_not_sent(client, redis_client):
    with pytest.raises(InvalidField, match="payload"):
        client.stripe_event(b"x" * (MAX_STRIPE_BODY + 1), "t=1,v1=00")

    assert queues.depth(redis_client, "stripe") == 0


def test_a_bad_message_is_not_sent(client, redis_client):
    with pytest.raises(InvalidField):
        client.debit(5, "clustering", key="k", units=0)

    assert queues.depth(redis_client, "debits") == 0


def test_onlookers_see_no_contents(client, redis_client):
    client.debit(5, "clustering", key="debit:secret")

    raw = redis_client.lindex("debits", 0)
    headers = json.dumps(json.loads(raw)["headers"])
    assert "debit:secret" not in headers
    assert "(hidden)" in headers


def test_a_broker_that_is_away_is_said_soon():
    with pytest.raises(OperationalError):
        BillingClient("redis://127.0.0.1:1/0").debit(5, "clustering", key="k")


def test_the_client_brings_celery_alone_and_what_that_needs_for_redis():
    project = tomllib.loads((Path(__file__).parents[2] / "client/pyproject.toml").read_text())

    (needed,) = project["project"]["dependencies"]
    assert needed.startswith("celery[redis]")


def test_importing_the_client_loads_none_of_our_other_packages():
    script = "import billing_client, sys; print(sorted(sys.modules))"
    loaded = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    ).stdout

    for package in ("billing'", "models'", "worker'", "tasks'", "cli'", "sqlalchemy'", "stripe'"):
        assert f"'{package}" not in loaded


def test_a_message_larger_than_a_worker_reads_is_refused_before_it_is_sent(client, redis_client):
    escaped = "\x01" * (3 * 2**20)  # six bytes each in JSON

    with pytest.raises(InvalidField, match="must be at most 16777216 bytes as a message"):
        client.send(StripeWebhook(escaped, "t=1", dt.datetime.now(dt.UTC)))

    assert queues.depth(redis_client, "stripe") == 0
