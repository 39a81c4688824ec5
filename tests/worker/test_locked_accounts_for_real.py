"""A hundred accounts that the app keeps locked hold up nobody else's tasks, in a real worker."""

import contextlib
import os

import pytest
import sqlalchemy as sa

from billing.operations import dead_letters
from billing_client import BillingClient
from tests.worker.conftest import is_idle, wait_until
from worker.database import engine, transaction
from worker.transport import queues

#: More than the retries that one worker keeps in its memory.
COUNT = 101


@pytest.fixture
def app_holding():
    """The main app keeps the rows of these accounts in a long transaction."""

    @contextlib.contextmanager
    def holding(account_ids):
        with engine().connect() as app_at_work:
            lock = "SELECT 1 FROM igny8_tenants WHERE id = ANY(:ids) FOR UPDATE"
            app_at_work.execute(sa.text(lock), {"ids": account_ids})
            yield

    return holding


def test_the_grants_of_a_hundred_locked_accounts_hold_up_no_other_and_are_given_later(
    ledger, redis_client, start, app_holding
):
    """Each held a process for ten seconds; and a hundred waiting retries kept every message out."""
    client = BillingClient(os.environ["REDIS_URL"])
    locked = [ledger.open_account(f"locked-{n}") for n in range(COUNT)]
    ledger.open_account("free")
    with app_holding(locked):
        worker = start("general", "-Q", "credits,maintenance", "--concurrency", "1")
        for account in locked:
            client.grant(account, 5, "goodwill", key=f"grant:{account}")
        wait_until(lambda: worker.log.count("task_delayed") >= COUNT)
        client.grant(ledger.ids["free"], 7, "goodwill", key="free")

        wait_until(lambda: ledger.see("free").credits == 7)
        assert queues.depth(redis_client, "credits") + queues.in_hand(redis_client) == COUNT

    wait_until(lambda: is_idle(redis_client))
    with engine().connect() as connection:
        given = connection.execute(sa.text("SELECT sum(credits) FROM igny8_tenants")).scalar()
    assert given == 5 * COUNT + 7
    with transaction() as ctx:
        assert not dead_letters.list_open(ctx.session, limit=9)
