"""Webhooks through the broker and real workers: each is applied once, whoever dies meanwhile."""

import json
import threading
from collections import Counter
from contextlib import contextmanager, suppress

import pytest
from sqlalchemy import func, select

from billing.stripe import events, inbox
from billing.stripe.signature import sign
from flows.stripe import apply as stripe_apply
from models.host import CreditTransaction
from models.operations import DeadLetter
from models.stripe import StripeEvent
from tests.billing.stripe.door import SECRET, body_of, receive_one, webhook
from tests.billing.stripe.writing import MONTH_S, Shop
from tests.worker.conftest import client, is_idle, start, wait_until  # noqa: F401 - fixtures
from tests.worker.rawmessages import message, raw
from web import relay
from worker import clock
from worker.app import app
from worker.database import transaction

ACCOUNTS, INVOICES = 10, 20
CREDITS = 1000
TAKES = ("-Q", "stripe", "--concurrency", "2")


@pytest.fixture
def shops(configure, ledger, redis_client):
    """A shop for each of ten accounts, at the workers' own time; the settings are theirs, too."""
    configure(BILLING_STRIPE_WEBHOOK_SECRETS=SECRET)
    ledger.now = clock.now()
    shops = []
    for number in range(ACCOUNTS):
        customer = f"cus_{number}"
        ledger.open_account(f"acme-{number}", status="trial", stripe_customer_id=customer)
        shops.append(Shop(now=int(ledger.now.timestamp()), customer=customer))
    return shops


def paid(shop, name) -> dict:
    line = shop.line(shop.price(), start=shop.now, end=shop.now + MONTH_S)
    fields = {"id": f"in_{shop.customer}_{name}", "subscription": f"sub_{shop.customer}"}
    invoice = shop.invoice([line], status="paid", amount_paid=8900) | fields
    return shop.event("invoice.paid", invoice, id=f"evt_{shop.customer}_{name}")


def states() -> Counter:
    with transaction() as ctx:
        rows = select(StripeEvent.state, func.count()).group_by(StripeEvent.state)
        return Counter(dict(ctx.session.execute(rows).all()))


def grants() -> int:
    with transaction() as ctx:
        rows = select(func.count()).where(CreditTransaction.type == "grant")
        return ctx.session.execute(rows).scalar_one()


@contextmanager
def watched(connection):
    """What Flower is told of the ends of tasks, as (event, task's name) where it is known."""
    ended, names = [], {}
    hears = threading.Event()

    def note(event):
        names[event["uuid"]] = event.get("name", names.get(event["uuid"]))
        if event["type"] in ("task-succeeded", "task-failed"):
            ended.append((event["type"], names[event["uuid"]]))

    kinds = ("task-received", "task-succeeded", "task-failed")
    handlers = {**dict.fromkeys(kinds, note), "worker-heartbeat": lambda _: hears.set()}
    receiver = app.events.Receiver(connection, handlers=handlers)

    def watch():
        with suppress(TimeoutError):
            receiver.capture(limit=None, timeout=60, wakeup=False)

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    assert hears.wait(20), "no worker sends a heartbeat"
    try:
        yield ended
    finally:
        receiver.should_stop = True
        thread.join(25)


def test_an_event_goes_from_the_client_through_the_broker_into_the_books(
    ledger,
    shops,
    client,  # noqa: F811
    redis_client,
    start,  # noqa: F811
):
    start("stripe", *TAKES)
    body = body_of(paid(shops[0], 1))

    client.stripe_event(body, sign(body, secret=SECRET, at=clock.now()))

    wait_until(lambda: states()["applied"] == 1 and is_idle(redis_client))
    assert ledger.see("acme-0").credits == CREDITS


def test_a_single_webhook_ends_in_success_and_one_line_and_is_no_dead_letter(
    ledger,
    shops,
    client,  # noqa: F811
    redis_client,
    start,  # noqa: F811
):
    """Its answer has a field `event`, which was once taken for the logger's own."""
    worker = start("stripe", *TAKES, "--task-events", BILLING_LOG_FORMAT="json")
    body = body_of(paid(shops[0], 1))
    with app.connection_for_read() as connection, watched(connection) as ended:
        client.stripe_event(body, sign(body, secret=SECRET, at=clock.now()))
        wait_until(lambda: ended)

    assert [kind for kind, _ in ended] == ["task-succeeded"]
    lines = [json.loads(line) for line in worker.log.splitlines() if '"task_done"' in line]
    assert [(line["task"], line["answer"]["state"]) for line in lines] == [
        ("stripe.receive", "applied")
    ]
    with transaction() as ctx:
        assert ctx.session.scalars(select(DeadLetter)).all() == []


def test_an_announced_checkout_ends_in_success_and_its_payment_is_given(
    ledger,
    client,  # noqa: F811
    redis_client,
    start,  # noqa: F811
):
    account_id = ledger.open_account("acme", status="active", plan=None)
    shop = Shop(now=int(clock.now().timestamp()), customer=None)
    shop.buys(credits=500)
    session = shop.events[-1]["data"]["object"]["id"]
    with transaction() as ctx:
        event = events.of_payload(shop.events[-1])
        number = inbox.store(ctx, event, source="webhook", received_at=ctx.now)
    before = stripe_apply.apply(number)
    worker = start("credits", "-Q", "credits", "--concurrency", "1", BILLING_LOG_FORMAT="json")

    client.announce_checkout(account_id, session)
    wait_until(lambda: '"task_done"' in worker.log and is_idle(redis_client))

    (line,) = [json.loads(line) for line in worker.log.splitlines() if '"task_done"' in line]
    assert before.reason == "UnknownPayment"
    assert (line["task"], line["answer"]) == ("stripe.announce_checkout", {"events": 1})
    assert stripe_apply.apply(number).state == "applied"
    assert ledger.see("acme").credits == 500


def test_an_event_goes_from_the_relay_through_the_inbox_into_the_books(
    ledger,
    shops,
    redis_client,
    start,  # noqa: F811
):
    start("stripe", *TAKES)
    body = body_of(paid(shops[0], 1))
    signature = sign(body, secret=SECRET, at=clock.now())
    store = relay.Webhook(body, signature, clock.now(), relay.events.parse(body))

    relay.into_inbox(store)

    wait_until(lambda: states()["applied"] == 1 and is_idle(redis_client))
    assert ledger.see("acme-0").credits == CREDITS


def test_a_kill_9_among_200_events_loses_none_and_applies_none_twice(
    ledger,
    shops,
    redis_client,
    start,  # noqa: F811
):
    bodies = [body_of(paid(shop, n)) for n in range(INVOICES) for shop in shops]
    raws = [
        raw(message("stripe.receive", "stripe", **webhook(body).arguments())) for body in bodies
    ]
    redis_client.lpush("stripe", *raws, *raws[::10])
    # Small sets, or two of them would be all.
    first = start("first", *TAKES, BILLING_STRIPE_BATCH_SIZE="5")
    wait_until(lambda: 20 < states()["applied"] < 200)

    first.kill_9()
    assert states()["applied"] < 200
    start("second", *TAKES)
    start("third", *TAKES)

    wait_until(lambda: is_idle(redis_client))
    # What was received and not finished when the worker died, the sweep takes up later.
    for number in unfinished():
        stripe_apply.apply(number)
    assert states() == {"applied": 200}
    assert grants() == 200
    assert ledger.audit().agrees


def unfinished() -> list[int]:
    with transaction() as ctx:
        return list(
            ctx.session.scalars(select(StripeEvent.id).where(StripeEvent.state == "received"))
        )


def test_the_same_events_by_eight_threads_are_applied_once(ledger, shops):
    bodies = [body_of(paid(shop, n)) for n in range(2) for shop in shops]
    hooks = [webhook(body) for body in bodies]
    broken = []

    def deliver(offset):
        try:
            for hook in hooks[offset:] + hooks[:offset]:
                receive_one(hook)
        except Exception as error:
            broken.append(error)

    threads = [threading.Thread(target=deliver, args=(n * 2,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert broken == []
    assert states() == {"applied": 20}
    assert grants() == 20
    assert {ledger.see(f"acme-{n}").credits for n in range(ACCOUNTS)} == {2 * CREDITS}
    assert ledger.audit().agrees


def test_all_events_of_one_account_at_once_wait_for_each_other_and_agree(ledger, shops):
    shop = shops[0]
    bodies = [body_of(paid(shop, n)) for n in range(16)]
    threads = [threading.Thread(target=receive_one, args=(webhook(body),)) for body in bodies]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert states() == {"applied": 16}
    assert ledger.see("acme-0").credits == 16 * CREDITS
    assert ledger.audit().agrees
