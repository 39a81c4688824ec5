"""Whose an event is: by the customer, else by what the object names, else it waits until it is known."""

import datetime as dt
import json

import pytest
from click.testing import CliRunner

from billing.stripe import links
from billing_client import AnnounceCheckout, checkout_reference
from cli.main import main
from tests.billing.stripe.writing import MONTH_S
from worker import clock
from worker.database import transaction


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


SECRET = "a secret of the tests"


@pytest.fixture
def reference(configure):
    """Signs references as the app does, with the secret that the worker has."""
    configure(BILLING_CHECKOUT_SECRETS=f"one of last year,{SECRET}")

    def reference(account_id=1, *, secret=SECRET, **fields):
        return checkout_reference(account_id, secret=secret, **fields)

    return reference


@pytest.mark.parametrize("account_id", ["1", 1])
def test_a_checkouts_metadata_which_only_the_api_key_writes_link_its_customer(
    stripe, ledger, shop, account_id
):
    outcome = stripe.deliver(checkout(shop, metadata={"account_id": account_id}))

    assert outcome == ["applied"]
    assert stripe.end_state("acme")["customer"] == "cus_1"


def test_a_signed_reference_links_its_customer(stripe, shop, reference):
    outcome = stripe.deliver(checkout(shop, client_reference_id=reference()))

    assert outcome == ["applied"]
    assert stripe.end_state("acme")["customer"] == "cus_1"


def forged(reference) -> str:
    """The reference of another account, with the account's number put in."""
    return reference(2).replace("acc_2_", "acc_1_")


@pytest.mark.parametrize(
    "named",
    [
        pytest.param(lambda _: "1", id="a bare number"),
        pytest.param(forged, id="another account's signature"),
        pytest.param(lambda reference: reference(secret="f" * 16), id="another secret"),
        pytest.param(lambda reference: reference()[:-1] + "x", id="a letter changed"),
    ],
)
def test_a_reference_that_any_payer_can_write_links_nothing_and_asks_a_person(
    stripe, ledger, shop, reference, named, billing
):
    ledger.open_account("other")
    events = [*pays(shop), checkout(shop, client_reference_id=named(reference))]

    outcomes = stripe.deliver(*events)

    assert outcomes[-1] == (
        "parked: UnknownCustomer" if named(reference).endswith("x") else "parked: UnvouchedAccount"
    )
    assert set(outcomes[:-1]) == {"parked: UnknownCustomer"}
    assert stripe.end_state("acme")["customer"] is None
    assert "UnvouchedAccount" in billing("events")[1] or named(reference).endswith("x")

    billing("link", "1", "cus_1")
    stripe.sweep()

    assert set(stripe.outcomes()) == {"applied"}
    assert ledger.see("acme").credits == 1000


def test_a_strangers_subscription_changes_nothing_of_the_account_it_names(stripe, ledger, shop):
    """A stranger opens a Payment Link with `?client_reference_id=1`, subscribes, and cancels."""
    ledger.plan("growth", included_credits=2000)
    before = stripe.end_state("acme")
    price = shop.price("growth", unit=13900)
    state = shop.subscription(price, start=shop.now, end=shop.now + MONTH_S)
    shop.event("customer.subscription.created", state)
    shop.pays(shop.bills(price, start=shop.now, end=shop.now + MONTH_S))
    checkout(shop, client_reference_id="1", payment_link="plink_1")
    ended = state | {"status": "canceled", "ended_at": shop.now}
    shop.event("customer.subscription.deleted", ended)

    stripe.deliver(*shop.events)
    stripe.sweep()

    assert stripe.end_state("acme") == before


def test_a_browser_may_write_a_payment_methods_metadata_so_they_link_nothing(stripe, shop):
    card = {"fingerprint": "Xt5EWLLDS7FJjR1c"}
    method = {"id": "pm_1", "object": "payment_method", "customer": "cus_1", "card": card}
    event = shop.event("payment_method.attached", method | {"metadata": {"account_id": "1"}})

    assert stripe.deliver(event) == ["parked: UnknownCustomer"]
    assert stripe.end_state("acme")["customer"] is None


@pytest.mark.parametrize(("hours", "state"), [(1, "applied"), (-1, "parked: UnvouchedAccount")])
def test_a_reference_with_an_end_counts_for_a_checkout_opened_before_it(
    stripe, ledger, shop, reference, hours, state
):
    ends_at = ledger.now + dt.timedelta(hours=hours)
    event = checkout(shop, client_reference_id=reference(expires_at=ends_at), created=shop.now)

    ledger.pass_time(days=3)

    assert stripe.deliver(event) == [state]


def test_a_signed_top_up_is_given_although_the_account_has_another_customer(
    stripe, ledger, shop, reference
):
    ledger.set_host("acme", stripe_customer_id="cus_0")
    charge = shop.buys(credits=500, client_reference_id=reference())
    shop.refunds(charge, 500)

    stripe.deliver(*shop.events)
    stripe.sweep()

    assert set(stripe.outcomes()) == {"applied"}
    assert stripe.end_state("acme")["customer"] == "cus_0"
    assert ledger.see("acme").credits == 400


def test_a_session_without_a_customer_is_linked_by_a_person(stripe, ledger, shop, billing):
    shop.customer = None
    shop.buys(credits=500, client_reference_id="1")
    outcomes = stripe.deliver(*shop.events)
    session = shop.events[-1]["data"]["object"]["id"]

    billing("link", "1", session)
    stripe.sweep()

    assert outcomes[-1] == "parked: UnvouchedAccount"
    assert set(stripe.outcomes()) == {"applied"}
    assert ledger.see("acme").credits == 500


@pytest.mark.parametrize("customer", ["cus_1", None])
def test_a_session_that_the_app_announced_is_the_accounts(stripe, ledger, shop, customer):
    shop.customer = customer
    shop.buys(credits=500, client_reference_id="1")
    session = shop.events[-1]["data"]["object"]["id"]
    stripe.deliver(*shop.events)

    with transaction() as ctx:
        links.announce(ctx.at(ledger.now), AnnounceCheckout(1, session))
    stripe.sweep()

    assert set(stripe.outcomes()) == {"applied"}
    assert ledger.see("acme").credits == 500
    assert stripe.end_state("acme")["customer"] == customer


def test_an_account_is_moved_to_a_new_customer_and_keeps_the_payments_of_the_old_one(
    stripe, ledger, shop, billing
):
    ledger.set_host("acme", stripe_customer_id="cus_1")
    charge = shop.pays(shop.bills(shop.price(), start=shop.now, end=shop.now + 2 * MONTH_S))
    stripe.deliver(*shop.events)

    refused, _ = billing("link", "1", "cus_2")
    tried = json.loads(billing("link", "1", "cus_2", "--move", "--dry-run", "--json")[1])
    between = stripe.end_state("acme")["customer"]
    code, _ = billing("link", "1", "cus_2", "--move")
    shop.now += 60
    shop.refunds(charge, 4450)
    shop.pays(shop.bills(shop.price(), start=shop.now - 60, end=shop.now + MONTH_S))
    stripe.deliver(*shop.events)
    stripe.sweep()

    assert (refused, code, between) == (1, 0, "cus_1")
    assert tried["moved"] == {"from": "cus_1", "objects": 2}
    assert stripe.end_state("acme")["customer"] == "cus_2"
    assert set(stripe.outcomes()) == {"applied"}
    assert ledger.see("acme").credits == 2000


def test_a_customer_that_an_account_was_moved_from_is_not_given_to_another(
    stripe, ledger, shop, billing
):
    ledger.open_account("other")
    ledger.set_host("acme", stripe_customer_id="cus_1")
    billing("link", "1", "cus_2", "--move")

    code, printed = billing("link", "2", "cus_1")

    assert code == 1
    assert "CustomerTaken" in printed


def test_a_subscriptions_metadata_link_its_customer_too(stripe, shop):
    shop.account_id = 1
    state = shop.subscription(shop.price(), start=shop.now, end=shop.now + 2 * MONTH_S)

    stripe.deliver(shop.event("customer.subscription.created", state))

    assert stripe.end_state("acme")["customer"] == "cus_1"


def test_what_came_before_the_link_is_applied_after_it(stripe, ledger, shop):
    parked = stripe.deliver(*pays(shop))

    stripe.deliver(checkout(shop, metadata={"account_id": "1"}))
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

    outcome = stripe.deliver(checkout(shop, metadata={"account_id": "1"}))
    code, printed = billing("link", "1", "cus_1")

    assert outcome == ["failed: CustomerTaken"]
    assert code == 1
    assert "CustomerTaken" in printed
    assert "--move" in printed


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
