"""Credits come back by four doors, and each corrects a refund that came before."""

import pytest

import tasks.credits
from billing_client import Release, Reverse, inbox
from tests.worker.rawmessages import message, raw
from worker import clock
from worker.app import app
from worker.database import transaction
from worker.debits.inbox_drain import InboxDrain
from worker.debits.reader import DebitReader


def by_task(account_id, redis_client):
    tasks.credits.apply_one(Reverse(account_id, "work"))


def by_inbox(account_id, redis_client):
    with transaction() as ctx:
        connection = ctx.session.connection().connection.driver_connection
        inbox.leave(connection, [Reverse(account_id, "work")])
    InboxDrain().drain_batch()


def by_reader(account_id, redis_client):
    app.loader.import_default_modules()
    redis_client.lpush("debits", raw(message("credits.reverse", account_id=account_id, key="work")))
    DebitReader(app, "debits@test").read_batch()


@pytest.fixture
def refunded(acme):
    """The pack was refunded after 200 of it were spent, or held, and written off. It is now."""
    acme.policy_of("starter", take_back_debt_limit=0)
    acme.now = clock.now()
    acme.charge = acme.buys_pack()
    return acme


@pytest.mark.parametrize("door", [by_task, by_inbox, by_reader])
def test_a_reversal_by_each_door_leaves_nothing_of_what_was_written_off(
    door, refunded, redis_client
):
    refunded.uses(200, "work")
    refunded.is_refunded(refunded.charge)

    door(refunded.ids["acme"], redis_client)

    assert refunded.history("acme").splitlines()[-1].split()[-1] == "0"
    assert refunded.left() == []
    assert refunded.agrees()


def test_a_hold_that_the_task_expires_leaves_nothing_of_what_was_written_off(refunded):
    refunded.pass_time(days=-2)
    refunded.holds(200, "work")
    refunded.is_refunded(refunded.charge)

    tasks.credits.expire_holds()

    assert refunded.left() == []


def test_a_release_by_the_task_leaves_nothing_of_what_was_written_off(refunded):
    refunded.holds(200, "work")
    refunded.is_refunded(refunded.charge)

    tasks.credits.apply_one(Release(refunded.ids["acme"], "work"))

    assert refunded.left() == []
