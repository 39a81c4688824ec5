"""Paid invoices turn into credits, once, for what each line bought."""

import pytest

from tests.billing.stripe.writing import MONTH_S, Shop, seconds

MARCH, APRIL, MAY = seconds(2026, 3, 1), seconds(2026, 4, 1), seconds(2026, 5, 1)


@pytest.fixture(params=["before basil", "since basil"])
def shop(request, stripe, ledger) -> Shop:
    ledger.open_account("acme", status="trial", plan="starter")
    shop = stripe.shop("acme", basil=request.param == "since basil")
    for price in (shop.price(), shop.price("growth", unit=13900), shop.price("", credits="500")):
        stripe.deliver(shop.event("price.created", price))
    return shop


def test_a_paid_line_gives_its_plans_credits_for_its_period(stripe, ledger, shop):
    invoice = shop.bills(shop.price(), start=MARCH, end=APRIL)

    shop.pays(invoice)
    stripe.deliver(*shop.events)

    assert ledger.history("acme") == "plan  +1000  1000"
    assert stripe.status("acme") == "active"
    assert stripe.invoices() == [("paid", "USD", 8900, 8900)]
    assert stripe.payments() == [("succeeded", "USD", 8900)]


def test_every_event_delivered_three_times_gives_once(stripe, ledger, shop):
    shop.pays(shop.bills(shop.price(), start=MARCH, end=APRIL))

    stripe.deliver(*shop.events * 3)

    assert ledger.see("acme").credits == 1000
    assert stripe.told().count("invoice.paid") == 1


def test_quantity_counts(stripe, ledger, shop):
    shop.pays(shop.bills(shop.price(), start=MARCH, end=APRIL, quantity=3))

    stripe.deliver(*shop.events)

    assert ledger.see("acme").credits == 3000


def test_an_invoice_that_is_not_paid_gives_nothing(stripe, ledger, shop):
    shop.bills(shop.price(), start=MARCH, end=APRIL)

    stripe.deliver(*shop.events)

    assert ledger.see("acme").credits == 0
    assert stripe.status("acme") == "trial"


def test_a_trial_invoice_of_nothing_is_no_payment(stripe, ledger, shop):
    line = shop.line(shop.price(), start=MARCH, end=APRIL, amount=0)
    invoice = shop.invoice([line], subscription="sub_1", status="paid")

    stripe.deliver(shop.event("invoice.paid", invoice))

    assert ledger.see("acme").credits == 0
    assert stripe.status("acme") == "trial"
    assert stripe.payments() == []


def test_a_one_time_price_with_credits_is_a_top_up_that_does_not_expire(stripe, ledger, shop):
    pack = shop.price("", unit=2500, credits="500")
    line = shop.line(pack, start=MARCH, end=MARCH + 1, quantity=2)
    invoice = shop.invoice([line], status="open")

    shop.pays(invoice)
    stripe.deliver(*shop.events)

    (lot,) = ledger.see("acme").lots
    assert (lot.source, lot.remaining, lot.expires_at) == ("top_up", 1000, None)
    assert stripe.status("acme") == "trial", "credits alone are no plan"


def test_an_annual_line_drips_monthly(stripe, ledger, shop):
    ledger.go_to(2026, 3, 1)
    line = shop.line(shop.price(unit=89_000), start=MARCH, end=seconds(2027, 3, 1))
    shop.pays(shop.invoice([line], subscription="sub_1", status="open"))

    stripe.deliver(*shop.events)
    for month in (4, 5, 12):
        ledger.go_to(2026, month, 2)
        stripe.drip()
    ledger.sweep()

    granted = [entry.amount for entry in ledger.see("acme").entries if entry.type == "grant"]
    assert granted == [1000] * 10
    assert ledger.see("acme").credits == 1000


def test_an_upgrade_gives_the_difference_of_monthly_credits(stripe, ledger, shop):
    ledger.plan("growth", included_credits=2000)
    shop.pays(shop.bills(shop.price(), start=MARCH, end=APRIL))
    middle = MARCH + MONTH_S // 2
    lines = [
        shop.line(shop.price(), start=middle, end=APRIL, amount=-4450, proration=True),
        shop.line(
            shop.price("growth", unit=13900), start=middle, end=APRIL, amount=6950, proration=True
        ),
    ]
    ledger.pass_time(days=15)

    shop.pays(shop.invoice(lines, subscription="sub_1", status="open"))
    stripe.deliver(*shop.events)

    assert ledger.see("acme").credits == 2000


def test_a_downgrade_takes_nothing_until_the_next_invoice(stripe, ledger, shop):
    ledger.plan("growth", included_credits=2000)
    growth = shop.price("growth", unit=13900)
    shop.pays(shop.bills(growth, start=MARCH, end=APRIL))
    lines = [
        shop.line(growth, start=MARCH + 5, end=APRIL, amount=-6950, proration=True),
        shop.line(shop.price(), start=MARCH + 5, end=APRIL, amount=4450, proration=True),
        shop.line(shop.price(), start=APRIL, end=MAY),
    ]
    stripe.deliver(*shop.events)
    before = ledger.see("acme").credits
    ledger.go_to(2026, 4, 1)

    shop.events.clear()
    shop.pays(shop.invoice(lines, subscription="sub_1", status="open"))
    stripe.deliver(*shop.events)
    ledger.sweep()

    assert (before, ledger.see("acme").credits) == (2000, 1000)


def test_an_account_that_pays_gets_no_lot_of_its_calendar_beside(stripe, ledger, shop):
    ledger.set_host("acme", status="active")
    ledger.repair()
    assert ledger.see("acme").credits == 1000

    shop.pays(shop.bills(shop.price(), start=MARCH, end=APRIL))
    stripe.deliver(*shop.events)
    ledger.repair()
    ledger.sweep()

    assert ledger.see("acme").credits == 1000
    assert ledger.lots("acme") == {"plan": 1000}


def test_a_foreign_product_is_ignored_with_its_reason(stripe, ledger, shop):
    foreign = shop.price("") | {"id": "price_t_shirt", "product": "prod_t_shirt", "metadata": {}}
    stripe.deliver(shop.event("price.created", foreign))
    invoice = shop.bills(foreign, start=MARCH, end=APRIL)

    assert stripe.deliver(shop.event("invoice.paid", invoice | {"status": "paid"})) == [
        "ignored: ForeignProduct"
    ]
    assert ledger.see("acme").credits == 0


def test_a_price_that_is_only_named_waits_until_someone_says_what_it_is(stripe, ledger):
    ledger.open_account("acme", status="trial", plan="starter")
    shop = stripe.shop("acme", basil=True)
    shop.pays(shop.bills(shop.price(), start=MARCH, end=APRIL))

    before = stripe.deliver(*shop.events)
    stripe.deliver(shop.event("price.created", shop.price()))
    stripe.sweep()

    assert "parked: UnknownPrice" in before
    assert set(stripe.outcomes()) == {"applied"}
    assert ledger.see("acme").credits == 1000
