"""Paid invoices turn into credits, once, for what each line bought."""

import pytest

from tests.billing.stripe.writing import MONTH_S, Shop, seconds

MARCH, APRIL, MAY = seconds(2026, 3, 1), seconds(2026, 4, 1), seconds(2026, 5, 1)


@pytest.fixture(params=["before basil", "since basil"])
def shop(request, stripe, books) -> Shop:
    books.open_account("acme", status="trial", plan="starter")
    shop = stripe.shop("acme", basil=request.param == "since basil")
    for price in (shop.price(), shop.price("growth", unit=13900), shop.price("", credits="500")):
        stripe.deliver(shop.event("price.created", price))
    return shop


def test_a_paid_line_gives_its_plans_credits_for_its_period(stripe, books, shop):
    invoice = shop.bills(shop.price(), start=MARCH, end=APRIL)

    shop.pays(invoice)
    stripe.deliver(*shop.events)

    assert books.history("acme") == "plan  +1000  1000"
    assert stripe.status("acme") == "active"
    assert stripe.invoices() == [("paid", "USD", 8900, 8900)]
    assert stripe.payments() == [("succeeded", "USD", 8900)]


def test_every_event_delivered_three_times_gives_once(stripe, books, shop):
    shop.pays(shop.bills(shop.price(), start=MARCH, end=APRIL))

    stripe.deliver(*shop.events * 3)

    assert books.see("acme").credits == 1000
    assert stripe.told().count("invoice.paid") == 1


def test_quantity_counts(stripe, books, shop):
    shop.pays(shop.bills(shop.price(), start=MARCH, end=APRIL, quantity=3))

    stripe.deliver(*shop.events)

    assert books.see("acme").credits == 3000


def test_an_invoice_that_is_not_paid_gives_nothing(stripe, books, shop):
    shop.bills(shop.price(), start=MARCH, end=APRIL)

    stripe.deliver(*shop.events)

    assert books.see("acme").credits == 0
    assert stripe.status("acme") == "trial"


def test_a_trial_invoice_of_nothing_is_no_payment(stripe, books, shop):
    line = shop.line(shop.price(), start=MARCH, end=APRIL, amount=0)
    invoice = shop.invoice([line], subscription="sub_1", status="paid")

    stripe.deliver(shop.event("invoice.paid", invoice))

    assert books.see("acme").credits == 0
    assert stripe.status("acme") == "trial"
    assert stripe.payments() == []


def test_a_one_time_price_with_credits_is_a_top_up_that_does_not_expire(stripe, books, shop):
    pack = shop.price("", unit=2500, credits="500")
    line = shop.line(pack, start=MARCH, end=MARCH + 1, quantity=2)
    invoice = shop.invoice([line], status="open")

    shop.pays(invoice)
    stripe.deliver(*shop.events)

    (lot,) = books.see("acme").lots
    assert (lot.source, lot.remaining, lot.expires_at) == ("top_up", 1000, None)
    assert stripe.status("acme") == "trial", "credits alone are no plan"


def test_an_annual_line_drips_monthly(stripe, books, shop):
    books.go_to(2026, 3, 1)
    line = shop.line(shop.price(unit=89_000), start=MARCH, end=seconds(2027, 3, 1))
    shop.pays(shop.invoice([line], subscription="sub_1", status="open"))

    stripe.deliver(*shop.events)
    for month in (4, 5, 12):
        books.go_to(2026, month, 2)
        stripe.drip()
    books.sweep()

    granted = [entry.amount for entry in books.see("acme").entries if entry.type == "grant"]
    assert granted == [1000] * 10
    assert books.see("acme").credits == 1000


def test_an_upgrade_gives_the_difference_of_monthly_credits(stripe, books, shop):
    books.plan("growth", included_credits=2000)
    shop.pays(shop.bills(shop.price(), start=MARCH, end=APRIL))
    middle = MARCH + MONTH_S // 2
    lines = [
        shop.line(shop.price(), start=middle, end=APRIL, amount=-4450, proration=True),
        shop.line(
            shop.price("growth", unit=13900), start=middle, end=APRIL, amount=6950, proration=True
        ),
    ]
    books.pass_time(days=15)

    shop.pays(shop.invoice(lines, subscription="sub_1", status="open"))
    stripe.deliver(*shop.events)

    assert books.see("acme").credits == 2000


def test_a_downgrade_takes_nothing_until_the_next_invoice(stripe, books, shop):
    books.plan("growth", included_credits=2000)
    growth = shop.price("growth", unit=13900)
    shop.pays(shop.bills(growth, start=MARCH, end=APRIL))
    lines = [
        shop.line(growth, start=MARCH + 5, end=APRIL, amount=-6950, proration=True),
        shop.line(shop.price(), start=MARCH + 5, end=APRIL, amount=4450, proration=True),
        shop.line(shop.price(), start=APRIL, end=MAY),
    ]
    stripe.deliver(*shop.events)
    before = books.see("acme").credits
    books.go_to(2026, 4, 1)

    shop.events.clear()
    shop.pays(shop.invoice(lines, subscription="sub_1", status="open"))
    stripe.deliver(*shop.events)
    books.sweep()

    assert (before, books.see("acme").credits) == (2000, 1000)


def test_an_account_that_pays_gets_no_lot_of_its_calendar_beside(stripe, books, shop):
    books.set_host("acme", status="active")
    books.repair()
    assert books.see("acme").credits == 1000

    shop.pays(shop.bills(shop.price(), start=MARCH, end=APRIL))
    stripe.deliver(*shop.events)
    books.repair()
    books.sweep()

    assert books.see("acme").credits == 1000
    assert books.lots("acme") == {"plan": 1000}


def test_a_foreign_product_is_ignored_with_its_reason(stripe, books, shop):
    foreign = shop.price("") | {"id": "price_t_shirt", "product": "prod_t_shirt", "metadata": {}}
    stripe.deliver(shop.event("price.created", foreign))
    invoice = shop.bills(foreign, start=MARCH, end=APRIL)

    assert stripe.deliver(shop.event("invoice.paid", invoice | {"status": "paid"})) == [
        "ignored: ForeignProduct"
    ]
    assert books.see("acme").credits == 0


def test_a_price_that_is_only_named_waits_until_someone_says_what_it_is(stripe, books):
    books.open_account("acme", status="trial", plan="starter")
    shop = stripe.shop("acme", basil=True)
    shop.pays(shop.bills(shop.price(), start=MARCH, end=APRIL))

    before = stripe.deliver(*shop.events)
    stripe.deliver(shop.event("price.created", shop.price()))
    stripe.sweep()

    assert "parked: UnknownPrice" in before
    assert set(stripe.outcomes()) == {"applied"}
    assert books.see("acme").credits == 1000
