"""A message, or a row of the inbox, that kills its reader is set aside after three deaths."""

import json
import time

import pytest
import sqlalchemy as sa

from billing.operations import dead_letters
from billing.usage import inbox, post
from tests.worker.deaths import DEADLY, kills_its_process, until_done
from tests.worker.rawmessages import message, raw
from worker.app import app
from worker.database import engine, transaction
from worker.debits import careful_drain
from worker.debits.inbox_drain import InboxDrain
from worker.debits.reader import DebitReader
from worker.transport import queues

pytestmark = pytest.mark.filterwarnings("ignore:.*fork")


@pytest.fixture(autouse=True)
def deadly(monkeypatch):
    app.loader.import_default_modules()
    monkeypatch.setattr(post, "apply", kills_its_process(post.apply))


def debit(account_id, key, **fields):
    arguments = {"operation": "image_prompt_extraction", "account_id": account_id, "key": key}
    return arguments | fields


def open_letters():
    with transaction() as ctx:
        return [(d.error, d.attempts) for d in dead_letters.list_open(ctx.session, limit=9)]


def test_a_message_that_kills_its_reader_is_set_aside_and_the_others_are_taken(
    ledger, redis_client
):
    """It killed eight readers in a minute, and would have killed for ever."""
    account = ledger.open_account("acme", credits=1000)
    good = [raw(message(**debit(account, f"k{n}"))) for n in range(300)]
    bad = raw(message(**debit(account, "bad", **DEADLY)))
    redis_client.lpush("debits", *good[:120], bad, *good[120:])

    def read_all():
        reader = DebitReader(app, "debits@test")
        while queues.depth(redis_client, "debits"):
            reader.read_batch()

    def leases_end():
        for tag in redis_client.hkeys(queues.UNACKED):
            redis_client.zadd(queues.UNACKED_INDEX, {tag: 0})
        DebitReader(app, "debits@test")._restore_expired()

    assert until_done(read_all, after_death=leases_end) == 3

    assert ledger.see("acme").credits == 1000 - 2 * 300
    assert open_letters() == [("ProcessKilled", 3)]
    assert queues.in_hand(redis_client) == redis_client.hlen(queues.DEATHS) == 0


def test_a_row_of_the_inbox_that_kills_its_drain_is_set_aside_and_the_others_are_applied(
    ledger, redis_client, monkeypatch
):
    """One row stopped 48 others, of all accounts."""
    monkeypatch.setattr(careful_drain, "STALE_AT_START_S", 0.0)
    monkeypatch.setattr(careful_drain, "OWNED_MS", 100)
    accounts = [ledger.open_account(f"a{n}", credits=100) for n in range(6)]
    for n in range(8):
        for account in accounts:
            leave(debit(account, f"{account}:{n}"))
        if n == 3:
            leave(debit(accounts[2], "bad", **DEADLY))

    def drain_all():
        drain = InboxDrain()
        while waiting():
            drain.ring()
            drain.drain_batch() or time.sleep(0.01)

    assert until_done(drain_all, after_death=lambda: time.sleep(0.01)) == 3

    assert [ledger.see(f"a{n}").credits for n in range(6)] == [100 - 2 * 8] * 6
    assert open_letters() == [("ProcessKilled", 1)]
    assert redis_client.hlen(queues.DEATHS) == 0


def test_a_row_that_merely_fails_does_not_stop_a_careful_drain(ledger, redis_client, monkeypatch):
    monkeypatch.setattr(careful_drain, "STALE_AT_START_S", 0.0)
    monkeypatch.setattr("tests.worker.deaths.os.kill", lambda *_: 1 / 0)
    redis_client.zadd(careful_drain.MARKS, {"a drain that was killed": time.time()})
    account = ledger.open_account("acme", credits=100)
    leave(debit(account, "bad", **DEADLY))
    leave(debit(account, "k"))
    drain = InboxDrain()

    while waiting():
        drain.ring()
        drain.drain_batch()

    assert open_letters() == [("ZeroDivisionError", 1)]
    assert ledger.see("acme").credits == 98


def test_after_a_drain_that_died_the_inbox_is_soon_drained_in_batches_again(
    ledger, redis_client, monkeypatch
):
    monkeypatch.setattr(careful_drain, "STALE_AT_START_S", 0.0)
    account = ledger.open_account("acme", credits=100)
    redis_client.zadd(careful_drain.MARKS, {"a drain that was killed": time.time()})
    leave(debit(account, "k"))
    drain = InboxDrain()

    while waiting():
        drain.ring()
        drain.drain_batch()
    drain.ring()
    drain.drain_batch()

    assert not redis_client.exists(careful_drain.CAREFUL, careful_drain.OWNER)
    assert ledger.see("acme").credits == 98


def leave(arguments):
    with engine().begin() as connection:
        connection.execute(
            sa.text("INSERT INTO billing.inbox (account_id, task, arguments) VALUES (:a, :t, :j)"),
            {"a": arguments["account_id"], "t": "credits.debit", "j": json.dumps(arguments)},
        )


def waiting():
    with transaction() as ctx:
        return inbox.waiting(ctx.session)[0]
