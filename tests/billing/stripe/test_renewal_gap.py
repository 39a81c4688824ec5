"""Between a period's start and the payment of its invoice a customer can spend a part of the month."""

import pytest

from billing.purchases import bridge
from billing.usage import holds, post
from billing_client import Capture, PlaceHold
from tests.billing.stripe.writing import HOUR_S, seconds
from worker.database import transaction

MARCH, APRIL, MAY = seconds(2026, 3, 1), seconds(2026, 4, 1), seconds(2026, 5, 1)


@pytest.fixture
def shop(stripe, ledger):
    """A shop whose customer has paid for March; it is midnight of the first of April."""
    ledger.open_account("acme", status="active", plan="starter")
    shop = stripe.shop("acme")
    shop.event(
        "customer.subscription.created", shop.subscription(shop.price(), start=MARCH, end=APRIL)
    )
    shop.pays(shop.bills(shop.price(), start=MARCH, end=APRIL))
    stripe.deliver(*shop.events)
    shop.events.clear()
    ledger.go_to(2026, 4, 1, 0)
    ledger.sweep()
    shop.now = APRIL
    return shop


@pytest.fixture
def renews(stripe, shop):
    """The period moves, and its invoice is a draft; returns the draft."""

    def renews(**changed):
        line = shop.line(shop.price(), start=APRIL, end=MAY)
        invoice = shop.invoice([line], subscription="sub_1")
        shop.event("invoice.created", invoice)
        state = shop.subscription(
            shop.price(), start=APRIL, end=MAY, latest_invoice=invoice["id"], **changed
        )
        shop.event("customer.subscription.updated", state)
        stripe.deliver(*shop.events)
        shop.events.clear()
        return invoice

    return renews


def half_an_hour_later(ledger, shop):
    ledger.pass_time(minutes=30)
    shop.now += HOUR_S // 2


def test_a_debit_between_the_periods_start_and_the_payment_is_taken(ledger, shop, renews):
    renews()
    half_an_hour_later(ledger, shop)

    answer = ledger.debit("acme", "image_generation", key="early", units=20)

    assert (answer.outcome, ledger.lots("acme")) == ("taken", {"bridge": 150})


def test_the_payment_gives_the_rest_of_the_month(stripe, ledger, shop, renews):
    invoice = renews()
    half_an_hour_later(ledger, shop)
    ledger.debit("acme", "image_generation", key="early", units=20)

    half_an_hour_later(ledger, shop)
    shop.pays(invoice)
    stripe.deliver(*shop.events)

    assert ledger.lots("acme") == {"plan": 900}
    assert ledger.see("acme").credits == 900
    assert ledger.audit().agrees


def test_a_hold_on_the_bridge_is_captured_after_the_payment(stripe, ledger, shop, renews):
    invoice = renews()
    with transaction() as ctx:
        at = ctx.at(ledger.now)
        holds.place(at, PlaceHold(ledger.ids["acme"], "image_generation", "hold", units=20))
    shop.pays(invoice)
    stripe.deliver(*shop.events)

    with transaction() as ctx:
        post.apply(ctx.at(ledger.now), [Capture(ledger.ids["acme"], "hold", units=20)])

    assert ledger.lots("acme") == {"plan": 900}
    assert ledger.audit().agrees


@pytest.mark.parametrize("spent", [0, 20], ids=["nothing is spent", "a part is spent"])
def test_the_bridge_ends_when_the_payment_fails(stripe, ledger, shop, renews, spent):
    invoice = renews()
    if spent:
        ledger.debit("acme", "image_generation", key="early", units=spent)
    shop.now += HOUR_S
    ledger.pass_time(hours=1)
    invoice |= {"status": "open", "attempt_count": 1, "next_payment_attempt": MAY}
    shop.event("invoice.payment_failed", invoice)
    stripe.deliver(*shop.events)
    failed = ledger.lots("acme")
    shop.events.clear()

    shop.now += HOUR_S
    shop.pays(invoice)
    stripe.deliver(*shop.events)

    assert failed == {}
    assert ledger.see("acme").credits == 1000 - 5 * spent
    assert ledger.audit().agrees


def test_a_bridge_that_nobody_ends_expires(ledger, shop, renews):
    renews()

    ledger.pass_time(hours=73)
    ledger.sweep()

    assert ledger.see("acme").credits == 0


def test_a_period_has_one_bridge_however_often_its_state_comes(stripe, ledger, shop, renews):
    renews()
    for _ in range(3):
        shop.now += 60
        renews()

    assert ledger.see("acme").credits == 250


def test_a_period_whose_payment_is_known_needs_no_bridge(stripe, ledger, shop, renews):
    shop.pays(shop.bills(shop.price(), start=APRIL, end=MAY))
    renews()

    assert ledger.lots("acme") == {"plan": 1000}


def test_a_first_period_has_no_bridge(stripe, ledger):
    ledger.open_account("new", status="trial", plan="starter")
    shop = stripe.shop("new", customer="cus_new")
    start = shop.now - 60
    state = shop.subscription(shop.price(), start=start, end=start + 30 * 86_400)

    stripe.deliver(shop.event("customer.subscription.created", state))

    assert ledger.see("new").credits == 0


def test_the_end_of_a_trial_at_stripe_has_a_bridge(stripe, ledger):
    ledger.open_account("new", status="trial", plan="starter")
    shop = stripe.shop("new", customer="cus_new")
    start = shop.now - 60
    state = shop.subscription(shop.price(), start=start, end=start + 30 * 86_400, trial_end=start)

    stripe.deliver(shop.event("customer.subscription.updated", state))

    assert ledger.lots("new") == {"bridge": 250}


@pytest.mark.parametrize("status", ["past_due", "unpaid", "canceled", "paused"])
def test_who_does_not_pay_has_no_bridge(ledger, shop, renews, status):
    renews(status=status)

    assert ledger.see("acme").credits == 0


def test_the_bridges_size_is_a_setting(ledger, shop, renews, configure):
    configure(BILLING_RENEWAL_BRIDGE_PERCENT="0")
    renews()

    assert ledger.see("acme").credits == 0


def test_usage_on_top_of_a_plan_does_not_multiply_its_bridge(ledger, shop, renews):
    usage = shop.price()
    usage |= {"id": "price_usage", "recurring": {"interval": "month", "usage_type": "metered"}}
    items = [{"id": "si_1", "price": shop.price(), "quantity": 1}, {"id": "si_2", "price": usage}]

    renews(items={"object": "list", "data": items})

    assert ledger.lots("acme") == {"bridge": 250}


@pytest.mark.parametrize(
    "statement",
    [bridge._LOTS, f"SELECT {bridge.ENTRY_OF_PURCHASE} FROM billing.purchases WHERE id = 1"],
    ids=["from its entry to its lot", "from its purchase to its entry"],
)
def test_a_bridge_is_found_by_keys_however_many_lots_there_are(ledger, statement):
    with transaction() as ctx:
        connection = ctx.session.connection()
        connection.exec_driver_sql("SET LOCAL enable_seqscan = off")
        values = {"ids": [1], "source": bridge.SOURCE}
        plan = connection.exec_driver_sql(f"EXPLAIN {statement}", values).scalars().all()

    assert not [line for line in plan if "Seq Scan" in line], plan
