"""Purchases by Checkout or by an intent outside of invoices, and money without an effect."""

import pytest

from billing.stripe import top_ups, unanswered
from billing.stripe.apply import facts_of
from billing.stripe.catalog import Catalog
from billing.stripe.errors import (
    AbsurdCredits,
    ForeignProduct,
    UnhandledType,
    UnknownCustomer,
    UnknownPrice,
)
from billing.stripe.fields import Price
from tests.billing.stripe.writing import Shop, seconds
from worker.database import transaction

MARCH, APRIL = seconds(2026, 3, 1), seconds(2026, 4, 1)

NOTHING = Catalog(frozenset(), {}, {}, {})
PACKS = Catalog(frozenset(), {}, {}, {"price_pack": Price("price_pack", None, credits=300)})


@pytest.fixture
def shop() -> Shop:
    return Shop(now=MARCH)


def items(*quantities):
    return {"data": [{"price": "price_pack", "quantity": quantity} for quantity in quantities]}


def facts(*objects):
    return [facts_of(item["object"].replace(".", "_"), item) for item in objects]


def buys(*objects, catalog=NOTHING):
    """The credits that the payment buys; None if it buys nothing."""
    bought = top_ups.purchases_of(facts(*objects), catalog, 7)
    assert len(bought) <= 1
    return bought[0].credits if bought else None


@pytest.mark.parametrize(
    ("of_items", "of_session", "of_intent", "credits"),
    [
        pytest.param((2, 1), 500, 700, 900, id="the session's items first"),
        pytest.param((), 500, 700, 500, id="then its metadata"),
        pytest.param((), None, 700, 700, id="then those of its intent"),
        pytest.param((), None, None, None, id="else nothing"),
    ],
)
def test_the_items_of_a_session_come_before_its_metadata_and_its_intents(
    shop, of_items, of_session, of_intent, credits
):
    metadata = {"credits": str(of_intent)} if of_intent else {}
    intent = shop.intent(2500, metadata=metadata)
    session = shop.session(2500, intent=intent, credits=of_session, line_items=items(*of_items))

    assert buys(intent, session, catalog=PACKS) == credits


@pytest.mark.parametrize(
    ("changed", "credits"),
    [
        pytest.param({}, 500, id="succeeded"),
        pytest.param({"amount_received": 0}, None, id="succeeded with nothing received"),
        pytest.param({"status": "processing"}, None, id="processing"),
        pytest.param({"status": "requires_capture"}, None, id="only held"),
        pytest.param({"invoice": "in_1"}, None, id="of an invoice"),
    ],
)
def test_an_intent_of_its_own_buys_what_its_metadata_say_once_money_came(shop, changed, credits):
    assert buys(shop.intent(2500, metadata={"credits": "500"}) | changed) == credits


@pytest.mark.parametrize("mode", ["subscription", "setup"])
def test_a_session_of_another_mode_buys_nothing_although_its_intent_was_paid(shop, mode):
    intent = shop.intent(2500, metadata={"credits": "500"})

    assert buys(intent, shop.session(2500, intent=intent, credits=500, mode=mode)) is None


def test_a_purchase_is_named_after_the_intent_whichever_object_comes_first(shop):
    intent = shop.intent(2500, metadata={"credits": "500"})
    session = shop.session(2500, intent=intent, credits=500)
    free = shop.session(0, credits=500)

    bought = [
        top_ups.purchases_of(facts(*objects), NOTHING, 7)[0]
        for objects in ((intent,), (session,), (session, intent), (free,))
    ]

    assert [item.key for item in bought] == [
        *[f"stripe:{intent['id']}"] * 3,
        f"stripe:{free['id']}",
    ]
    assert {item.origin for item in bought[:3]} == {intent["id"]}
    assert {(item.account_id, item.source, item.ends_at) for item in bought} == {
        (7, "top_up", None)
    }


def test_more_credits_than_anybody_sells_are_a_mistake(shop):
    assert buys(shop.session(2500, credits=100_000_000)) == 100_000_000
    with pytest.raises(AbsurdCredits):
        buys(shop.session(2500, credits=100_000_001))


@pytest.mark.parametrize(
    ("objects", "says"),
    [
        pytest.param(lambda s: [s.session(1, credits=5)], True, id="a session"),
        pytest.param(lambda s: [s.session(1)], False, id="a session without credits"),
        pytest.param(lambda s: [s.session(1, credits=5, mode="setup")], False, id="no payment"),
        pytest.param(lambda s: [s.intent(1, metadata={"credits": "5"})], True, id="an intent"),
        pytest.param(
            lambda s: [s.intent(1, metadata={"credits": "5"}, invoice="in_1")],
            False,
            id="an invoice's intent",
        ),
        pytest.param(lambda s: [s.intent(1)], False, id="an intent without credits"),
        pytest.param(lambda s: [s.charge(1)], False, id="a charge"),
    ],
)
def test_metadata_say_what_a_payment_buys_whatever_its_prices_are(shop, objects, says):
    assert top_ups.by_metadata(facts(*objects(shop))) is says


# --- money without an effect -------------------------------------------------------------------------------


@pytest.fixture
def noted(stripe, ledger):
    """The facts that a refusal of this object gets for the operator; acme is `cus_1`."""
    ledger.open_account("acme", stripe_customer_id="cus_1")
    ledger.open_account("other")

    def noted(source, error=None, catalog=NOTHING):
        error = error or UnknownCustomer()
        (read,) = facts(source)
        with transaction() as ctx:
            unanswered.note(ctx.session, {0: (read, error)}, catalog)
        return error.facts

    return noted


@pytest.mark.parametrize(
    ("source", "paid"),
    [
        pytest.param(lambda s: s.invoice([], status="paid", amount_paid=8900), 8900, id="paid"),
        pytest.param(lambda s: s.invoice([], status="open", amount_paid=8900), None, id="in part"),
        pytest.param(lambda s: s.invoice([], status="paid"), None, id="paid with nothing"),
        pytest.param(lambda s: s.session(2500), 2500, id="a session"),
        pytest.param(lambda s: s.session(2500, payment_status="unpaid"), None, id="unpaid"),
        pytest.param(lambda s: s.session(2500, mode="subscription"), None, id="by its invoices"),
        pytest.param(lambda s: s.intent(2500), 2500, id="an intent"),
        pytest.param(lambda s: s.intent(2500, status="processing"), None, id="on its way"),
        pytest.param(lambda s: s.intent(2500, invoice="in_1"), None, id="of an invoice"),
        pytest.param(lambda s: s.charge(2500), None, id="a charge, which its intent tells"),
    ],
)
def test_money_that_came_is_noted_with_its_account(ledger, shop, noted, source, paid):
    made = source(shop)
    names = {made["id"], made.get("payment_intent") or made["id"]}

    assert noted(made) == (
        {
            "account_id": ledger.ids["acme"],
            "payment": made["id"],
            "currency": "USD",
            "amount_minor": paid,
            "objects": sorted(names),
        }
        if paid
        else {}
    )


@pytest.mark.parametrize(
    ("error", "is_linked", "is_noted"),
    [
        pytest.param(ForeignProduct, False, True, id="nobody said that it is foreign"),
        pytest.param(ForeignProduct, True, False, id="an operator said that it is foreign"),
        pytest.param(UnknownPrice, True, True, id="it waits for another reason"),
        pytest.param(UnhandledType, False, False, id="it is no money of ours"),
    ],
)
def test_money_is_noted_unless_an_operator_has_answered(shop, noted, error, is_linked, is_noted):
    line = shop.line(shop.price(), start=MARCH, end=APRIL)
    invoice = shop.invoice([line], status="paid", amount_paid=8900)
    links = {"price_starter_month": None} if is_linked else {}

    assert bool(noted(invoice, error(), Catalog(frozenset(), links, {}, {}))) is is_noted


@pytest.mark.parametrize(
    ("changed", "slug"),
    [
        pytest.param({}, "acme", id="its customer"),
        pytest.param({"customer": "cus_9"}, None, id="a customer of nobody"),
        pytest.param({"metadata": {"account_id": "2"}}, "other", id="its metadata first"),
        pytest.param({"metadata": {"account_id": "999"}}, None, id="metadata that name nobody"),
        pytest.param(
            {"customer": None, "client_reference_id": "2"}, "other", id="what the payer wrote"
        ),
        pytest.param({"customer": None, "client_reference_id": "999"}, None, id="that is nobody"),
        pytest.param({"customer": None, "client_reference_id": "x"}, None, id="that is no id"),
        pytest.param({"client_reference_id": "2"}, "acme", id="its customer before the payer"),
        pytest.param({"customer": None}, None, id="nothing"),
    ],
)
def test_the_account_that_money_seems_to_be_of_is_noted(ledger, shop, noted, changed, slug):
    assert noted(shop.session(2500) | changed).get("account_id") == ledger.ids.get(slug)
