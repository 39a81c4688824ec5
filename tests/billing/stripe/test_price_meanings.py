"""The meaning of a price: a plan, credits, or nothing of ours; and invoices that wait for a price."""

from dataclasses import replace

import pytest

from billing.host.accounts import HostPlan
from billing.stripe import catalog as prices
from billing.stripe.apply import facts_of
from billing.stripe.catalog import Catalog, Meaning, is_unexplained
from billing.stripe.errors import ForeignProduct, UnknownPlan, UnknownPrice
from billing.stripe.fields import Price
from tests.billing.stripe.writing import Shop, seconds

MARCH, APRIL = seconds(2026, 3, 1), seconds(2026, 4, 1)

PLANS = {
    slug: HostPlan(number, slug, 1000 * number, is_active=True, is_free=False)
    for number, slug in enumerate(("starter", "pro", "pro_plus"), start=1)
}
STARTER, PRO, PLUS = [Meaning(plan=plan) for plan in PLANS.values()]
PACK = Meaning(credits=500)

MONTHLY = Price("price_1", "prod_1", is_one_time=False)
ONE_TIME = Price("price_1", "prod_1", is_one_time=True)
UNSAID = Price("price_1", "prod_1")


def knows(*prices, **links) -> Catalog:
    """A catalog of these known prices, by id or product, and links of operators."""
    known = {price.id or price.product or "": price for price in prices}
    names = frozenset({"price_1", "prod_1", *known})
    return Catalog(names, links, PLANS, known)


@pytest.mark.parametrize(
    ("price", "catalog", "meaning"),
    [
        pytest.param(
            replace(MONTHLY, plan="pro"),
            knows(price_1=STARTER, prod_1=PACK),
            STARTER,
            id="a link of the price comes first",
        ),
        pytest.param(
            replace(MONTHLY, plan="pro"),
            knows(price_1=None, prod_1=PACK),
            None,
            id="also one that says it is none of ours",
        ),
        pytest.param(
            replace(MONTHLY, plan="pro"), knows(prod_1=PACK), PACK, id="then one of its product"
        ),
        pytest.param(
            replace(MONTHLY, plan="pro"), knows(prod_1=None), None, id="which may be foreign, too"
        ),
        pytest.param(
            ONE_TIME,
            knows(prod_1=STARTER),
            None,
            id="a one-time price of a plan's product is a fee",
        ),
        pytest.param(
            replace(UNSAID, is_of_item=True),
            knows(prod_1=STARTER),
            None,
            id="so is a line that no subscription made",
        ),
        pytest.param(
            UNSAID, knows(ONE_TIME, prod_1=STARTER), None, id="and one that is known to be one-time"
        ),
        pytest.param(ONE_TIME, knows(prod_1=PACK), PACK, id="a one-time price of a pack's product"),
        pytest.param(
            replace(MONTHLY, plan="pro", lookup_key="starter", product_plan="starter"),
            knows(),
            PRO,
            id="the price's own metadata before its lookup key and its product",
        ),
        pytest.param(
            UNSAID, knows(replace(MONTHLY, plan="pro")), PRO, id="the known price's metadata"
        ),
        pytest.param(
            replace(ONE_TIME, plan="pro"), knows(), PRO, id="a one-time price that is a plan itself"
        ),
        pytest.param(
            replace(ONE_TIME, plan="pro", credits=500), knows(), PRO, id="a plan before credits"
        ),
        pytest.param(
            replace(ONE_TIME, credits=500, lookup_key="pro"),
            knows(),
            PACK,
            id="credits of a one-time price before its lookup key",
        ),
        pytest.param(
            replace(MONTHLY, credits=500, lookup_key="pro"),
            knows(),
            PRO,
            id="a lookup key before credits that a recurring price includes",
        ),
        pytest.param(
            replace(UNSAID, credits=500, lookup_key="pro"),
            knows(),
            PACK,
            id="a price that is not known to be recurring sells its credits",
        ),
        pytest.param(
            replace(MONTHLY, credits=500, product_plan="pro"),
            knows(),
            PRO,
            id="a product's plan before credits that a recurring price includes",
        ),
        pytest.param(
            replace(MONTHLY, credits=500), knows(), PACK, id="credits of a recurring pack"
        ),
        pytest.param(
            replace(MONTHLY, lookup_key="pro", product_plan="starter"),
            knows(),
            PRO,
            id="a lookup key before the product",
        ),
        pytest.param(
            replace(MONTHLY, lookup_key="pro_monthly"), knows(), PRO, id="a key with more"
        ),
        pytest.param(
            replace(MONTHLY, lookup_key="pro_plus_monthly"), knows(), PLUS, id="the longest slug"
        ),
        pytest.param(
            replace(MONTHLY, lookup_key="professional"), knows(), None, id="a key that goes on"
        ),
        pytest.param(replace(MONTHLY, product_plan="pro"), knows(), PRO, id="the product's plan"),
        pytest.param(
            MONTHLY,
            knows(Price(None, "prod_1", product_plan="pro")),
            PRO,
            id="the known product's plan",
        ),
        pytest.param(
            replace(ONE_TIME, product_plan="pro"), knows(), None, id="a fee of a plan's product"
        ),
        pytest.param(
            replace(ONE_TIME, credits=500, product_credits=900),
            knows(),
            PACK,
            id="the price's credits before its product's",
        ),
        pytest.param(
            ONE_TIME,
            knows(Price(None, "prod_1", product_credits=500)),
            PACK,
            id="the known product's credits",
        ),
        pytest.param(
            replace(ONE_TIME, product_credits=500, product_plan="pro"),
            knows(),
            PACK,
            id="a one-time price of a product that names both sells the credits",
        ),
        pytest.param(MONTHLY, knows(), None, id="a price that says nothing"),
        pytest.param(Price(None, None), knows(), None, id="no price at all"),
    ],
)
def test_the_surest_word_says_what_a_price_means(price, catalog, meaning):
    assert catalog.meaning(price) == meaning


def test_a_plan_that_the_app_does_not_have_is_named():
    with pytest.raises(UnknownPlan):
        knows().meaning(replace(MONTHLY, plan="gold"))


@pytest.mark.parametrize(
    ("price", "catalog", "waits"),
    [
        pytest.param(UNSAID, knows(), True, id="nothing is known"),
        pytest.param(MONTHLY, knows(), False, id="it says itself what it is"),
        pytest.param(UNSAID, knows(MONTHLY), False, id="the price is known"),
        pytest.param(UNSAID, knows(price_1=None), False, id="it is linked as foreign"),
        pytest.param(UNSAID, knows(prod_1=None), False, id="its product is linked as foreign"),
        pytest.param(
            UNSAID, knows(Price(None, "prod_1", product_plan="pro")), False, id="a known product"
        ),
        pytest.param(
            replace(UNSAID, is_of_item=True),
            knows(Price(None, "prod_1", product_plan="pro")),
            False,
            id="the fee of a known plan's product",
        ),
        pytest.param(
            replace(UNSAID, plan="gold"), knows(), False, id="a plan that the app does not have"
        ),
        pytest.param(Price(None, "prod_1"), knows(), False, id="a line without a price"),
    ],
)
def test_a_price_that_is_only_named_waits_until_something_explains_it(price, catalog, waits):
    assert is_unexplained(price, catalog) is waits


# --- whole objects ---------------------------------------------------------------------------------------


@pytest.fixture
def shop() -> Shop:
    return Shop(now=MARCH, basil=True)


def a_line(shop, name, **changed):
    price = {"id": name, "product": f"prod_of_{name}", "currency": "usd", "unit_amount": 100}
    return shop.line(price, start=MARCH, end=APRIL, **changed)


#: A catalog in which `ours` is a plan, `odd` names a plan that is none, `foreign` is known.
SOME = Catalog(
    frozenset(),
    {},
    PLANS,
    {
        "ours": Price("ours", None, plan="pro", is_one_time=False),
        "odd": Price("odd", None, plan="gold", is_one_time=False),
        "foreign": Price("foreign", None, is_one_time=False),
    },
)


@pytest.mark.parametrize(
    ("names", "is_proration", "error"),
    [
        pytest.param(["ours"], False, None, id="ours"),
        pytest.param(["foreign"], False, ForeignProduct, id="foreign"),
        pytest.param(["foreign", "ours"], False, None, id="ours beside a foreign one"),
        pytest.param(["foreign", "ours"], True, None, id="also a change of plan"),
        pytest.param(["unknown"], False, UnknownPrice, id="only named"),
        pytest.param(["unknown", "ours"], False, None, id="ours beside one only named"),
        pytest.param(["unknown", "ours"], True, UnknownPrice, id="a change of plan waits for all"),
        pytest.param(["odd"], False, UnknownPlan, id="a plan that is none"),
        pytest.param(["odd", "ours"], False, None, id="ours beside a plan that is none"),
        pytest.param(["odd", "ours"], True, UnknownPlan, id="a change to a plan that is none"),
        pytest.param(["odd", "unknown"], False, UnknownPrice, id="what may be mended by waiting"),
    ],
)
def test_an_invoice_is_refused_for_its_prices_unless_one_of_ours_can_be_read(
    shop, names, is_proration, error
):
    lines = [a_line(shop, name, proration=is_proration) for name in names]
    facts = facts_of("invoice", shop.invoice(lines))

    refusal = prices.refusal(facts, SOME)

    assert type(refusal) is (error or type(None))


def test_one_proration_among_an_invoices_lines_lets_all_of_it_wait(shop):
    lines = [a_line(shop, "unknown"), a_line(shop, "ours", proration=True), a_line(shop, "ours")]

    assert isinstance(prices.refusal(facts_of("invoice", shop.invoice(lines)), SOME), UnknownPrice)


@pytest.mark.parametrize("names", [["ours", "unknown"], ["ours", "odd"]], ids=" ".join)
def test_a_subscription_counts_only_if_all_of_its_prices_are_known(shop, names):
    items = [{"id": f"si_{name}", "price": name} for name in names]
    state = shop.subscription(shop.price(), start=MARCH, end=APRIL) | {"items": {"data": items}}

    assert prices.refusal(facts_of("subscription", state), SOME) is not None


@pytest.mark.parametrize(
    ("mode", "error"), [("payment", type(None)), ("subscription", ForeignProduct)]
)
def test_a_sessions_own_metadata_outweigh_its_prices_only_where_it_is_a_payment(shop, mode, error):
    item = {"id": "li_1", "price": {"id": "foreign", "object": "price", "type": "one_time"}}
    session = shop.session(100, credits=500, mode=mode, line_items={"data": [item]})

    assert type(prices.refusal(facts_of("checkout_session", session), SOME)) is error


@pytest.mark.parametrize(
    ("names", "is_answered"),
    [(["foreign"], True), (["foreign", "other"], False), (["other"], False)],
)
def test_an_operator_has_answered_for_an_object_once_each_of_its_prices_is_linked(
    shop, names, is_answered
):
    linked = replace(SOME, links={"foreign": None})
    facts = facts_of("invoice", shop.invoice([a_line(shop, name) for name in names]))

    assert prices.is_refused_by_link(facts, linked) is is_answered


@pytest.mark.parametrize(
    ("names", "sells"),
    [
        (["ours"], True),
        (["foreign"], False),
        (["foreign", "ours"], True),
        (["odd"], True),
        (["unknown"], False),
        ([], False),
    ],
)
def test_an_invoice_sells_something_of_ours_if_a_line_is_or_may_be(shop, names, sells):
    facts = facts_of("invoice", shop.invoice([a_line(shop, name) for name in names]))

    assert prices.sells(facts, SOME) is sells


def test_an_invoice_with_a_line_that_can_not_be_read_may_sell_something_of_ours(shop):
    facts = facts_of("invoice", shop.invoice([a_line(shop, "foreign", quantity=-1)]))

    assert prices.sells(facts, SOME)


def test_only_prices_that_come_in_full_and_are_new_are_learned(shop):
    old = Shop(now=MARCH)
    known, new = old.price("known"), old.price("new")
    lines = [old.line(price, start=MARCH, end=APRIL) for price in (known, new)]
    facts = facts_of("invoice", old.invoice(lines))
    named = facts_of("invoice", shop.invoice([a_line(shop, "unknown")]))
    some = Catalog(frozenset(), {}, PLANS, {known["id"]: UNSAID})

    assert [price.id for price in prices.unlearned(facts, some)] == [new["id"]]
    assert prices.unlearned(named, some) == []


def test_a_price_without_an_id_is_not_learned():
    old = Shop(now=MARCH)
    line = old.line(old.price() | {"id": None}, start=MARCH, end=APRIL)
    facts = facts_of("invoice", old.invoice([line]))

    assert prices.unlearned(facts, SOME) == []
