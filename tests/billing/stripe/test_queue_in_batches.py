"""Messages about Stripe's events taken along in sets: none is lost, and Celery keeps its own."""

import json

import pytest
from sqlalchemy import text

from billing.stripe import events, inbox
from billing_client.messages import ApplyStripeEvent
from flows.stripe import batch as stripe_batch
from flows.stripe import receive as stripe_receive
from tests.billing.stripe.door import body_of, webhook
from tests.billing.stripe.writing import MONTH_S, Shop
from tests.worker.conftest import is_idle, start, wait_until  # noqa: F401 - a fixture
from tests.worker.rawmessages import every_poison, message, raw
from worker import clock
from worker.database import engine, transaction
from worker.transport import queues


@pytest.fixture
def shop(door, ledger, redis_client):
    """The shop of one account, whose plan's price is known."""
    ledger.open_account("acme", status="trial", stripe_customer_id="cus_1")
    shop = Shop(now=int(ledger.now.timestamp()))
    door.post(shop.event("price.created", shop.price()))
    return shop


def paid(shop, number) -> dict:
    line = shop.line(shop.price(), start=shop.now, end=shop.now + MONTH_S)
    fields = {"id": f"in_{number}", "subscription": "sub_1", "amount_paid": 8900}
    invoice = shop.invoice([line], status="paid") | fields
    return shop.event("invoice.paid", invoice, id=f"evt_{number}")


def queued(payload) -> bytes:
    """The message of a webhook, as it lies in Redis."""
    return raw(message("stripe.receive", "stripe", **webhook(body_of(payload)).arguments()))


def first(shop) -> stripe_batch.StripeMessage:
    """What Celery has handed over."""
    return webhook(body_of(paid(shop, 0)))


def waiting(redis_client) -> list[bytes]:
    """What lies in the queue, the next one first."""
    return redis_client.lrange("stripe", 0, -1)[::-1]


def test_a_task_takes_along_what_waits_and_acknowledges_it(shop, ledger, redis_client):
    redis_client.lpush("stripe", *[queued(paid(shop, number)) for number in range(1, 40)])

    outcomes = stripe_batch.work(first(shop))

    assert [each.state for each in outcomes] == ["applied"] * 40
    assert ledger.see("acme").credits == 40 * 1000
    assert is_idle(redis_client)


def test_a_set_is_no_larger_than_the_settings_say(shop, configure, redis_client, monkeypatch):
    monkeypatch.setenv("BILLING_STRIPE_BATCH_SIZE", "30")
    stripe_batch.settings.cache_clear()
    redis_client.lpush("stripe", *[queued(paid(shop, number)) for number in range(1, 40)])

    assert len(stripe_batch.work(first(shop))) == 30
    assert len(waiting(redis_client)) == 10


def test_a_set_of_large_bodies_ends_before_it_fills_the_memory(shop, redis_client, monkeypatch):
    monkeypatch.setattr(stripe_batch, "MOST_BYTES", 10_000)
    redis_client.lpush("stripe", *[queued(paid(shop, number)) for number in range(1, 90)])

    assert len(stripe_batch.work(first(shop))) == 1 + stripe_batch.AT_ONCE


def test_doorbells_of_the_relay_are_taken_along(shop, ledger, redis_client):
    event = events.of_payload(paid(shop, 1))
    now = clock.now()
    with transaction() as ctx:
        number = inbox.store(ctx.at(now), event, source="webhook", received_at=now)
    redis_client.lpush("stripe", raw(message("stripe.apply", "stripe", number=number)))

    states = [each.state for each in stripe_batch.work(first(shop))]

    assert states == ["applied", "applied"]
    assert ledger.see("acme").credits == 2000
    assert is_idle(redis_client)


def test_a_bell_that_takes_webhooks_along_keeps_and_applies_them(shop, ledger, redis_client):
    redis_client.lpush("stripe", queued(paid(shop, 1)))

    states = [each.state for each in stripe_batch.work(ApplyStripeEvent(999))]

    assert sorted(states) == ["applied", "done or locked"]
    assert ledger.see("acme").credits == 1000


@every_poison
def test_what_is_no_message_of_an_event_is_left_to_celery(shop, ledger, redis_client, poison):
    good = json.loads(queued(paid(shop, 1)))
    bad = poison(good)
    redis_client.lpush("stripe", bad, queued(paid(shop, 2)))

    stripe_batch.work(first(shop))

    # The script that pops sets aside at once what it can't read itself.
    set_aside = redis_client.lrange(queues.QUARANTINE, 0, -1)
    assert waiting(redis_client) + set_aside == [bad]
    assert queues.in_hand(redis_client) == 0
    assert ledger.see("acme").credits == 2 * 1000


@pytest.mark.parametrize(
    ("task", "arguments"),
    [
        pytest.param("stripe.receive", {"payload": "{}"}, id="arguments are missing"),
        pytest.param("stripe.apply", {"number": "one"}, id="a number in words"),
        pytest.param("credits.seed_account", {"account_id": 1}, id="another task"),
    ],
)
def test_a_message_that_is_wrong_is_left_to_celery_which_keeps_it(
    shop, redis_client, task, arguments
):
    wrong = raw(message(task, "stripe", **arguments))
    redis_client.lpush("stripe", wrong)

    stripe_batch.work(first(shop))

    assert waiting(redis_client) == [wrong]


def test_on_an_error_what_was_taken_along_is_put_back_in_its_order(
    shop, ledger, redis_client, monkeypatch
):
    messages = [queued(paid(shop, number)) for number in range(1, 20)]
    redis_client.lpush("stripe", *messages)
    monkeypatch.setattr(stripe_receive, "receive", _dies)

    with pytest.raises(KeyboardInterrupt):
        stripe_batch.work(first(shop))

    assert waiting(redis_client) == messages
    assert queues.in_hand(redis_client) == 0
    assert ledger.see("acme").credits == 0


def _dies(*_):
    raise KeyboardInterrupt


def test_what_was_committed_and_not_acknowledged_comes_again_and_does_nothing_more(
    shop, ledger, redis_client, monkeypatch
):
    one, other = [webhook(body_of(paid(shop, number))) for number in (1, 2)]
    again = raw(message("stripe.receive", "stripe", **other.arguments()))
    redis_client.lpush("stripe", again)
    stripe_batch.work(one)
    redis_client.lpush("stripe", again)

    states = [each.state for each in stripe_batch.work(one)]

    assert states == ["seen before", "seen before"]
    assert ledger.see("acme").credits == 2000


def test_a_kill_9_between_the_taking_of_a_set_and_its_commit_loses_nothing(
    shop,
    ledger,
    redis_client,
    start,  # noqa: F811
):
    redis_client.lpush("stripe", *[queued(paid(shop, number)) for number in range(20)])
    with engine().connect() as connection, connection.begin():
        connection.execute(text("LOCK TABLE billing.stripe_events IN ACCESS EXCLUSIVE MODE"))
        victim = start("victim", "-Q", "stripe", "--concurrency", "1")
        wait_until(lambda: queues.in_hand(redis_client) == 20)
        victim.kill_9()

    start("heir", "-Q", "stripe", "--concurrency", "1")

    wait_until(lambda: ledger.see("acme").credits == 20 * 1000 and is_idle(redis_client))
    assert ledger.audit().agrees
