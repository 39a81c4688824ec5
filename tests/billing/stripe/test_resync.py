"""One object of Stripe's is synced by an operator as an event about it would be."""

import datetime as dt

import pytest

from billing.errors import AccountDeleted
from billing.stripe import resync
from billing.stripe.apply import Fetched
from billing.stripe.errors import (
    ForeignProduct,
    LivemodeMismatch,
    StripeKnowsNone,
    UnknownCustomer,
)
from billing.stripe.events import Guard
from billing.stripe.resync import AccountState
from tests.billing.stripe.writing import seconds
from worker.database import transaction

MARCH, APRIL = seconds(2026, 3, 1), seconds(2026, 4, 1)
LATER = dt.timedelta(minutes=1)


@pytest.fixture
def shop(stripe, ledger):
    ledger.open_account("acme", status="trial", plan="starter")
    return stripe.shop("acme", now=MARCH)


@pytest.fixture
def sync(ledger):
    """Syncs what Stripe answers; None: it does not know the object."""

    def sync(kind, object_id, source, *, prices=(), is_live=False):
        ledger.now += LATER
        fetched = Fetched(source, prices, ledger.now)
        with transaction(actor="operator:test") as ctx:
            guard = Guard(is_live=is_live)
            return resync.resync(ctx.at(ledger.now), kind, object_id, fetched, guard=guard)

    return sync


def paid(shop, *lines):
    lines = list(lines) or [shop.line(shop.price(), start=MARCH, end=APRIL)]
    return shop.invoice(lines, id="in_1", subscription="sub_1", status="paid", amount_paid=8900)


def test_the_account_is_shown_as_it_was_and_as_it_is(ledger, shop, sync):
    done = sync("invoice", "in_1", paid(shop))

    plan = ledger.plan("starter")
    assert done.account_id == ledger.ids["acme"]
    assert done.before == AccountState("trial", 0, plan)
    assert done.after == AccountState("active", 1000, plan)
    assert done.done == {"is_newer": True, "credits": 1000}


def test_a_suspension_is_shown_with_its_reasons(ledger, shop, sync):
    for reason in ("manual", "payment_failed"):
        ledger.change_status("acme", "suspended", reason=reason)

    done = sync("invoice", "in_1", paid(shop))

    assert done.before.status == "suspended (manual, payment_failed)"
    assert done.after.status == "suspended (manual)"


def test_a_price_has_no_account(shop, sync):
    done = sync("price", "price_starter_month", shop.price())

    assert (done.account_id, done.before, done.after) == (None, None, None)


@pytest.mark.parametrize("is_live", [True, False])
def test_an_object_of_the_other_mode_is_refused(ledger, shop, sync, is_live):
    source = paid(shop) | {"livemode": not is_live}

    with pytest.raises(LivemodeMismatch):
        sync("invoice", "in_1", source, is_live=is_live)
    assert sync("invoice", "in_1", source | {"livemode": is_live}, is_live=is_live).done["credits"]


def test_a_line_that_can_not_be_read_is_named_and_the_others_count(ledger, shop, sync):
    good, odd = [shop.line(shop.price(), start=MARCH, end=APRIL) for _ in range(2)]

    done = sync("invoice", "in_1", paid(shop, good, odd | {"quantity": -1}))

    assert done.done["error"] == "BadAmount"
    assert done.after.credits == 1000


def test_prices_that_were_fetched_with_an_object_are_kept_and_free_what_waited(
    stripe, ledger, shop, sync
):
    shop.basil = True
    waits = paid(shop) | {"id": "in_0"}
    outcome = stripe.deliver(shop.event("invoice.paid", waits))

    done = sync("invoice", "in_1", paid(shop), prices=[shop.price()])
    stripe.sweep()

    assert outcome == ["parked: UnknownPrice"]
    assert done.after.credits == 1000
    assert ledger.see("acme").credits == 2000


def test_what_is_refused_is_refused_by_name_and_changes_nothing(ledger, shop, sync):
    shirt = shop.price("") | {"id": "price_shirt", "product": "prod_shirt", "metadata": {}}
    foreign = paid(shop, shop.line(shirt, start=MARCH, end=APRIL))
    with pytest.raises(ForeignProduct):
        sync("invoice", "in_1", foreign)
    with pytest.raises(UnknownCustomer):
        sync("invoice", "in_1", paid(shop) | {"customer": "cus_9"})

    ledger.delete_account("acme")
    with pytest.raises(AccountDeleted):
        sync("invoice", "in_1", paid(shop))


# --- what Stripe does not know any more ------------------------------------------------------------------


def test_a_draft_that_stripe_has_deleted_is_noted_as_deleted(stripe, ledger, shop, sync):
    stripe.deliver(shop.event("invoice.created", paid(shop) | {"status": "draft"}))

    sync("invoice", "in_1", None)

    assert [status for status, *_ in stripe.invoices()] == ["deleted"]


@pytest.mark.parametrize(
    ("kind", "object_id"),
    [
        pytest.param("invoice", "in_9", id="it never was known"),
        pytest.param("subscription", "sub_1", id="Stripe deletes none of its kind"),
        pytest.param("customer", "in_1", id="it is of another kind"),
    ],
)
def test_what_stripe_does_not_know_and_can_not_have_deleted_is_named(
    stripe, ledger, shop, sync, kind, object_id
):
    state = shop.subscription(shop.price(), start=MARCH, end=APRIL)
    stripe.deliver(
        shop.event("invoice.created", paid(shop) | {"status": "draft"}),
        shop.event("customer.subscription.created", state),
    )

    with pytest.raises(StripeKnowsNone):
        sync(kind, object_id, None)
