"""A price that is learned late frees what waited for it, also one that is linked as foreign."""

import pytest

from billing.stripe import catalog
from tests.billing.stripe.story import lots
from tests.billing.stripe.writing import Shop, seconds
from worker.database import transaction

MARCH, APRIL = seconds(2026, 3, 1), seconds(2026, 4, 1)


@pytest.fixture
def shop(stripe, ledger) -> Shop:
    """Objects name their prices only by id."""
    ledger.open_account("acme", status="active", plan=None)
    ledger.plan("starter")
    return stripe.shop("acme", basil=True)


def paid(shop, *prices):
    lines = [shop.line(price, start=MARCH, end=APRIL) for price in prices]
    return shop.event("invoice.paid", shop.invoice(lines, status="paid", amount_paid=8900))


def shirt(shop, **metadata) -> dict:
    price = shop.price("", credits="1")
    return price | {"id": "price_shirt", "product": "prod_shirt", "metadata": metadata}


@pytest.mark.parametrize("name", ["price_shirt", "prod_shirt"])
def test_a_price_that_is_linked_as_foreign_frees_the_invoice(stripe, ledger, shop, link, name):
    waits = stripe.deliver(paid(shop, shirt(shop)))

    woken = link(name, foreign=True)
    stripe.sweep()

    assert (waits, woken) == (["parked: UnknownPrice"], 1)
    assert stripe.outcomes() == ["ignored: ForeignProduct"]
    assert ledger.audit().agrees, "an operator has answered"


def test_a_foreign_line_frees_the_plan_beside_it(stripe, ledger, shop, link):
    stripe.deliver(shop.event("price.created", shop.price()))
    waits = stripe.deliver(paid(shop, shop.price(), shirt(shop)))
    meanwhile = lots(ledger)

    link("price_shirt", foreign=True)
    stripe.sweep()

    assert waits == ["parked: UnknownPrice"]
    assert meanwhile == [("plan", 1000)], "the other line is no reason to wait"
    assert stripe.outcomes()[-1] == "applied"
    assert lots(ledger) == [("plan", 1000)]


def test_a_plan_whose_price_is_learned_late_beside_a_pack_lets_in(stripe, ledger, shop):
    ledger.set_host("acme", status="trial")
    pack = shop.price("", credits="500")
    stripe.deliver(shop.event("price.created", pack), paid(shop, pack, shop.price()))
    before = stripe.status("acme"), lots(ledger)

    stripe.deliver(shop.event("price.created", shop.price()))
    stripe.sweep()

    assert before == ("trial", [("top_up", 500)])
    assert (stripe.status("acme"), ledger.see("acme").credits) == ("active", 1500)


def test_a_price_of_a_changed_plan_lets_the_whole_invoice_wait(stripe, ledger, shop):
    stripe.deliver(shop.event("price.created", shop.price()))
    growth = shop.line(shop.price("growth"), start=MARCH, end=APRIL, amount=-100, proration=True)
    lines = [growth, shop.line(shop.price(), start=MARCH, end=APRIL)]
    event = shop.event("invoice.paid", shop.invoice(lines, status="paid", amount_paid=8800))

    assert stripe.deliver(event) == ["parked: UnknownPrice"]
    assert lots(ledger) == []


def test_the_first_price_that_stripe_tells_counts_for_all_that_waited(stripe, ledger, shop):
    stripe.deliver(paid(shop, shop.price()), paid(shop, shop.price()))

    stripe.deliver(shop.event("price.created", shop.price()))
    stripe.sweep()

    assert set(stripe.outcomes()) == {"applied"}
    assert ledger.see("acme").credits == 2000


@pytest.mark.parametrize("told", ["the price", "its product"])
def test_metadata_that_a_price_gets_later_count_for_what_was_ignored(stripe, ledger, shop, told):
    stripe.deliver(shop.event("price.created", shirt(shop)))
    ignored = stripe.deliver(paid(shop, shirt(shop)))

    shop.now += 60
    product = {"id": "prod_shirt", "object": "product", "metadata": {"credits": "500"}}
    changed = {
        "the price": shop.event("price.updated", shirt(shop, credits="500")),
        "its product": shop.event("product.updated", product),
    }
    stripe.deliver(changed[told])
    stripe.sweep()

    assert ignored == ["ignored: ForeignProduct"]
    assert lots(ledger) == [("top_up", 500)]
    assert ledger.audit().agrees


def test_a_price_that_says_the_same_again_wakes_nothing(stripe, shop):
    stripe.deliver(shop.event("price.created", shirt(shop)))
    stripe.deliver(paid(shop, shirt(shop)))

    shop.now += 60
    stripe.deliver(shop.event("price.updated", shirt(shop)))

    assert "received" not in stripe.outcomes()


def test_a_link_of_a_price_frees_what_failed_on_its_line(stripe, ledger, shop, link):
    odd = shirt(shop, plan="gold")
    stripe.deliver(shop.event("price.created", odd))
    failed = stripe.deliver(paid(shop, odd))

    link("price_shirt", plan="starter")
    stripe.sweep()

    assert failed == ["failed: UnknownPlan"]
    assert lots(ledger) == [("plan", 1000)]


def test_a_price_that_was_given_up_after_thirty_days_is_linked_after_all(
    stripe, ledger, shop, link
):
    stripe.deliver(paid(shop, shirt(shop)))
    for _ in range(32):
        ledger.pass_time(days=1)
        stripe.sweep()
    given_up = stripe.outcomes()

    link("price_shirt", credits=500)
    stripe.sweep()

    assert given_up == ["ignored: NeverLinked"]
    assert lots(ledger) == [("top_up", 500)]


def test_a_price_that_was_given_up_after_thirty_days_is_told_by_stripe_after_all(
    stripe, ledger, shop
):
    stripe.deliver(paid(shop, shirt(shop)))
    for _ in range(32):
        ledger.pass_time(days=1)
        stripe.sweep()

    stripe.deliver(shop.event("price.created", shirt(shop, credits="500")))
    stripe.sweep()

    assert lots(ledger) == [("top_up", 500)]


def test_a_link_to_a_plan_that_the_app_has_deleted_fails_by_name(stripe, ledger, shop):
    with transaction() as ctx:
        catalog.link(ctx.at(ledger.now), "price_shirt", plan_id=999, credits=None)

    assert stripe.deliver(paid(shop, shirt(shop))) == ["failed: UnknownPlan"]
