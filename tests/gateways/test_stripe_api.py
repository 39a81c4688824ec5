"""What the gateway reads from Stripe: objects whole, lists to their end, as plain dicts."""

import datetime as dt

import pytest

from billing.errors import StripeRefused
from billing.stripe import kinds as our_kinds
from billing.stripe.apply import facts_of
from gateways.stripe_api import PINNED
from gateways.stripe_kinds import KINDS
from tests import stripe_objects as objects
from tests.stripe_objects import NOW

SAMPLES = {
    "charge": objects.charge(refunds=[objects.refund()]),
    "checkout_session": objects.checkout_session(
        line_items=[
            {"id": "li_1", "object": "item", "price": objects.price(product=objects.product())}
        ]
    ),
    "credit_note": objects.credit_note(),
    "customer": objects.customer(),
    "dispute": objects.dispute(),
    "event": objects.event(),
    "invoice": objects.invoice(),
    "invoice_payment": objects.invoice_payment(),
    "payment_intent": objects.payment_intent(),
    "payment_method": objects.payment_method(),
    "price": objects.price(product=objects.product()),
    "product": objects.product(),
    "refund": objects.refund(),
    "subscription": objects.subscription(),
    "v2_event": objects.v2_event(),
}


def plain(value):
    """Whether a value is what JSON is made of, to its depth, and nothing of the SDK's."""
    if isinstance(value, dict):
        return type(value) is dict and all(plain(inner) for inner in value.values())
    if isinstance(value, list):
        return all(plain(inner) for inner in value)
    return type(value) in {str, int, float, bool, type(None)}


# --- one object ---------------------------------------------------------------------------------


def test_there_is_a_sample_of_every_kind():
    assert set(SAMPLES) == set(KINDS)


@pytest.mark.parametrize("kind", SAMPLES)
def test_an_object_comes_as_stripe_keeps_it(fake, stripe_api, kind):
    fake.keep(SAMPLES[kind])

    found = stripe_api.fetch(kind, SAMPLES[kind]["id"])

    assert found == SAMPLES[kind]
    assert plain(found)


@pytest.mark.parametrize("kind", [kind for kind in SAMPLES if "event" not in kind])
def test_what_stripe_tells_is_what_the_domain_reads(fake, stripe_api, kind):
    fake.keep(SAMPLES[kind])

    found = stripe_api.fetch(kind, SAMPLES[kind]["id"])

    assert facts_of(kind, found).id == SAMPLES[kind]["id"]


def test_all_is_fetched_that_the_domain_reads_but_what_never_changes():
    assert set(our_kinds.KINDS) - set(KINDS) == {"cash_transaction"}


@pytest.mark.parametrize("kind", SAMPLES)
def test_an_object_that_stripe_does_not_have_is_none(stripe_api, kind):
    assert stripe_api.fetch(kind, "nothing_1") is None


def test_a_deleted_customer_says_so(fake, stripe_api):
    fake.keep(objects.deleted("customer", "cus_1"))

    assert stripe_api.fetch("customer", "cus_1") == {
        "id": "cus_1",
        "object": "customer",
        "deleted": True,
    }


def test_an_invoice_comes_with_all_its_lines_and_payments(fake, stripe_api):
    lines = [objects.line(f"il_{n}", amount=n) for n in range(250)]
    payments = [objects.invoice_payment(f"inpay_{n}") for n in range(12)]
    fake.keep(objects.invoice(lines=lines, payments=payments))

    found = stripe_api.fetch("invoice", "in_1")

    assert found["lines"]["data"] == lines
    assert found["payments"]["data"] == payments
    assert (found["lines"]["has_more"], found["payments"]["has_more"]) == (False, False)


def test_a_subscription_comes_with_all_its_items(fake, stripe_api):
    items = [objects.subscription_item(f"si_{n}", quantity=n) for n in range(20)]
    others = objects.subscription_item("si_x", subscription="sub_2")
    fake.keep(objects.subscription(items=items), objects.subscription("sub_2", items=[others]))

    found = stripe_api.fetch("subscription", "sub_1")

    assert found["items"]["data"] == items


def test_a_charge_comes_with_all_its_refunds(fake, stripe_api):
    refunds = [objects.refund(f"re_{n}", amount=100) for n in range(15)]
    fake.keep(objects.charge(refunds=refunds))

    found = stripe_api.fetch("charge", "ch_1")

    assert (found["refunds"]["data"], found["amount_refunded"]) == (refunds, 1500)


def test_a_checkout_session_comes_with_its_prices_and_their_products(fake, stripe_api):
    items = [{"id": f"li_{n}", "object": "item", "price": objects.price()} for n in range(11)]
    fake.keep(objects.product(metadata={"plan": "starter"}))
    fake.keep(objects.checkout_session(line_items=items))

    found = stripe_api.fetch("checkout_session", "cs_test_1")

    plans = [each["price"]["product"]["metadata"]["plan"] for each in found["line_items"]["data"]]
    assert plans == ["starter"] * 11


def test_a_price_comes_with_its_product(fake, stripe_api):
    fake.keep(objects.product(), objects.price())

    assert stripe_api.fetch("price", "price_1")["product"] == objects.product()


@pytest.mark.parametrize("object_id", ["gold plan", "50%/month", "été", "a?b=c#d", "a.b"])
def test_an_id_that_a_person_chose_is_found(fake, stripe_api, object_id):
    fake.keep(objects.price(object_id, product=objects.product()))

    assert stripe_api.fetch("price", object_id)["id"] == object_id


@pytest.mark.parametrize("object_id", ["", ".", "..", "x" * 256])
def test_an_id_that_would_lead_elsewhere_is_refused_unasked(fake, stripe_api, object_id):
    with pytest.raises(StripeRefused, match="impossible_id"):
        stripe_api.fetch("customer", object_id)

    assert fake.asked == []


def test_the_version_is_pinned_whatever_the_accounts_default(fake, stripe_api):
    fake.keep(objects.customer(), objects.v2_event())

    stripe_api.fetch("customer", "cus_1")
    stripe_api.fetch("v2_event", "evt_test_65U1")

    assert [headers["Stripe-Version"] for _, _, headers in fake.asked] == [PINNED, PINNED]


def test_stripe_hears_nothing_of_this_machine_but_what_it_needs(fake, stripe_api):
    stripe_api.fetch("customer", "cus_1")
    stripe_api.fetch("customer", "cus_1")

    sent = [headers for _, _, headers in fake.asked]
    assert not any("X-Stripe-Client-Telemetry" in headers for headers in sent)
    assert not any("telemetry_id" in headers["X-Stripe-Client-User-Agent"] for headers in sent)


# --- lists --------------------------------------------------------------------------------------


def test_a_list_goes_on_to_its_end_newest_first(fake, stripe_api):
    fake.keep(*[objects.customer(f"cus_{n}") for n in range(230)])

    found = [each["id"] for each in stripe_api.list("customer")]

    assert found == [f"cus_{n}" for n in reversed(range(230))]
    assert len(fake.asked) == 3


def test_a_list_asks_for_a_page_only_when_it_is_wanted(fake, stripe_api):
    fake.keep(*[objects.customer(f"cus_{n}") for n in range(230)])

    next(stripe_api.list("customer"))

    assert len(fake.asked) == 1


def test_a_list_takes_stripes_own_filters(fake, stripe_api):
    ended = objects.subscription("sub_2", customer="cus_2", status="canceled")
    fake.keep(objects.subscription("sub_1"), ended)
    fake.keep(objects.invoice_payment("inpay_1"))
    fake.keep(objects.invoice_payment("inpay_2", payment={"payment_intent": "pi_2"}))

    def ids(kind, **filters):
        return [each["id"] for each in stripe_api.list(kind, **filters)]

    assert ids("subscription") == ["sub_1"]
    assert ids("subscription", status="all") == ["sub_2", "sub_1"]
    assert ids("subscription", status="all", customer="cus_2") == ["sub_2"]
    assert ids("invoice_payment", payment={"payment_intent": "pi_2"}) == ["inpay_2"]


def test_events_are_those_from_one_moment_to_another_both_included(fake, stripe_api):
    fake.keep(*[objects.event(f"evt_{n}", created=NOW + n) for n in range(300)])
    since = dt.datetime.fromtimestamp(NOW + 20, dt.UTC)
    until = dt.datetime.fromtimestamp(NOW + 270, dt.UTC)

    found = [each["id"] for each in stripe_api.events(since=since, until=until)]

    assert found == [f"evt_{n}" for n in range(270, 19, -1)]


def test_what_happens_while_a_list_is_read_moves_nothing_out_of_it(fake, stripe_api):
    fake.keep(*[objects.event(f"evt_{n}") for n in range(150)])
    moment = dt.datetime.fromtimestamp(NOW, dt.UTC)

    events = stripe_api.events(since=moment, until=moment)
    first = [next(events)["id"]]
    fake.keep(*[objects.event(f"evt_new_{n}") for n in range(10)])

    assert first + [each["id"] for each in events] == [f"evt_{n}" for n in reversed(range(150))]
