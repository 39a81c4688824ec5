"""Credits that were bought for good, beside renewals, reversals, captures, dunning and plans."""

from tests.billing.seams.conftest import APRIL, MAY


def test_a_pack_outlives_a_renewal_and_burns_after_the_month(acme):
    acme.begins_cycle()
    acme.buys_pack()
    acme.uses(400, "march")

    acme.goes_on(days=31)
    acme.uses(1200, "april")

    assert acme.left() == [("top_up", 300)]
    assert acme.agrees()


def test_a_reversal_gives_a_pack_back_after_a_renewal_and_the_old_month_expires(acme):
    acme.begins_cycle()
    acme.buys_pack()
    acme.uses(1200, "march")
    acme.goes_on(days=31)

    acme.reverses("march")
    acme.goes_on(minutes=1)

    assert acme.left() == [("plan", 1000), ("top_up", 500)]
    assert acme.agrees()


def test_a_capture_takes_the_month_first_and_then_the_pack(acme):
    acme.begins_cycle()
    acme.buys_pack()
    acme.holds(1400, "hold")

    acme.captures("hold", 1100)

    assert acme.left() == [("top_up", 400)]
    assert acme.agrees()


def test_a_capture_after_a_renewal_takes_what_the_hold_reserved(acme):
    acme.begins_cycle()
    acme.buys_pack()
    acme.goes_on(days=30, hours=20)
    acme.holds(1400, "hold")
    acme.goes_on(hours=12)

    acme.captures("hold")

    assert acme.left() == [("plan", 1000), ("top_up", 100)]
    assert acme.agrees()


def test_a_pack_is_spent_during_dunning_and_stays_through_a_suspension(acme):
    acme.subscribes()
    acme.buys_pack()
    acme.goes_on(days=31)
    invoice = acme.card_fails()

    assert acme.uses(100, "asked") == "taken"
    acme.goes_on(days=15)
    assert acme.stripe.status("acme") == "suspended payment_failed"
    assert acme.holds(100, "no") == "AccountSuspended"
    assert acme.uses(100, "done anyway") == "taken"
    acme.at_stripe().pays(invoice)
    state = acme.shop.subscription(acme.shop.price(), start=APRIL, end=MAY)
    acme.shop.event("customer.subscription.updated", state)
    acme.deliver()

    assert acme.stripe.status("acme") == "active"
    assert acme.left() == [("plan", 1000), ("top_up", 300)]
    assert acme.agrees()


def test_a_change_of_plan_by_the_app_leaves_a_pack_alone(acme):
    acme.begins_cycle()
    acme.buys_pack()
    acme.change_plan("acme", "growth")
    acme.goes_on(minutes=1)

    acme.uses(2100, "work")
    acme.change_plan("acme", "starter")
    acme.goes_on(days=31)

    assert acme.left() == [("plan", 1000), ("top_up", 400)]
    assert acme.agrees()
