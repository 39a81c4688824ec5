"""Proration lines mean what their pair says, also where they cost nothing."""

import pytest
from sqlalchemy import update

from billing.stripe import catalog
from models.host import Plan
from tests.billing.stripe.writing import seconds
from worker.database import transaction

MARCH, APRIL, MAY = seconds(2026, 3, 1), seconds(2026, 4, 1), seconds(2026, 5, 1)


@pytest.fixture(params=["before basil", "since basil"])
def shop(request, stripe, ledger):
    for slug, credits in (("free", 100), ("scale", 4000)):
        ledger.plan(slug, included_credits=credits)
    ledger.open_account("acme", status="trial", plan="starter")
    shop = stripe.shop("acme", basil=request.param == "since basil", now=MARCH)
    shop.free, shop.starter = shop.price("free", unit=0), shop.price()
    shop.scale, shop.pack = shop.price("scale", unit=22_900), shop.price("", credits="500")
    for price in (shop.free, shop.starter, shop.scale):
        stripe.deliver(shop.event("price.created", price))
    shop.events.clear()
    return shop


@pytest.fixture
def pays(stripe, ledger, shop):
    """An invoice with these lines is paid; returns by how many credits the account is richer."""

    def pays(*lines, **fields):
        before = ledger.see("acme").credits
        shop.settles(*lines, **fields)
        stripe.deliver(*shop.events)
        shop.events.clear()
        ledger.sweep()
        return ledger.see("acme").credits - before

    return pays


def change(shop, old, new, *, share=0, at=MARCH + 5) -> list[dict]:
    return shop.change(old, new, at=at, start=MARCH, end=APRIL, share=share)


def test_a_free_plan_gives_its_month(stripe, shop, pays):
    assert pays(shop.line(shop.free, start=MARCH, end=APRIL)) == 100
    assert stripe.status("acme") == "active"


@pytest.mark.parametrize(
    ("shown", "credits"),
    [
        pytest.param("0", 100, id="0"),
        pytest.param("0.00", 100, id="0 with decimals"),
        pytest.param("0.4", 0, id="less than a cent, of which this month had none"),
        pytest.param("8900", 0, id="a price above 0: a trial"),
        pytest.param(None, 0, id="not said"),
    ],
)
def test_a_line_of_0_gives_its_month_where_its_price_is_0(stripe, ledger, shown, credits):
    ledger.plan("free", included_credits=100)
    ledger.open_account("acme", status="trial", plan="free")
    shop = stripe.shop("acme", basil=True, now=MARCH)
    named = shop.price("free", unit=0) | {"unit_amount": None, "unit_amount_decimal": None}
    line = shop.line(named, start=MARCH, end=APRIL, amount=0)
    line["pricing"]["unit_amount_decimal"] = shown

    shop.settles(line)
    stripe.deliver(shop.event("price.created", named), *shop.events)

    assert ledger.see("acme").credits == credits


def test_a_stored_price_above_0_outweighs_the_line_of_a_trial(stripe, ledger):
    ledger.open_account("acme", status="trial", plan="starter")
    shop = stripe.shop("acme", basil=True, now=MARCH)
    line = shop.line(shop.price(), start=MARCH, end=APRIL, amount=0)
    line["pricing"]["unit_amount_decimal"] = "0"

    shop.settles(line)
    stripe.deliver(shop.event("price.created", shop.price()), *shop.events)

    assert (ledger.see("acme").credits, stripe.status("acme")) == (0, "trial")


def test_a_trials_line_of_0_a_unit_gives_nothing_for_a_plan_that_costs(stripe, ledger, link):
    with transaction() as ctx:
        plan_id = ledger.plan("starter")
        ctx.session.execute(update(Plan).values(price=89))
        catalog.link(ctx, "price_starter_month", plan_id=plan_id, credits=None)
    ledger.open_account("acme", status="trial", plan="starter")
    shop = stripe.shop("acme", basil=True, now=MARCH)
    line = shop.line(shop.price(), start=MARCH, end=APRIL, amount=0)
    line["pricing"]["unit_amount_decimal"] = "0"

    shop.settles(line)
    stripe.deliver(*shop.events)

    assert (ledger.see("acme").credits, stripe.status("acme")) == (0, "trial")


def test_a_second_free_seat_gives_the_difference(shop, pays):
    pays(shop.line(shop.free, start=MARCH, end=APRIL))

    assert pays(*change(shop, (shop.free, 1), (shop.free, 2))) == 100


def test_a_free_seat_less_gives_nothing(shop, pays):
    pays(shop.line(shop.free, start=MARCH, end=APRIL, quantity=2))

    assert pays(*change(shop, (shop.free, 2), (shop.free, 1))) == 0


@pytest.mark.parametrize("is_told", [True, False])
def test_stripe_tells_which_of_two_lines_of_0_is_the_old_one(shop, pays, is_told):
    pays(shop.line(shop.free, start=MARCH, end=APRIL, quantity=2))
    old, new = change(shop, (shop.free, 2), (shop.free, 1))
    if is_told:
        old["proration_details"] = {"credited_items": {"invoice": "in_1", "invoice_line_items": []}}
        new["proration_details"] = {"credited_items": None}

    # The order alone makes it a rise, of what a silent fall had left: for the time to come.
    assert pays(new, old) == (0 if is_told else 99)


def test_from_free_to_paid_gives_the_difference(shop, pays):
    pays(shop.line(shop.free, start=MARCH, end=APRIL))

    assert pays(*change(shop, (shop.free, 1), (shop.starter, 1), share=1 / 2)) == 900


def test_from_paid_to_free_gives_nothing(shop, pays):
    pays(shop.line(shop.starter, start=MARCH, end=APRIL))

    assert pays(*change(shop, (shop.starter, 1), (shop.free, 1), share=1 / 2)) == 0


@pytest.mark.parametrize("is_new_first", [True, False])
def test_a_change_inside_a_trial_gives_nothing_and_leaves_it_in_trial(
    stripe, shop, pays, is_new_first
):
    lines = change(shop, (shop.starter, 1), (shop.scale, 1))

    assert pays(*(reversed(lines) if is_new_first else lines)) == 0
    assert stripe.status("acme") == "trial"


@pytest.mark.parametrize("is_new_first", [True, False])
def test_cents_that_round_to_0_never_turn_a_downgrade_into_credits(
    ledger, shop, pays, is_new_first
):
    pays(shop.line(shop.scale, start=MARCH, end=APRIL))
    lines = change(shop, (shop.scale, 1), (shop.starter, 1), at=APRIL - 60)
    ledger.go_to(2026, 4, 1)
    ledger.sweep()

    given = pays(
        *(reversed(lines) if is_new_first else lines), shop.line(shop.starter, start=APRIL, end=MAY)
    )

    assert (given, ledger.see("acme").credits) == (1000, 1000)


def test_two_changes_in_one_invoice_give_their_sum(shop, pays):
    pays(shop.line(shop.free, start=MARCH, end=APRIL))

    given = pays(
        *change(shop, (shop.free, 1), (shop.starter, 1), share=1 / 2, at=MARCH + 5),
        *change(shop, (shop.starter, 1), (shop.scale, 1), share=1 / 2, at=MARCH + 500),
    )

    assert given == 3900


def test_usage_of_a_metered_price_multiplies_no_plan(shop, pays):
    usage = shop.starter | {"id": "price_usage"}
    usage["recurring"] = usage["recurring"] | {"usage_type": "metered"}
    shop.event("price.created", usage)

    given = pays(
        shop.line(shop.starter, start=MARCH, end=APRIL),
        shop.line(usage, start=MARCH, end=APRIL, quantity=1500, amount=1500),
    )

    assert given == 1000


@pytest.mark.parametrize(
    ("reason", "credits"), [("subscription_cycle", 1000), ("subscription_threshold", 0)]
)
def test_a_plan_that_is_only_metered_gives_one_month_with_its_cycle(shop, pays, reason, credits):
    metered = shop.starter | {"id": "price_usage"}
    metered["recurring"] = metered["recurring"] | {"usage_type": "metered"}
    shop.event("price.created", metered)
    lines = [
        shop.line(metered, start=MARCH, end=APRIL, quantity=quantity, amount=quantity)
        for quantity in (1000, 500)
    ]

    assert pays(*lines, billing_reason=reason) == credits


def test_an_old_metered_plan_multiplies_nothing(stripe, ledger):
    ledger.open_account("acme", status="trial", plan="starter")
    shop = stripe.shop("acme", now=MARCH)
    line = shop.line(shop.price(), start=MARCH, end=APRIL, quantity=1500, amount=1500)
    plan = {"id": "starter", "object": "plan", "amount": 1, "usage_type": "metered"}
    line |= {"price": None, "plan": plan | {"metadata": {"plan": "starter"}, "product": "prod_1"}}

    shop.settles(line)
    stripe.deliver(*shop.events)

    assert ledger.see("acme").credits == 1000


@pytest.fixture
def link(ledger):
    def link(price, *, credits):
        with transaction() as ctx:
            catalog.link(ctx.at(ledger.now), price, plan_id=None, credits=credits)

    return link


@pytest.fixture
def linked_pack(shop):
    """A recurring price without metadata that an operator linked to 500 credits."""
    pack = shop.price("", unit=2500) | {"id": "price_pack", "product": "prod_pack", "metadata": {}}
    shop.event("price.created", pack)
    return pack


def test_more_of_a_recurring_pack_gives_the_difference_until_its_period_ends(
    ledger, shop, pays, linked_pack, link
):
    link("price_pack", credits=500)
    pays(shop.line(linked_pack, start=MARCH, end=APRIL))

    given = pays(*change(shop, (linked_pack, 1), (linked_pack, 2), share=1 / 2))
    lots = [
        (lot.remaining, lot.expires_at and lot.expires_at.month) for lot in ledger.see("acme").lots
    ]

    assert given == 500
    assert sorted(lots, key=str) == [(500, 4), (500, None)]


def test_less_of_a_recurring_pack_gives_back_what_its_money_bought_once_it_is_used(
    ledger, shop, pays, linked_pack, link
):
    link("price_pack", credits=500)
    pays(shop.line(linked_pack, start=MARCH, end=APRIL, quantity=2))

    parked = pays(*change(shop, (linked_pack, 2), (linked_pack, 1), share=1 / 2))
    ledger.go_to(2026, 4, 1)
    used = pays(shop.line(linked_pack, start=APRIL, end=MAY))

    assert (parked, used) == (0, 500 - 250)


def test_a_rise_that_is_billed_with_the_next_month_gives_its_difference_once(
    stripe, ledger, shop, pays
):
    pays(shop.line(shop.starter, start=MARCH, end=APRIL))
    ledger.go_to(2026, 4, 1)
    ledger.sweep()
    shop.now = APRIL
    rise = change(shop, (shop.starter, 1), (shop.scale, 1), share=0.68, at=MARCH + 10 * 86_400)

    richer = pays(*rise, shop.line(shop.scale, start=APRIL, end=MAY))
    ledger.go_to(2026, 4, 28)
    stripe.drip()
    ledger.sweep()

    assert richer == 3000 + 4000
    assert ledger.see("acme").credits == 3000 + 4000
    assert ledger.audit().agrees


def test_a_rise_within_a_year_that_is_billed_with_the_next_gives_the_months_it_paid_for(
    stripe, ledger, shop
):
    line = shop.line(shop.scale, start=seconds(2025, 11, 1), end=APRIL, amount=70_000)
    old = shop.line(shop.starter, start=seconds(2025, 11, 1), end=APRIL, amount=-37_000)
    shop.now = APRIL
    ledger.go_to(2026, 4, 1)
    next_year = shop.line(shop.scale, start=APRIL, end=seconds(2027, 4, 1), amount=229_000)
    for item in (old, line):
        item["proration"] = True
        if shop.basil:
            item["parent"]["subscription_item_details"]["proration"] = True

    shop.settles(old, line, next_year)
    stripe.deliver(*shop.events)
    at_once = ledger.see("acme").credits
    ledger.go_to(2026, 5, 2)
    stripe.drip()
    ledger.sweep()

    assert at_once == 5 * 3000 + 4000
    assert ledger.see("acme").credits == 4000
