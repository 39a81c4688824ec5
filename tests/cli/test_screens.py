"""`billing status`, `accounts`, `audit`, `preflight`: what an operator sees, and what a machine reads."""

import json
import subprocess
import sys

import pytest
import sqlalchemy as sa

from billing.usage import holds
from billing_client import BillingClient, PlaceHold
from tests.worker.conftest import running_worker
from tests.worker.rawmessages import message, raw
from worker.database import transaction
from worker.settings import settings


@pytest.fixture(scope="module", autouse=True)
def one_worker():
    with running_worker("seen", "-Q", "maintenance", "--pool", "solo"):
        yield


def test_status_shows_servers_workers_queues_and_what_waits(
    billing, billing_json, unpriced, redis_client
):
    BillingClient(settings().redis_url).grant(1, 5, "goodwill", key="g")

    shown, seen = billing("status", exit_code=1), billing_json("status", exit_code=1)

    for words in (
        "postgres   up",
        "redis      up",
        "seen@",
        "1 dead letters: billing dead-letters",
    ):
        assert words in shown
    assert (seen["postgres"], seen["redis"], seen["dead_letters"]) == ("up", "up", 1)
    assert [worker.split("@")[0] for worker in seen["workers"]] == ["seen"]
    waiting = {queue["name"]: queue for queue in seen["queues"]}
    assert waiting["credits"]["waiting"] == 1
    assert waiting["credits"]["oldest_s"] >= 0
    assert waiting["debits"]["oldest_s"] is None
    assert seen["problems"] == [
        "no worker reads the queue debits",
        "no worker reads the queue credits",
        "no worker reads the queue bank",
        "no worker reads the queue stripe",
        "beat has never sent a tick",
        "1 dead letters: billing dead-letters list",
    ]


def test_status_does_not_stumble_over_a_message_that_tells_no_time(
    billing_json, database, redis_client
):
    redis_client.lpush("debits", b"hello")
    redis_client.lpush("credits", raw(message()))

    seen = billing_json("status", exit_code=1)

    assert {queue["oldest_s"] for queue in seen["queues"]} == {None}


def test_status_without_servers_says_so_and_does_not_end_in_a_traceback():
    environment = {
        "DATABASE_URL": "postgresql://nobody@127.0.0.1:1/none",
        "REDIS_URL": "redis://127.0.0.1:1/0",
    }
    answer = subprocess.run(
        [sys.executable, "-m", "cli.main", "status", "--json"],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )

    seen = json.loads(answer.stdout)
    assert answer.returncode == 1
    assert answer.stderr == ""
    assert [problem.split(":")[0] for problem in seen["problems"]] == ["postgres", "redis"]


def test_an_account_is_shown_with_its_holds_under_way(billing, billing_json, ledger):
    account = ledger.open_account("acme", credits=100)
    with transaction() as ctx:
        holds.place(ctx.at(ledger.now), PlaceHold(account, "clustering", "hold:1"))

    shown, seen = billing("accounts", "show", "acme"), billing_json("accounts", "show", "acme")

    assert "holds under way" in shown
    assert "hold:1" in shown
    (hold,) = seen["holds"]
    assert (hold["key_text"], hold["credits"], hold["state"]) == ("hold:1", 10, "held")


@pytest.mark.parametrize("name", ["acme", "1"], ids=["by its slug", "by its id"])
def test_an_account_is_shown_with_its_lots_entries_and_refusals(billing, ledger, debit, name):
    ledger.open_account("acme", credits=100)
    debit(account_id=1, operation="image_prompt_extraction", key="k1")
    debit(account_id=1, operation="image_generation", units=50, key="k2")

    shown = billing("accounts", "show", name)

    for words in ("acme", "credits 98", "opening balance", "image_prompt_extraction", "k1"):
        assert words in shown
    assert "InsufficientCredits" in shown


def test_an_account_for_machines(billing_json, ledger, debit):
    ledger.open_account("acme", credits=100)
    debit(account_id=1, operation="image_prompt_extraction", key="k1")

    seen = billing_json("accounts", "show", "acme")

    assert (seen["slug"], seen["credits"], seen["debt"]) == ("acme", 98, 0)
    assert [entry["amount"] for entry in seen["entries"]] == [100, -2]


def test_an_account_that_the_books_do_not_know_yet_is_shown_all_the_same(billing, ledger):
    ledger.open_account("new", credits=5)

    assert "not adopted yet" in billing("accounts", "show", "new")


def test_an_unknown_account_is_said(billing, database):
    assert "No account has the id or slug nobody" in billing(
        "accounts", "show", "nobody", exit_code=1
    )


def test_an_audit_of_books_that_agree(billing, billing_json, ledger, debit):
    ledger.open_account("acme", credits=100)
    debit(account_id=1, operation="image_prompt_extraction", key="k1")

    assert "the ledger agrees" in billing("audit")
    assert billing_json("audit")["agrees"] is True


def test_the_old_option_of_an_audit_works_and_names_the_new_one(billing, ledger):
    ledger.open_account("acme", credits=100)

    shown = billing("audit", "--no-seals")

    assert "Use --hash-chain." in shown
    assert "the ledger agrees" in shown
    assert "seals" not in shown.partition("check")[2]


def test_an_audit_names_what_does_not_agree_and_ends_with_1(billing, billing_json, ledger, debit):
    ledger.open_account("acme", credits=100)
    debit(account_id=1, operation="image_prompt_extraction", key="k1")
    ledger.set_host("acme", credits=7)

    shown, seen = billing("audit", exit_code=1), billing_json("audit", exit_code=1)

    assert "THE LEDGER DOES NOT AGREE" in shown
    assert seen["agrees"] is False
    assert any(seen["findings"].values())
    assert "findings: billing audit" in billing("status", exit_code=1)


def test_preflight_on_good_ground(billing, billing_json, database):
    assert "A worker can run here" in billing("preflight")
    assert billing_json("preflight")["fine"] is True


def test_preflight_ends_with_1_and_the_list_of_what_is_wrong(billing, billing_json, database):
    with transaction() as ctx:
        ctx.session.execute(sa.text("UPDATE billing.alembic_version SET version_num = '0001'"))
        kept = ctx.session.execute(
            sa.text("SELECT version_num FROM billing.alembic_version")
        ).scalar()
    try:
        shown, seen = billing("preflight", exit_code=1), billing_json("preflight", exit_code=1)
    finally:
        from worker import schema

        with transaction() as ctx:
            ctx.session.execute(
                sa.text("UPDATE billing.alembic_version SET version_num = :head"),
                {"head": schema.head()},
            )

    assert kept == "0001"
    assert "run `billing migrate`" in shown
    assert [fact["subject"] for fact in seen["facts"] if fact["level"] == "problem"] == ["schema"]


def test_migrating_what_is_migrated_changes_nothing(billing, database):
    assert billing("migrate") == "the database is at the schema of this version\n"


def test_samples_are_loaded_once(billing, database):
    assert billing("samples", "load") == "samples: Loaded 6 plans and 5 accounts.\n"
    assert "There are accounts already" in billing("samples", "load")
    assert "aws-admin" in billing("accounts", "show", "5")


def test_samples_never_go_into_the_main_apps_own_tables(billing, database):
    with transaction() as ctx:
        made = ctx.session.execute(
            sa.text("DELETE FROM billing.host_changes RETURNING what, table_name, column_name")
        ).all()
    try:
        refused = billing("samples", "load", exit_code=1)
        left_alone = billing("samples", "load", "--unless-the-apps")
    finally:
        with transaction() as ctx:
            for row in made:
                ctx.session.execute(
                    sa.text(
                        "INSERT INTO billing.host_changes (what, table_name, column_name)"
                        " VALUES (:what, :table_name, :column_name)"
                    ),
                    row._asdict(),
                )

    assert "so no samples are loaded" in refused
    assert "so no samples are loaded" in left_alone
    assert "No account has the id" in billing("accounts", "show", "aws-admin", exit_code=1)


@pytest.mark.parametrize("topic", ["accounts", "stripe", "transfers", "trials"])
def test_the_help_of_a_topic_shows_each_line_in_full(billing, topic):
    _, _, lines = billing(topic, "--help").partition("Commands:")

    assert lines
    assert "..." not in lines


def test_an_old_name_of_a_command_is_not_listed(billing):
    assert "fill-gaps" not in billing("stripe", "--help")


def test_a_transfer_or_event_that_does_not_exist_is_named(billing, database):
    assert "No transfer has the id 99" in billing("transfers", "show", "99", exit_code=1)
    assert "No event in the inbox has the number 99" in billing(
        "stripe", "replay", "99", exit_code=1
    )
