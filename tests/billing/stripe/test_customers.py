"""Whose an event is: by the customer, else by what the object names, else it waits until it is known."""

import json

import pytest
from click.testing import CliRunner

from cli.main import main
from tests.billing.stripe.writing import MONTH_S
from worker import clock


@pytest.fixture
def acme(ledger) -> int:
    """An account that no customer of Stripe's is linked to."""
    return ledger.open_account("acme", status="trial", plan="starter")


@pytest.fixture
def shop(stripe, ledger, acme):
    """At the time that the operator's commands have."""
    ledger.now = clock.now()
    return stripe.shop()


@pytest.fixture
def billing(ledger):
    """Runs a command of the operator's; returns its exit code and what it printed."""

    def call(*words):
        answer = CliRunner().invoke(main, ["stripe", *words])
        ledger.now = max(ledger.now, clock.now())
        return answer.exit_code, answer.output

    return call


def pays(shop) -> list[dict]:
    shop.pays(shop.bills(shop.price(), start=shop.now, end=shop.now + 2 * MONTH_S))
    return shop.events


def checkout(shop, **fields) -> dict:
    session = {
        "id": "cs_1",
        "object": "checkout.session",
        "customer": shop.customer,
        "mode": "subscription",
        "payment_status": "paid",
        "status": "complete",
        "subscription": "sub_1",
    }
    return shop.event("checkout.session.completed", session | fields)


@pytest.mark.parametrize(
    "how",
    [
        pytest.param({"client_reference_id": "1"}, id="by client_reference_id"),
        pytest.param({"metadata": {"account_id": "1"}}, id="by metadata"),
        pytest.param({"metadata": {"account_id": 1}}, id="by a number in metadata"),
    ],
)
def test_a_checkout_links_its_customer_to_the_account_it_names(stripe, ledger, shop, how):
    outcome = stripe.deliver(checkout(shop, **how))

    assert outcome == ["applied"]
    assert stripe.end_state("acme")["customer"] == "cus_1"


def test_a_subscriptions_metadata_link_its_customer_too(stripe, shop):
    shop.account_id = 1
    state = shop.subscription(shop.price(), start=shop.now, end=shop.now + 2 * MONTH_S)

    stripe.deliver(shop.event("customer.subscription.created", state))

    assert stripe.end_state("acme")["customer"] == "cus_1"


def test_what_came_before_the_link_is_applied_after_it(stripe, ledger, shop):
    parked = stripe.deliver(*pays(shop))

    stripe.deliver(checkout(shop, client_reference_id="1"))
    stripe.sweep()

    assert set(parked) == {"parked: UnknownCustomer"}
    assert set(stripe.outcomes()) == {"applied"}
    assert ledger.see("acme").credits == 1000
    assert stripe.status("acme") == "active"


def test_an_operators_link_has_what_waited_applied(stripe, ledger, shop, billing):
    stripe.deliver(*pays(shop))

    code, printed = billing("link", "1", "cus_1", "--json")
    stripe.sweep()

    assert (code, json.loads(printed)) == (0, {"dry_run": False, "is_new": True, "events": 5})
    assert ledger.see("acme").credits == 1000


def test_a_link_that_is_only_tried_links_nothing(stripe, ledger, shop, billing):
    stripe.deliver(*pays(shop))

    code, printed = billing("link", "1", "cus_1", "--dry-run", "--json")

    assert (code, json.loads(printed)["events"]) == (0, 5)
    assert stripe.end_state("acme")["customer"] is None


def test_where_the_main_app_links_the_customer_the_sweep_finds_it(stripe, ledger, shop):
    stripe.deliver(*pays(shop))

    ledger.set_host("acme", stripe_customer_id="cus_1")
    ledger.pass_time(minutes=1)
    stripe.sweep()

    assert set(stripe.outcomes()) == {"applied"}
    assert ledger.see("acme").credits == 1000


def test_a_customer_that_nobody_ever_links_is_given_up_after_thirty_days(stripe, ledger, shop):
    stripe.deliver(*pays(shop))

    for _ in range(32):
        ledger.pass_time(days=1)
        stripe.sweep()

    assert set(stripe.outcomes()) == {"ignored: NeverLinked"}


def test_a_customer_that_was_given_up_is_linked_and_replayed(stripe, ledger, shop, billing):
    stripe.deliver(*pays(shop))
    for _ in range(32):
        ledger.pass_time(days=1)
        stripe.sweep()
    billing("link", "1", "cus_1")

    code, _ = billing("replay", "--all", "--state", "ignored", "--reason", "NeverLinked")

    assert code == 0
    assert set(stripe.outcomes()) == {"applied"}
    assert ledger.see("acme").credits == 1000


def test_an_account_has_one_customer_and_a_second_waits_for_a_person(stripe, ledger, shop, billing):
    ledger.set_host("acme", stripe_customer_id="cus_0")

    outcome = stripe.deliver(checkout(shop, client_reference_id="1"))
    code, printed = billing("link", "1", "cus_1")

    assert outcome == ["failed: CustomerTaken"]
    assert code == 1
    assert "CustomerTaken" in printed


def test_metadata_do_not_outweigh_the_customer(stripe, ledger, shop):
    ledger.open_account("other", stripe_customer_id="cus_1")

    stripe.deliver(checkout(shop, client_reference_id="1"))

    assert stripe.end_state("acme")["customer"] is None


def test_an_account_that_is_named_and_is_none_links_nothing(stripe, shop):
    assert stripe.deliver(checkout(shop, client_reference_id="999")) == ["parked: UnknownCustomer"]


def test_of_a_customers_deleted_account_and_its_new_one_the_new_one_counts(stripe, ledger, shop):
    ledger.set_host("acme", stripe_customer_id="cus_1", is_deleted=True)
    ledger.open_account("acme-again", status="trial", stripe_customer_id="cus_1")

    stripe.deliver(*pays(shop))

    assert stripe.status("acme-again") == "active"


def test_two_accounts_of_one_customer_wait_for_a_person(stripe, ledger, shop, billing):
    for slug in ("one", "two"):
        ledger.open_account(slug, stripe_customer_id="cus_1")

    outcomes = stripe.deliver(*pays(shop))
    ledger.set_host("two", stripe_customer_id=None)
    billing("replay", "--all", "--reason", "CustomerAmbiguous")

    assert set(outcomes) == {"failed: CustomerAmbiguous"}
    assert set(stripe.outcomes()) == {"applied"}


def test_a_refund_that_comes_before_its_payment_waits_for_it(stripe, ledger, shop):
    ledger.set_host("acme", stripe_customer_id="cus_1")
    charge = shop.pays(shop.bills(shop.price(), start=shop.now, end=shop.now + 2 * MONTH_S))
    paid, shop.events = shop.events, []
    shop.refunds(charge, 8900)
    refunded = shop.events[:1]

    outcomes = stripe.deliver(*refunded, *paid)
    stripe.sweep()

    assert outcomes[0] == "parked: UnknownPayment"
    assert set(stripe.outcomes()) == {"applied"}
    assert ledger.see("acme").credits == 0
