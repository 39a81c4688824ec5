"""Which of an account's subscriptions counts, and when a payment or a person outweighs it."""

import itertools

import pytest

from tests.billing.stripe.writing import seconds

MARCH, APRIL, MAY = seconds(2026, 3, 1), seconds(2026, 4, 1), seconds(2026, 5, 1)


@pytest.fixture
def shop(stripe, ledger):
    ledger.open_account("acme", status="trial", plan="free")
    ledger.plan("starter")
    ledger.plan("growth", included_credits=2000)
    return stripe.shop("acme")


@pytest.fixture
def subscribe(stripe, shop):
    """Delivers a state of the subscription `sub_1`, a minute after the last."""

    def subscribe(status, *, plan="starter", what="updated", **changed):
        shop.now += 60
        price = shop.price(plan)
        state = shop.subscription(price, start=MARCH, end=APRIL, status=status, **changed)
        return stripe.deliver(shop.event(f"customer.subscription.{what}", state))[0]

    return subscribe


@pytest.fixture
def pays(stripe, shop):
    """A month of this subscription is paid."""

    def pays(subscription="sub_1", **changed):
        shop.now += 60
        shop.events.clear()
        bill = shop.bills(shop.price(), start=MARCH, end=APRIL, subscription=subscription)
        shop.pays(bill | changed)
        stripe.deliver(*shop.events)

    return pays


#: The best first; "quantum" is a status that Stripe has added since.
STANDINGS = (
    "active", "past_due", "trialing", "incomplete", "paused", "unpaid", "quantum", "canceled"
)  # fmt: skip


@pytest.mark.parametrize(("better", "worse"), list(itertools.pairwise(STANDINGS)))
def test_the_subscription_of_better_standing_counts_although_the_other_is_newer(
    stripe, subscribe, better, worse
):
    subscribe(better, id="sub_old", created=MARCH)
    subscribe(worse, id="sub_new", created=APRIL)

    assert stripe.subscription("acme").stripe_subscription_id == "sub_old"
    assert stripe.subscription("acme").status == better


@pytest.mark.parametrize("order", [("sub_1", "sub_2"), ("sub_2", "sub_1")], ids=" ".join)
@pytest.mark.parametrize("created", [APRIL, MARCH], ids=["later", "in the same second"])
def test_of_two_that_stand_alike_the_newer_counts_in_any_order(
    stripe, ledger, subscribe, order, created
):
    states = {
        "sub_1": {"plan": "starter", "created": MARCH},
        "sub_2": {"plan": "growth", "created": created},
    }

    for name in order:
        subscribe("active", id=name, **states[name])

    assert stripe.subscription("acme").stripe_subscription_id == "sub_2"
    assert stripe.end_state("acme")["plan"] == ledger.plan("growth")


def test_a_subscription_without_a_period_is_shown_from_its_creation(stripe, subscribe):
    subscribe("active", created=MARCH - 9, current_period_start=None, current_period_end=None)

    shown = stripe.subscription("acme")
    assert shown.current_period_start.timestamp() == MARCH - 9
    assert shown.current_period_end.timestamp() == MARCH - 9


def test_the_plan_is_that_of_the_item_that_is_one(stripe, ledger, shop, subscribe):
    pack = shop.price("", credits="500") | {"type": "recurring", "recurring": {"interval": "month"}}
    items = [{"id": f"si_{price['id']}", "price": price} for price in (pack, shop.price("growth"))]

    subscribe("active", items={"data": items})

    assert stripe.end_state("acme")["plan"] == ledger.plan("growth")


# --- payments --------------------------------------------------------------------------------------


@pytest.mark.parametrize("state", ["incomplete", "trialing", "past_due", "unpaid", "active"])
def test_a_first_payment_lets_in_whatever_is_known_of_its_subscription(
    stripe, shop, subscribe, pays, state
):
    subscribe(state, latest_invoice="in_latest")

    pays(id="in_latest")

    assert stripe.status("acme") == "active"


def test_a_payment_for_a_subscription_not_sent_yet_lets_in_beside_an_unpaid_one(
    stripe, ledger, subscribe, pays
):
    ledger.set_host("acme", status="active")
    subscribe("unpaid", id="sub_old")
    before = stripe.status("acme")

    pays("sub_new")

    assert (before, stripe.status("acme")) == ("suspended payment_failed", "active")


def test_an_older_invoice_that_is_paid_does_not_let_in_while_the_newest_is_unpaid(
    stripe, ledger, subscribe, pays
):
    ledger.set_host("acme", status="active")
    subscribe("unpaid", latest_invoice="in_latest")

    pays(id="in_of_long_ago")

    assert stripe.status("acme") == "suspended payment_failed"


def test_a_late_payment_for_an_ended_subscription_leaves_the_trial_of_the_next_a_trial(
    stripe, subscribe, pays
):
    subscribe("canceled", what="deleted", id="sub_old", created=MARCH)
    subscribe("trialing", id="sub_new", created=APRIL, trial_end=MAY)

    pays("sub_old")

    assert stripe.status("acme") == "trial"


def test_a_failed_attempt_makes_an_active_subscription_past_due_and_a_first_draft_does_not(
    stripe, shop, subscribe
):
    shown = []
    for attempts in (0, 1):
        invoice = shop.bills(shop.price(), start=APRIL, end=MAY) | {
            "id": "in_latest",
            "attempt_count": attempts,
        }
        stripe.deliver(shop.event("invoice.updated", invoice))
        subscribe("active", latest_invoice="in_latest")
        shown.append(stripe.subscription("acme").status)

    assert shown == ["active", "past_due"]


@pytest.mark.parametrize("state", ["unpaid", "past_due"])
def test_a_failed_attempt_leaves_a_worse_status_as_it_is(stripe, shop, subscribe, state):
    invoice = shop.bills(shop.price(), start=APRIL, end=MAY)
    stripe.deliver(shop.event("invoice.payment_failed", invoice | {"attempt_count": 4}))

    subscribe(state, latest_invoice=invoice["id"])

    assert stripe.subscription("acme").status == state


@pytest.mark.parametrize("state", ["paused", "incomplete", "trialing"])
def test_a_paid_invoice_leaves_a_status_that_it_does_not_decide(stripe, subscribe, pays, state):
    pays(id="in_latest")

    subscribe(state, latest_invoice="in_latest")

    assert stripe.subscription("acme").status == state


# --- a person's decision -----------------------------------------------------------------------------


@pytest.fixture
def let_in_by_a_person(stripe, ledger, subscribe):
    """A person has let in an account whose subscription is unpaid."""
    ledger.set_host("acme", status="active")
    subscribe("unpaid", latest_invoice="in_latest")
    ledger.change_status("acme", "active", reason="payment_failed")
    assert stripe.status("acme") == "active"


@pytest.mark.parametrize(
    "invoice",
    [
        pytest.param({"status": "draft"}, id="a draft"),
        pytest.param({"status": "draft", "attempt_count": 1}, id="a draft with an attempt"),
        pytest.param({"status": "open"}, id="an invoice that nobody has tried to collect"),
    ],
)
def test_an_invoice_that_says_nothing_of_a_payment_undoes_no_decision_of_a_person(
    stripe, shop, let_in_by_a_person, invoice
):
    bill = shop.invoice([shop.line(shop.price(), start=APRIL, end=MAY)], subscription="sub_1")

    stripe.deliver(shop.event("invoice.updated", bill | invoice))

    assert stripe.status("acme") == "active"


def test_a_state_that_is_no_news_undoes_no_decision_of_a_person(stripe, shop, let_in_by_a_person):
    (state,) = [event["data"]["object"] for event in shop.events]

    stripe.deliver(shop.event("customer.subscription.updated", state))

    assert stripe.status("acme") == "active"


def test_a_payment_that_is_no_news_lets_in_nobody_whom_a_person_has_cancelled(
    stripe, ledger, shop, pays
):
    pays()
    ledger.change_status("acme", "cancelled", reason="manual")

    stripe.deliver(shop.event("invoice.payment_succeeded", shop.events[-1]["data"]["object"]))

    assert stripe.status("acme") == "cancelled"


# --- the bridge over a renewal -----------------------------------------------------------------------


@pytest.fixture
def renews(stripe, ledger, shop):
    """March is paid; April has begun, and its invoice is not paid yet. Delivers that state."""
    shop.pays(shop.bills(shop.price(), start=MARCH, end=APRIL))
    stripe.deliver(*shop.events)
    shop.events.clear()
    ledger.go_to(2026, 4, 1, 0)
    ledger.sweep()
    shop.now = APRIL

    def renews(*more, status="active", **changed):
        shop.now += 60
        state = shop.subscription(
            shop.price(), start=APRIL, end=MAY, status=status, created=MARCH, **changed
        )
        stripe.deliver_set(shop.event("customer.subscription.updated", state), *more)

    return renews


@pytest.mark.parametrize("status", ["unpaid", "paused", "canceled"])
def test_the_bridge_ends_with_the_subscription(ledger, renews, status):
    renews()
    before = ledger.lots("acme")

    renews(status=status)

    assert (before, ledger.lots("acme")) == ({"bridge": 250}, {})


@pytest.mark.parametrize(
    ("is_metered", "quantity", "credits"),
    [
        pytest.param(False, 2, 500, id="two seats"),
        pytest.param(True, 7000, 250, id="usage alone: one month"),
    ],
)
def test_the_bridge_follows_the_number_of_plans_and_no_usage(
    ledger, shop, renews, is_metered, quantity, credits
):
    price = shop.price()
    price["recurring"]["usage_type"] = "metered" if is_metered else "licensed"
    item = {"id": "si_1", "price": price, "quantity": None if is_metered else quantity}

    renews(items={"object": "list", "data": [item]})

    assert ledger.lots("acme") == {"bridge": credits}


def test_a_pack_that_is_paid_in_the_same_batch_takes_no_bridge_away(stripe, ledger, shop, renews):
    pack = shop.price("", unit=2500, credits="500")
    stripe.deliver(shop.event("price.created", pack))
    line = shop.line(pack, start=APRIL, end=APRIL + 1)
    invoice = shop.invoice([line], status="paid", amount_paid=2500)

    renews(shop.event("invoice.paid", invoice))

    assert ledger.lots("acme") == {"bridge": 250, "top_up": 500}
