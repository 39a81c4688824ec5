"""Whatever the order in which a life's events come, and however often, the books end the same."""

import random

import pytest

from tests.billing.stripe.story import Stripe
from tests.billing.stripe.writing import Shop, seconds
from tests.conftest import empty_database
from tests.seeds import seeds
from tests.story import Ledger

MARCH, APRIL, MAY, JUNE = [seconds(2026, month, 1) for month in (3, 4, 5, 6)]


def begins(shop, price) -> dict:
    """Checkout, a trial's invoice of nothing, and the first paid period."""
    shop.event("customer.created", {"id": shop.customer, "object": "customer", "metadata": {}})
    subscription = shop.subscription(price, start=MARCH - 86_400 * 14, end=MARCH, status="trialing")
    shop.event("customer.subscription.created", subscription)
    trial = [shop.line(price, start=MARCH - 86_400 * 14, end=MARCH, amount=0)]
    shop.event("invoice.paid", shop.invoice(trial, subscription="sub_1", status="paid"))
    return subscription


def goes_on(shop, subscription, price, start, end, *, step) -> dict:
    """A period: billed, paid; returns the charge."""
    shop.now += step
    invoice = shop.bills(price, start=start, end=end)
    period = {"current_period_start": start, "current_period_end": end}
    inner = subscription["items"]["data"][0] if shop.basil else subscription
    inner.update(period)
    subscription |= {"status": "active", "latest_invoice": invoice["id"]}
    shop.event("customer.subscription.updated", subscription)
    shop.now += step
    return shop.pays(invoice)


def fails_and_recovers(shop, subscription, price, start, end, *, step) -> dict:
    """A period whose payment fails first; returns the charge."""
    shop.now += step
    invoice = shop.bills(price, start=start, end=end)
    inner = subscription["items"]["data"][0] if shop.basil else subscription
    inner.update({"current_period_start": start, "current_period_end": end})
    subscription |= {"status": "active", "latest_invoice": invoice["id"]}
    shop.event("customer.subscription.updated", subscription)
    shop.now += step
    invoice |= {"attempt_count": 1, "next_payment_attempt": end}
    failed = shop.charge(8900, invoice=invoice["id"], status="failed", failure_code="card_declined")
    shop.event("charge.failed", failed)
    shop.event("invoice.payment_failed", invoice)
    shop.event("customer.subscription.updated", subscription | {"status": "past_due"})
    shop.now += step
    charge = shop.pays(invoice)
    shop.event("customer.subscription.updated", subscription)
    return charge


def a_life(*, basil, step, ending) -> Shop:
    shop = Shop(now=MARCH, account_id=1, basil=basil)
    price = shop.price()
    shop.event("product.created", {"id": price["product"], "object": "product", "metadata": {}})
    shop.event("price.created", price)
    subscription = begins(shop, price)
    first = goes_on(shop, subscription, price, MARCH, APRIL, step=step)
    second = fails_and_recovers(shop, subscription, price, APRIL, MAY, step=step)
    shop.now += step
    shop.refunds(second, 4450)
    if ending == "a lost dispute":
        dispute = shop.opens_dispute(first)
        shop.now += step
        shop.closes_dispute(dispute, "lost")
    if ending == "a won dispute":
        dispute = shop.opens_dispute(second, amount=4000)
        shop.now += step
        shop.closes_dispute(dispute, "won")
    if ending == "an open dispute":
        shop.opens_dispute(second, amount=4000)
    if ending == "a dispute over what was refunded":
        shop.opens_dispute(second)
    shop.now += step
    if ending == "the end":
        ended = subscription | {"status": "canceled", "ended_at": shop.now}
        shop.event("customer.subscription.deleted", ended)
    return shop


def a_life_of_top_ups(*, basil, step, ending) -> Shop:
    """Top-ups by Checkout, one of them with an invoice, and one by an intent alone."""
    shop = Shop(now=APRIL, basil=basil)
    shop.event("customer.created", {"id": shop.customer, "object": "customer", "metadata": {}})
    first = shop.buys(credits=500)
    shop.now += step
    second = shop.buys(credits=300, invoiced=True)
    shop.now += step
    shop.buys(0, credits=20, payment_status="no_payment_required")
    intent = shop.intent(
        1000,
        metadata={"credits": "70"},
        payment_details={"order_reference": "ORDER-1234"},
        latest_charge="ch_alone",
    )
    third = shop.charge(1000, intent=intent["id"], id="ch_alone")
    shop.event("payment_intent.succeeded", intent)
    shop.event("charge.succeeded", third)
    shop.now += step
    shop.refunds(first, 1250)
    shop.refunds(third, 1000)
    if ending != "going on":
        dispute = shop.opens_dispute(second)
        shop.now += step
        if ending != "an open dispute":
            shop.closes_dispute(dispute, ending)
    return shop


def told(events, **account) -> dict:
    """What the books say once these events have come, in April."""
    empty_database()
    ledger = Ledger()
    ledger.go_to(2026, 4, 20)
    ledger.open_account("acme", status="trial", plan="starter", id=1, **account)
    stripe = Stripe(ledger)
    stripe.deliver(*events)
    ledger.pass_time(hours=7)
    stripe.sweep()
    ledger.sweep()
    return stripe.end_state("acme")


ENDINGS = (
    "going on",
    "a lost dispute",
    "a won dispute",
    "an open dispute",
    "a dispute over what was refunded",
    "the end",
)


def shuffled(events, seed) -> list[dict]:
    """Each event one to three times, in any order."""
    chance = random.Random(seed)
    several = [event for event in events for _ in range(chance.randint(1, 3))]
    chance.shuffle(several)
    return several


@pytest.mark.parametrize(
    ("ending", "basil", "step"),
    [
        pytest.param(ending, basil, step, id=f"{ending}, {'since' if basil else 'before'} basil")
        for at, ending in enumerate(ENDINGS)
        for basil, step in ((at % 2 == 0, 0), (at % 2 == 1, 3600))
    ],
)
def test_any_order_and_any_number_of_deliveries_end_in_the_same_books(
    database, ending, basil, step
):
    events = a_life(basil=basil, step=step, ending=ending).events
    in_order = told(events)
    assert in_order["audit"] == {name: [] for name in in_order["audit"]}

    for _ in range(2):
        seed = random.randrange(2**32)
        assert told(shuffled(events, seed)) == in_order, seed


@pytest.mark.parametrize("ending", ["going on", "an open dispute", "lost", "won"])
@pytest.mark.parametrize("basil", [True, False], ids=["since basil", "before basil"])
def test_top_ups_in_any_order_end_in_the_same_books(database, ending, basil):
    events = a_life_of_top_ups(basil=basil, step=60 if basil else 0, ending=ending).events
    in_order = told(events, stripe_customer_id="cus_1")
    assert in_order["audit"] == {name: [] for name in in_order["audit"]}
    left = 250 + 20 + (0 if ending == "lost" else 300)
    assert in_order["credits"] == left

    seed = random.randrange(2**32)
    assert told(shuffled(events, seed), stripe_customer_id="cus_1") == in_order, seed


@pytest.mark.long
@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize("step", [3600, 0], ids=["in time", "all in one second"])
@pytest.mark.parametrize("basil", [False, True], ids=["before basil", "since basil"])
def test_a_hundred_orders_end_in_the_same_books(database, ending, basil, step):
    events = a_life(basil=basil, step=step, ending=ending).events
    in_order = told(events)

    for seed in seeds(100):
        assert told(shuffled(events, seed)) == in_order, seed
