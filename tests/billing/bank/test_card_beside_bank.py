"""A customer who pays by card and by transfer: neither way ends, bills or overwrites the other."""

import pytest
from sqlalchemy import select

from billing.lifecycle.dunning import sweep as dunning_sweep
from models.life import DunningCase
from tests.billing.bank.story import line
from tests.billing.stripe.story import Stripe
from tests.billing.stripe.writing import MONTH_S
from worker.database import transaction


@pytest.fixture
def acme(shop):
    """A customer who has paid for March by transfer, and got the invoice for April."""
    shop.open_account("acme", status="trial")
    invoice = shop.announce("acme")
    shop.receive(line("89.00", reference=invoice.reference))
    shop.go_to(2026, 3, 19)
    shop.bill()
    return shop


@pytest.fixture
def stripe(acme):
    return Stripe(acme)


def subscribes(ledger, stripe, *, months=1, with_subscription=True):
    """The customer subscribes by card and pays; returns the shop at Stripe."""
    shop = stripe.shop("acme")
    start, end = shop.now, shop.now + months * MONTH_S
    if with_subscription:
        state = shop.subscription(shop.price(), start=start, end=end)
        shop.event("customer.subscription.created", state)
    shop.pays(shop.bills(shop.price(), start=start, end=end))
    stripe.deliver(*shop.events)
    shop.events.clear()
    return shop


def goes_on(ledger, days):
    """Let days pass with all that sweeps do on each."""
    for _ in range(days):
        ledger.pass_time(days=1)
        ledger.bill()
        ledger.sweep(dunning_sweep.step_due)


@pytest.mark.parametrize("months", [1, 12], ids=["monthly", "yearly"])
@pytest.mark.parametrize("with_subscription", [True, False])
def test_a_card_that_pays_voids_the_open_invoice_for_a_transfer(
    acme, stripe, months, with_subscription
):
    acme.pass_time(days=5)
    subscribes(acme, stripe, months=months, with_subscription=with_subscription)

    goes_on(acme, 29)

    assert acme.invoices("acme")[1:] == [("void", 0, 8900)]
    assert acme.status("acme") == "active"


def test_an_invoice_that_is_paid_in_part_is_set_aside_and_a_reviewer_is_asked(acme, stripe):
    acme.receive(line("40.00", reference="RF470000000002"))
    acme.pass_time(days=5)
    subscribes(acme, stripe, months=12)

    goes_on(acme, 40)

    assert acme.invoices("acme")[1:] == [("open", 4000, 8900)]
    assert acme.status("acme") == "active"
    assert [item.review for item in acme.queue()] == [
        "4000 of 8900 came for BT-2026-000002, and the account pays by card now"
    ]


def test_a_transfer_never_replaces_a_card_that_pays_by_itself(acme, stripe):
    subscribes(acme, stripe, months=12)
    acme.pass_time(days=1)
    invoice = acme.announce("acme", "growth", key="change")

    acme.receive(line("139.00", reference=invoice.reference))

    assert acme.credit("acme") == 13900
    assert acme.host()[2][0][1] == "stripe"
    assert "pays by card until" in acme.queue()[0].review


def test_a_reviewer_may_use_the_credit_to_change_to_transfers(acme, stripe):
    subscribes(acme, stripe, months=12)
    acme.pass_time(days=1)
    invoice = acme.announce("acme", "growth", key="change")
    acme.receive(line("139.00", reference=invoice.reference))

    acme.use_credit("dev@example.com", invoice.id)

    assert acme.credit("acme") == 0
    assert acme.host()[2][0][1] == "bank_transfer"
    acme.check()


def test_no_renewal_is_billed_by_transfer_while_a_card_pays(shop):
    shop.open_account("acme", status="trial")
    invoice = shop.announce("acme")
    shop.receive(line("89.00", reference=invoice.reference))
    subscribes(shop, Stripe(shop), months=12)

    shop.go_to(2026, 3, 25)

    assert shop.bill() == []


@pytest.mark.parametrize("ends", ["canceled", "unpaid", "paused", "incomplete_expired", "past_due"])
def test_a_period_that_was_paid_by_transfer_outlives_a_card(acme, stripe, ends):
    acme.receive(line("89.00", reference="RF470000000002"))
    shop = subscribes(acme, stripe)
    shop.now += 60
    state = shop.subscription(shop.price(), start=shop.now, end=shop.now + MONTH_S, status=ends)

    stripe.deliver(shop.event("customer.subscription.updated", state))

    assert acme.status("acme") == "active"
    if ends != "past_due":
        assert acme.host()[2][0][:2] == ("active", "bank_transfer")


def test_a_card_that_pays_lets_in_beside_a_period_that_was_paid_by_transfer(acme, stripe):
    acme.receive(line("89.00", reference="RF470000000002"))
    shop = subscribes(acme, stripe)
    shop.now += 60
    end = shop.now + MONTH_S
    ended = shop.subscription(shop.price(), start=shop.now, end=end, status="canceled")
    stripe.deliver(shop.event("customer.subscription.deleted", ended))
    acme.change_status("acme", "cancelled", reason="manual")
    shop.events.clear()

    shop.pays(shop.bills(shop.price(), start=shop.now, end=end, subscription="sub_2"))
    stripe.deliver(*shop.events)

    assert acme.status("acme") == "active"


def test_a_failed_card_duns_nobody_who_has_paid_by_transfer(acme, stripe):
    acme.receive(line("89.00", reference="RF470000000002"))
    shop = stripe.shop("acme")
    invoice = shop.bills(shop.price(), start=shop.now, end=shop.now + MONTH_S)
    shop.now += 60
    invoice |= {"attempt_count": 1}
    shop.event("invoice.payment_failed", invoice)

    stripe.deliver(*shop.events)
    with transaction() as ctx:
        assert ctx.session.scalars(select(DunningCase)).all() == []
    acme.pass_time(days=15)
    acme.sweep(dunning_sweep.step_due)

    assert acme.status("acme") == "active"
    assert "payment.missing" not in acme.events()
