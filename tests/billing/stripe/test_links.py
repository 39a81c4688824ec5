"""A link between an account and a customer, a session or a payment: what it refuses, and what it does."""

import pytest
from sqlalchemy import select

from billing.errors import AccountDeleted, Rejected, SystemAccount, UnknownAccount
from billing.stripe import links
from billing.stripe.errors import CustomerTaken, UnknownCustomer
from billing.stripe.links import Linked
from billing_client import AnnounceCheckout
from models.stripe import StripeEvent
from tests.billing.stripe.story import lots
from worker.database import transaction


@pytest.fixture
def shop(stripe, ledger):
    """A customer of nobody's; the accounts are acme, other, one that is deleted, and the app's own."""
    ledger.open_account("acme", status="trial")
    ledger.open_account("other", status="trial")
    ledger.open_account("gone", is_deleted=True)
    ledger.open_account("aws-admin")
    return stripe.shop()


@pytest.fixture
def link(ledger, shop):
    """Links an account by hand; returns the result, or the class of the refusal."""

    def link(slug, name, *, may_move=False):
        account_id = ledger.ids.get(slug, 999)
        try:
            with transaction(actor="operator:test") as ctx:
                at = ctx.at(ledger.now)
                return links.link_by_hand(at, account_id, name, may_move=may_move)
        except Rejected as error:
            return type(error)

    return link


def customer_of(stripe, slug):
    return stripe.end_state(slug)["customer"]


@pytest.mark.parametrize("may_move", [True, False], ids=["moved", "new"])
def test_a_customer_that_another_account_has_or_had_is_not_given_away(stripe, link, may_move):
    link("other", "cus_1")
    has = link("acme", "cus_1", may_move=may_move)
    link("other", "cus_2", may_move=True)
    had = link("acme", "cus_1", may_move=may_move)

    assert (has, had) == (CustomerTaken, CustomerTaken)
    assert customer_of(stripe, "acme") is None


def test_an_account_is_moved_only_where_that_is_said_and_may_be_moved_back(stripe, link):
    first = link("acme", "cus_1")
    refused = link("acme", "cus_2")
    moved = link("acme", "cus_2", may_move=True)
    back = link("acme", "cus_1", may_move=True)

    assert (first.is_new, first.moved_from, refused) == (True, None, CustomerTaken)
    assert (moved.moved_from, back.moved_from) == ("cus_1", "cus_2")
    assert customer_of(stripe, "acme") == "cus_1"


def test_a_link_that_is_there_is_no_new_one(link):
    link("acme", "cus_1")
    link("acme", "pi_1")

    again = [link("acme", name, may_move=True) for name in ("cus_1", "pi_1")]

    assert again == [Linked(is_new=False, events=0)] * 2


@pytest.mark.parametrize("name", ["cus_1", "cs_1", "pi_1", "ch_1", "py_1"])
@pytest.mark.parametrize(("slug", "error"), [("gone", AccountDeleted), ("nobody", UnknownCustomer)])
def test_an_account_that_is_deleted_or_unknown_is_linked_to_nothing(link, name, slug, error):
    assert link(slug, name) is error


def test_a_word_of_an_operator_replaces_an_earlier_one(link):
    link("other", "pi_1")

    assert link("acme", "pi_1").is_new
    assert not link("acme", "pi_1").is_new


@pytest.mark.parametrize(
    ("slug", "error"),
    [("gone", AccountDeleted), ("nobody", UnknownAccount), ("aws-admin", SystemAccount)],
)
def test_the_app_announces_no_checkout_of_an_account_that_is_not_billed(ledger, shop, slug, error):
    with pytest.raises(error), transaction() as ctx:
        message = AnnounceCheckout(ledger.ids.get(slug, 999), "cs_1")
        links.announce(ctx.at(ledger.now), message)


def test_a_session_that_the_app_announced_is_not_another_accounts_by_its_metadata(
    stripe, ledger, shop
):
    session = shop.session(2500, credits=500)
    session["metadata"]["account_id"] = str(ledger.ids["other"])
    with transaction() as ctx:
        links.announce(ctx.at(ledger.now), AnnounceCheckout(ledger.ids["acme"], session["id"]))

    stripe.deliver(shop.event("checkout.session.completed", session))

    assert (lots(ledger), lots(ledger, "other")) == ([("top_up", 500)], [])


@pytest.mark.parametrize("customer", ["cus_1", None])
def test_metadata_that_name_no_account_link_nothing(stripe, shop, customer):
    session = shop.session(2500, credits=500, customer=customer)
    session["metadata"]["account_id"] = "999"

    outcome = stripe.deliver(shop.event("checkout.session.completed", session))

    unknown = "UnknownCustomer" if customer else "UnknownPayment"
    assert outcome == [f"parked: {unknown}"]


def test_a_top_up_links_the_customer_of_an_account_that_has_none(stripe, ledger, shop):
    session = shop.session(2500, credits=500)
    session["metadata"]["account_id"] = str(ledger.ids["acme"])

    stripe.deliver(shop.event("checkout.session.completed", session))

    assert customer_of(stripe, "acme") == "cus_1"


# --- objects of one payment ----------------------------------------------------------------------------


def accounts_of_events(ledger):
    """The slugs of the accounts that the events were applied to, oldest first."""
    slugs = {account_id: slug for slug, account_id in ledger.ids.items()}
    with transaction() as ctx:
        rows = ctx.session.scalars(select(StripeEvent.account_id).order_by(StripeEvent.id))
        return [slugs.get(account_id) for account_id in rows]


def test_an_object_that_names_another_customer_is_not_the_payments_accounts(
    stripe, ledger, shop, link
):
    link("acme", "cus_1")
    link("other", "cus_2")
    intent = shop.intent(2500, metadata={"credits": "500"})
    charge = shop.charge(2500, intent=intent["id"], customer="cus_2")

    stripe.deliver(
        shop.event("payment_intent.succeeded", intent), shop.event("charge.succeeded", charge)
    )

    assert accounts_of_events(ledger) == ["acme", "other"]


@pytest.mark.parametrize("kind", ["refund", "dispute"])
def test_what_names_no_customer_belongs_to_the_account_of_its_payment(
    stripe, ledger, shop, link, kind
):
    link("acme", "cus_1")
    charge = shop.buys(credits=500)
    stripe.deliver(*shop.events)
    shop.now += 60
    claim = shop.refund(charge, 2500) if kind == "refund" else shop.dispute(charge)
    event = "refund.created" if kind == "refund" else "charge.dispute.created"

    stripe.deliver(shop.event(event, claim))

    assert accounts_of_events(ledger)[-1] == "acme"
    assert ledger.see("acme").available == 0


def test_a_payment_without_a_customer_is_its_sessions_by_the_metadata_of_either(
    stripe, ledger, shop
):
    shop.customer = None
    shop.account_id = ledger.ids["acme"]
    intent = shop.intent(2500, metadata=shop.metadata() | {"credits": "500"})
    charge = shop.charge(2500, intent=intent["id"])
    refund = shop.refund(charge, 2500) | {"payment_intent": None}

    stripe.deliver(
        shop.event("payment_intent.succeeded", intent),
        shop.event("charge.succeeded", charge),
        shop.event("refund.created", refund),
    )

    assert accounts_of_events(ledger) == ["acme"] * 3
    assert ledger.see("acme").credits == 0


def test_metadata_of_a_payment_count_once_the_account_that_they_name_is_there(stripe, ledger, shop):
    late = max(ledger.ids.values()) + 1
    shop.customer = None
    intent = shop.intent(2500, metadata={"account_id": str(late)})
    waits = stripe.deliver(shop.event("payment_intent.succeeded", intent))
    ledger.open_account("late", id=late)

    refund = shop.refund(shop.charge(2500, intent=intent["id"]), 2500)
    stripe.deliver(shop.event("refund.created", refund))

    assert waits == ["parked: UnknownPayment"]
    assert accounts_of_events(ledger)[-1] == "late"


@pytest.mark.parametrize("metadata", [{}, {"account_id": "2"}], ids=["no metadata", "another's"])
def test_a_refund_for_a_deleted_account_waits_for_it_whomever_its_metadata_name(
    stripe, ledger, shop, link, metadata
):
    link("acme", "cus_1")
    charge = shop.buys(credits=500)
    stripe.deliver(*shop.events)
    ledger.set_host("acme", is_deleted=True, stripe_customer_id=None)

    refund = shop.refund(charge, 2500, metadata=metadata)

    outcome = stripe.deliver(shop.event("refund.created", refund))

    assert outcome == ["parked: AccountDeleted"]


def test_of_a_deleted_accounts_payment_news_come_to_the_account_that_has_its_customer_now(
    stripe, ledger, shop, link
):
    link("acme", "cus_1")
    charge = shop.buys(credits=500)
    stripe.deliver(*shop.events)
    ledger.set_host("acme", is_deleted=True, stripe_customer_id=None)
    link("other", "cus_1")
    shop.now += 60

    outcome = stripe.deliver(shop.event("charge.updated", charge))

    assert outcome == ["applied"]
    assert accounts_of_events(ledger)[-1] == "other"
    assert ledger.see("other").credits == 0


def test_a_method_that_is_nobodys_is_no_reason_to_wait(stripe, shop):
    method = {"id": "pm_1", "object": "payment_method", "customer": None, "card": {}}

    outcome = stripe.deliver(shop.event("payment_method.updated", method))

    assert outcome == ["ignored: DetachedMethod"]
