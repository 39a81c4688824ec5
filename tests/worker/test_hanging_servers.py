"""Servers that hang without closing anything are noticed in seconds, and work goes on when they are back."""

import contextlib
import json
import os
from urllib.parse import urlparse

import pytest
import sqlalchemy as sa
from kombu.exceptions import OperationalError
from sqlalchemy.exc import DBAPIError

from billing.stripe import events
from billing_client import BillingClient
from tests import stripe_objects as objects
from tests.hanging_proxy import HangingProxy
from tests.worker.conftest import wait_until
from tests.worker.test_preflight import forget
from web import relay
from worker import clock
from worker.app import app
from worker.database import engine, transaction
from worker.debits import reader as debit_reader
from worker.debits.reader import DebitReader
from worker.transport import queues


@pytest.fixture
def proxies(database, redis_client, monkeypatch):
    """Proxies before Postgres and Redis, which this process and its children use."""
    with contextlib.ExitStack() as stack:
        made = []
        for name in ("DATABASE_URL", "REDIS_URL"):
            url = urlparse(os.environ[name])
            proxy = stack.enter_context(HangingProxy(url.hostname, url.port))
            here = os.environ[name].replace(f"{url.hostname}:{url.port}", f"127.0.0.1:{proxy.port}")
            monkeypatch.setenv(name, here)
            made.append(proxy)
        forget()
        relay._client.cache_clear()
        yield made
        for proxy in made:
            proxy.resume()
        monkeypatch.undo()
        forget()
        relay._client.cache_clear()


def run(statement):
    with transaction() as ctx:
        return ctx.session.execute(sa.text(statement)).scalar()


def test_a_statement_whose_answer_was_lost_ends_and_the_next_one_works(proxies):
    """It waited until TCP gave up, a quarter of an hour later."""
    run("SELECT 1")
    proxies[0].lose()

    with engine().connect() as connection, pytest.raises(DBAPIError):
        proxies[0].lose()
        connection.execute(sa.text("SELECT 1"))

    assert run("SELECT 2") == 2


def test_a_statement_that_postgres_is_at_work_for_may_take_its_time(proxies):
    assert run("SELECT pg_sleep(4)") == ""


def test_the_client_gives_up_on_a_redis_that_hangs(proxies):
    """`ring` blocked a web request for ten seconds."""
    client = BillingClient(os.environ["REDIS_URL"])
    client.ring()
    proxies[1].hang()

    with pytest.raises(OperationalError):
        client.ring()


def test_a_reader_says_that_it_is_not_ready_and_goes_on_when_the_servers_are_back(
    ledger, proxies, monkeypatch
):
    monkeypatch.setattr(debit_reader, "NOT_READY_AFTER_S", 2.0)
    app.loader.import_default_modules()
    acme = ledger.open_account("acme", credits=100)
    reader = DebitReader(app, "debits@test")
    reader.start()
    client = BillingClient(os.environ["REDIS_URL"])
    for proxy in proxies:
        wait_until(lambda: reader.is_ready)
        proxy.hang()
        if proxy is proxies[0]:
            client.debit(acme, "image_prompt_extraction", key="while Postgres hangs")
        wait_until(lambda: not reader.is_ready)
        proxy.resume()

    client.debit(acme, "image_prompt_extraction", key="after both")
    wait_until(lambda: ledger.see("acme").credits == 96)
    reader.stop()


def test_the_relay_keeps_webhooks_in_the_other_store_and_asks_a_hanging_one_last(ledger, proxies):
    """All of its threads hung for 45 seconds, and so did its health check."""
    app_of_relay = relay.Relay()

    def post(number):
        body = json.dumps(objects.event(id=f"evt_{number}")).encode()
        hook = relay.Webhook(body, "t=1", clock.now(), events.parse(body))
        return app_of_relay._kept(hook).status

    run("SELECT 1")
    proxies[0].hang()

    assert [post(n) for n in range(3)] == [200] * 3

    assert queues.depth(queues.connection(), "stripe") == 3
    proxies[0].resume()
    proxies[1].hang()
    for _, rest in app_of_relay._stores:
        rest.end()
    assert post("in_postgres") == 200
    assert run("SELECT count(*) FROM billing.stripe_events") == 1
