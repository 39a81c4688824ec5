"""Whether an object here differs from Stripe's, and what of ours Stripe should have listed."""

import datetime as dt

import pytest
from sqlalchemy import update

from billing.stripe import drift
from billing.stripe.apply import facts_of
from models.host import Invoice, Subscription
from tests.billing.stripe.writing import seconds
from worker.database import transaction

MARCH, APRIL, MAY = seconds(2026, 3, 1), seconds(2026, 4, 1), seconds(2026, 5, 1)


@pytest.fixture
def shop(stripe, ledger):
    """Acme's customer; its subscription and its invoice are known as they are at Stripe."""
    ledger.open_account("acme", status="active")
    shop = stripe.shop("acme", now=MARCH)
    shop.state = shop.subscription(shop.price(), start=MARCH, end=APRIL)
    shop.paid = shop.invoice(
        [shop.line(shop.price(), start=MARCH, end=APRIL)], status="paid", amount_paid=8900
    )
    shop.person = {"id": "cus_1", "object": "customer"}
    stripe.deliver(
        shop.event("customer.created", shop.person),
        shop.event("customer.subscription.created", shop.state),
        shop.event("invoice.paid", shop.paid),
    )
    return shop


def compare(kind, source=None, object_id=None):
    facts = source and facts_of(kind, source)
    with transaction() as ctx:
        return drift.compare(ctx.session, kind, object_id or source["id"], facts)


def test_what_is_equal_does_not_differ(shop):
    objects = {"customer": shop.person, "subscription": shop.state, "invoice": shop.paid}

    assert [compare(kind, source) for kind, source in objects.items()] == [None] * 3


@pytest.mark.parametrize(
    ("kind", "changed", "name"),
    [
        ("customer", {"deleted": True}, "is_deleted"),
        ("subscription", {"status": "past_due"}, "status"),
        ("subscription", {"current_period_end": MAY}, "end"),
        ("subscription", {"cancel_at_period_end": True}, "cancels_at_end"),
        ("invoice", {"status": "void"}, "status"),
        ("invoice", {"currency": "eur"}, "currency"),
        ("invoice", {"total": 8901}, "total"),
        ("invoice", {"amount_due": 8901}, "due"),
        ("invoice", {"amount_paid": 8901}, "paid"),
    ],
)
def test_each_fact_that_credits_or_access_follow_from_is_compared(shop, kind, changed, name):
    ours = {"customer": shop.person, "subscription": shop.state, "invoice": shop.paid}[kind]

    difference = compare(kind, ours | changed)

    assert difference.what == "differs"
    assert list(difference.ours) == [name]
    assert difference.command == f"billing stripe sync {kind} {ours['id']}"


@pytest.mark.parametrize("kind", ["subscription", "invoice"])
def test_an_object_that_moved_to_another_customer_of_ours_differs(ledger, shop, kind):
    ledger.open_account("other", stripe_customer_id="cus_2")
    ours = {"subscription": shop.state, "invoice": shop.paid}[kind]

    difference = compare(kind, ours | {"customer": "cus_2"})

    assert (difference.account_id, difference.ours["customer"]) == (ledger.ids["other"], "cus_1")


def test_items_in_another_order_are_equal(stripe, ledger, shop):
    ledger.plan("growth")
    items = [{"id": f"si_{name}", "price": shop.price(name)} for name in ("starter", "growth")]
    state = shop.state | {"items": {"data": items}}
    shop.now += 60
    stripe.deliver(shop.event("customer.subscription.updated", state))

    assert compare("subscription", state | {"items": {"data": items[::-1]}}) is None


@pytest.mark.parametrize(
    ("table", "changed", "name"),
    [
        (Invoice, {"status": "open"}, "app.status"),
        (Invoice, {"due_minor": 1}, "app.due_minor"),
        (Invoice, {"paid_minor": 1}, "app.paid_minor"),
        (Subscription, {"status": "canceled"}, "app.status"),
        (Subscription, {"cancel_at_period_end": True}, "app.cancels_at_end"),
    ],
)
def test_a_row_of_the_app_that_somebody_changed_differs(shop, table, changed, name):
    with transaction() as ctx:
        ctx.session.execute(update(table).values(**changed))
    kind, source = ("invoice", shop.paid) if table is Invoice else ("subscription", shop.state)

    assert list(compare(kind, source).ours) == [name]


def test_a_row_of_the_app_shows_the_status_that_the_newest_invoice_corrects(stripe, shop):
    shop.now += 60
    state = shop.state | {"status": "past_due", "latest_invoice": shop.paid["id"]}
    stripe.deliver(shop.event("customer.subscription.updated", state))

    assert stripe.subscription("acme").status == "active"
    assert compare("subscription", state) is None


def test_a_row_of_the_app_shows_one_subscription_and_the_others_are_no_difference(stripe, shop):
    second = shop.state | {"id": "sub_2", "status": "past_due", "created": MAY}
    shop.now += 60
    stripe.deliver(shop.event("customer.subscription.created", second))

    assert compare("subscription", second) is None


@pytest.mark.parametrize(("is_ended", "differs"), [(False, True), (True, False)])
def test_without_a_row_of_the_app_only_a_running_subscription_differs(
    stripe, shop, is_ended, differs
):
    state = shop.state | ({"status": "canceled"} if is_ended else {})
    shop.now += 60
    stripe.deliver(shop.event("customer.subscription.updated", state))
    with transaction() as ctx:
        ctx.session.execute(Subscription.__table__.delete())

    assert (compare("subscription", state) is not None) is differs


# --- missing on one side ---------------------------------------------------------------------------------


def test_what_is_missing_here_is_found_for_a_customer_of_ours(shop):
    difference = compare("invoice", shop.paid | {"id": "in_new"})

    assert (difference.what, difference.ours) == ("missing here", {})
    assert difference.stripe["total"] == 8900


def test_what_sells_nothing_of_ours_is_not_missing(shop):
    shirt = shop.price("") | {"id": "price_shirt", "product": "prod_shirt", "metadata": {}}
    invoice = shop.invoice([shop.line(shirt, start=MARCH, end=APRIL)])

    assert compare("invoice", invoice) is None


@pytest.mark.parametrize(
    ("customer", "changed", "is_missing"),
    [
        pytest.param(None, {}, True, id="named, and the account has none"),
        pytest.param("cus_9", {"deleted": True}, True, id="deleted, and the account has it"),
        pytest.param("cus_9", {}, False, id="the account has it: nothing differs"),
        pytest.param("cus_8", {}, False, id="the account has another one"),
        pytest.param("cus_8", {"deleted": True}, False, id="and this one is deleted"),
    ],
)
def test_a_customer_is_missing_where_its_account_should_have_it(
    ledger, shop, customer, changed, is_missing
):
    account_id = ledger.open_account("other", stripe_customer_id=customer)
    person = {"id": "cus_9", "metadata": {"account_id": str(account_id)}}

    assert (compare("customer", person | changed) is not None) is is_missing


def test_metadata_do_not_outweigh_the_customer_of_an_object(ledger, shop):
    other = ledger.open_account("other")

    difference = compare(
        "invoice", shop.paid | {"id": "in_9", "metadata": {"account_id": str(other)}}
    )

    assert difference.account_id == ledger.ids["acme"]


def test_an_object_of_nobody_never_differs(shop):
    assert compare("invoice", shop.paid | {"id": "in_9", "customer": "cus_9"}) is None


def test_an_object_of_a_deleted_account_never_differs(ledger, shop):
    ledger.delete_account("acme")

    assert compare("invoice", shop.paid | {"total": 1}) is None


@pytest.mark.parametrize(
    ("kind", "command"), [("invoice", "billing stripe sync invoice {id}"), ("subscription", None)]
)
def test_what_stripe_does_not_know_is_found_and_synced_where_it_may_be_deleted(shop, kind, command):
    source = {"invoice": shop.paid, "subscription": shop.state}[kind]

    difference = compare(kind, object_id=source["id"])

    assert (difference.what, difference.stripe) == ("unknown to Stripe", {})
    assert difference.command == (command and command.format(id=source["id"]))


def test_what_is_known_as_deleted_and_stripe_does_not_know_is_equal(stripe, shop):
    shop.now += 60
    stripe.deliver(shop.event("invoice.deleted", shop.paid))

    assert compare("invoice", object_id=shop.paid["id"]) is None


def test_stripe_should_have_listed_what_goes_on_and_what_is_recent(stripe, ledger, shop):
    old, gone = shop.paid | {"id": "in_old", "created": MARCH - 1}, shop.paid | {"id": "in_gone"}
    ended = shop.state | {"id": "sub_ended", "status": "canceled"}
    ledger.open_account("other", stripe_customer_id="cus_2")
    shop.now += 60
    stripe.deliver(
        shop.event("invoice.paid", old),
        shop.event("invoice.deleted", gone),
        shop.event("customer.subscription.deleted", ended),
    )
    since = dt.datetime.fromtimestamp(MARCH, dt.UTC)

    with transaction() as ctx:
        unseen = {
            kind: drift.unseen(ctx.session, kind, set(), since=since) for kind in drift.COMPARED
        }
        seen = drift.unseen(ctx.session, "customer", {"cus_1", "cus_2"}, since=since)

    assert unseen == {
        "customer": ["cus_1", "cus_2"],
        "subscription": ["sub_1"],
        "invoice": [shop.paid["id"]],
    }
    assert seen == []


def test_a_deleted_customer_that_no_account_has_is_not_expected_in_the_list(stripe, ledger, shop):
    shop.now += 60
    stripe.deliver(shop.event("customer.deleted", shop.person))
    ledger.set_host("acme", stripe_customer_id=None)

    with transaction() as ctx:
        assert drift.unseen(ctx.session, "customer", set(), since=ledger.now) == []
