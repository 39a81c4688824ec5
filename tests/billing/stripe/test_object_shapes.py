"""The parsing of Stripe's objects, in the shapes of its old APIs and of its new ones."""

import datetime as dt
import json

import pytest

from billing.stripe.apply import facts_of
from billing.stripe.errors import BadAmount, BadObject, UnknownCurrency
from billing.stripe.object_rows import as_json
from billing.stripe.objects.base import Item
from billing.stripe.objects.payment_intent import PaymentIntent
from billing.stripe.objects.product import Product
from tests.billing.stripe.writing import Shop, seconds

MARCH, APRIL, MAY = seconds(2026, 3, 1), seconds(2026, 4, 1), seconds(2026, 5, 1)


@pytest.fixture
def shop() -> Shop:
    return Shop(now=MARCH)


# --- charges ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changed", "amount", "status"),
    [
        pytest.param({}, 8900, "succeeded", id="captured whole"),
        pytest.param({"amount_captured": 5000}, 5000, "succeeded", id="captured in part"),
        pytest.param({"amount_captured": 0}, 0, "succeeded", id="captured, but nothing"),
        pytest.param({"amount_captured": None}, 8900, "succeeded", id="before amount_captured"),
        pytest.param({"captured": False, "amount_captured": None}, 0, "succeeded", id="only held"),
        pytest.param({"captured": None}, 8900, "succeeded", id="before captured"),
        pytest.param({"status": "paid"}, 8900, "succeeded", id="in the words of 2014"),
        pytest.param({"status": None, "paid": True}, 8900, "succeeded", id="before statuses: paid"),
        pytest.param({"status": None, "paid": False}, 8900, "failed", id="before statuses: failed"),
        pytest.param({"status": None}, 8900, "failed", id="with neither"),
        pytest.param({"status": "pending", "paid": True}, 8900, "pending", id="on its way"),
    ],
)
def test_a_charges_money_is_what_was_captured(shop, changed, amount, status):
    facts = facts_of("charge", shop.charge(8900) | changed)

    assert (facts.amount, facts.status) == (amount, status)


@pytest.mark.parametrize(
    ("changed", "is_disputed"),
    [
        ({"disputed": True}, True),
        ({"disputed": False}, False),
        ({"disputed": None, "dispute": "dp_1"}, True),
        ({"disputed": None, "dispute": None}, False),
    ],
)
def test_a_charge_says_whether_it_is_disputed_in_its_old_shape_too(shop, changed, is_disputed):
    assert facts_of("charge", shop.charge(8900) | changed).is_disputed is is_disputed


@pytest.mark.parametrize(
    ("changed", "decline"),
    [
        ({"outcome": {"reason": "insufficient_funds"}, "failure_code": "card_declined"},
         "insufficient_funds"),
        ({"outcome": {"reason": None}, "failure_code": "card_declined"}, "card_declined"),
        ({"outcome": None, "failure_code": "expired_card"}, "expired_card"),
        ({}, None),
    ],
)  # fmt: skip
def test_the_reason_of_the_bank_comes_before_that_of_stripe(shop, changed, decline):
    assert facts_of("charge", shop.charge(8900, status="failed") | changed).decline == decline


# --- Checkout sessions -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changed", "is_paid"),
    [
        pytest.param({}, True, id="paid"),
        pytest.param({"payment_status": "unpaid"}, False, id="unpaid"),
        pytest.param({"payment_status": None}, False, id="not said"),
        pytest.param(
            {"payment_status": "no_payment_required", "amount_total": 0}, True, id="a coupon"
        ),
        pytest.param(
            {"payment_status": "no_payment_required", "amount_total": 5}, False, id="paid later"
        ),
        pytest.param(
            {"payment_status": "no_payment_required", "amount_total": 0, "status": "open"},
            False,
            id="a coupon on a page that is still open",
        ),
        pytest.param(
            {"payment_status": "no_payment_required", "amount_total": 0, "status": None},
            True,
            id="a coupon before sessions had a status",
        ),
    ],
)
def test_a_session_is_paid_or_has_nothing_to_pay(shop, changed, is_paid):
    assert facts_of("checkout_session", shop.session(2500) | changed).is_paid is is_paid


@pytest.mark.parametrize(
    ("mode", "credits", "is_top_up"),
    [
        ("payment", 500, True),
        (None, 500, True),
        ("payment", None, False),
        ("subscription", 500, False),
        ("setup", 500, False),
    ],
)
def test_a_session_is_a_top_up_if_its_metadata_say_what_its_payment_buys(
    shop, mode, credits, is_top_up
):
    session = shop.session(2500, credits=credits, mode=mode)

    assert facts_of("checkout_session", session).is_top_up is is_top_up


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("29", "29"),
        ("x" * 255, "x" * 255),
        ("x" * 256, None),
        ("", None),
        ("a\0b", None),
        (29, None),
        (None, None),
    ],
)
def test_whatever_a_payer_wrote_as_a_reference_the_session_is_read(shop, written, read):
    session = shop.session(2500, client_reference_id=written)

    assert facts_of("checkout_session", session).reference == read


def test_a_session_that_only_stores_a_card_has_no_currency(shop):
    session = shop.session(0, mode="setup", currency=None, amount_total=None)

    assert (facts_of("checkout_session", session).currency, session["mode"]) == (None, "setup")


# --- subscriptions ---------------------------------------------------------------------------------------


def subscription(shop, **changed):
    state = shop.subscription(shop.price(), start=MARCH, end=APRIL)
    return facts_of("subscription", state | changed)


@pytest.mark.parametrize(
    ("changed", "status", "is_ended"),
    [
        pytest.param({}, "active", False, id="running"),
        pytest.param({"status": "canceled"}, "canceled", True, id="canceled"),
        pytest.param(
            {"status": "incomplete_expired"}, "incomplete_expired", True, id="never paid in time"
        ),
        pytest.param({"ended_at": APRIL}, "canceled", True, id="ended, with a status from before"),
        pytest.param(
            {"status": "incomplete_expired", "ended_at": APRIL},
            "incomplete_expired",
            True,
            id="ended by not being paid",
        ),
        pytest.param({"canceled_at": MARCH}, "active", False, id="canceled for the period's end"),
    ],
)
def test_a_subscription_is_over_by_its_status_or_its_end(shop, changed, status, is_ended):
    facts = subscription(shop, **changed)

    assert (facts.status, facts.is_ended) == (status, is_ended)


@pytest.mark.parametrize(
    ("changed", "cancels"),
    [
        ({}, False),
        ({"cancel_at_period_end": True}, True),
        ({"cancel_at": APRIL}, True),
        ({"cancel_at": None}, False),
    ],
)
def test_a_planned_end_is_known_by_flag_or_by_date(shop, changed, cancels):
    assert subscription(shop, **changed).cancels_at_end is cancels


@pytest.mark.parametrize(
    ("changed", "is_sent"),
    [
        ({"collection_method": "send_invoice"}, True),
        ({"collection_method": "charge_automatically"}, False),
        ({"billing": "send_invoice"}, True),
        ({"billing": "charge_automatically"}, False),
        ({}, False),
    ],
)
def test_a_subscription_says_whether_its_invoices_are_sent(shop, changed, is_sent):
    assert subscription(shop, **changed).is_sent is is_sent


def test_items_of_different_periods_span_all_of_them(shop):
    items = [
        {"id": "si_1", "price": shop.price(), "current_period_start": MARCH, "current_period_end": MAY},
        {"id": "si_2", "price": shop.price(), "current_period_start": APRIL, "current_period_end": MAY - 9},
    ]  # fmt: skip
    facts = subscription(
        shop, items={"data": items}, current_period_start=None, current_period_end=None
    )

    assert (facts.start, facts.end) == (MARCH, MAY)


@pytest.mark.parametrize(("quantity", "counted"), [(None, 1), (3, 3), (0, 0)])
def test_the_only_item_of_an_old_subscription_is_its_plan(shop, quantity, counted):
    plan = {"id": "starter", "object": "plan", "amount": 8900, "metadata": {"plan": "starter"}}
    (item,) = subscription(shop, items=None, plan=plan, quantity=quantity).items

    assert (item.price.id, item.price.plan, item.quantity) == ("starter", "starter", counted)


def test_a_subscription_without_items_and_plan_has_none(shop):
    assert subscription(shop, items=None, plan=None).items == ()


def test_a_subscriptions_items_come_before_its_old_plan(shop):
    (item,) = subscription(shop, plan={"id": "other", "object": "plan"}).items

    assert isinstance(item, Item)
    assert item.price.id == "price_starter_month"


# --- invoices --------------------------------------------------------------------------------------------


def invoice(shop, *lines, **changed):
    return facts_of("invoice", shop.invoice(list(lines), status="open") | changed)


@pytest.mark.parametrize(
    ("changed", "status"),
    [
        ({"status": "void"}, "void"),
        ({"status": None, "paid": True}, "paid"),
        ({"status": None, "paid": False}, "open"),
        ({"status": "draft", "deleted": True}, "deleted"),
        ({"status": "open", "paid": True}, "open"),
    ],
)
def test_an_invoices_status_is_read_in_old_shapes_too(shop, changed, status):
    assert invoice(shop, **changed).status == status


@pytest.mark.parametrize(
    ("changed", "is_overdue"),
    [
        pytest.param({}, True, id="sent, due and open"),
        pytest.param({"due_date": MARCH + 1}, False, id="due in a second"),
        pytest.param({"due_date": None}, False, id="collected by itself"),
        pytest.param({"status": "paid"}, False, id="paid"),
        pytest.param({"status": "draft"}, False, id="a draft"),
        pytest.param({"amount_due": 0}, False, id="nothing to pay"),
    ],
)
def test_a_sent_invoice_is_overdue_from_the_second_in_which_it_is_due(shop, changed, is_overdue):
    line = shop.line(shop.price(), start=MARCH, end=APRIL)
    facts = invoice(shop, line, **{"due_date": MARCH, **changed})

    assert facts.is_overdue(dt.datetime(2026, 3, 1, tzinfo=dt.UTC)) is is_overdue


@pytest.mark.parametrize(
    ("changed", "from_balance", "to_balance"),
    [
        pytest.param({}, 0, 0, id="nothing said, all due"),
        pytest.param({"amount_due": 4900}, 4000, 0, id="nothing said, less due"),
        pytest.param(
            {"amount_due": 4900, "pre_payment_credit_notes_amount": 4000}, 0, 0, id="a credit note"
        ),
        pytest.param(
            {"starting_balance": -4000, "ending_balance": 0, "amount_due": 4900}, 4000, 0, id="used up"
        ),
        pytest.param(
            {"starting_balance": -9900, "ending_balance": -1000, "amount_due": 0}, 8900, 0, id="a part"
        ),
        pytest.param(
            {"starting_balance": 500, "ending_balance": 0, "amount_due": 9400}, 0, 0, id="a debt"
        ),
        pytest.param(
            {"starting_balance": 0, "ending_balance": 300, "amount_due": 0}, 0, 0, id="too small to charge"
        ),
        pytest.param(
            {"starting_balance": -300, "ending_balance": 500, "amount_due": 0}, 300, 0, id="both"
        ),
        pytest.param(
            {"starting_balance": 0, "ending_balance": -5000, "total": -5000, "amount_due": 0},
            0,
            5000,
            id="money goes to the balance",
        ),
        pytest.param({"total": -5000, "amount_due": -5000}, 0, 5000, id="of an old shape, too"),
        pytest.param(
            {"starting_balance": -4000, "ending_balance": None}, 0, 0, id="not finalized yet"
        ),
    ],
)  # fmt: skip
def test_what_the_customers_balance_paid_and_got_is_credit_and_never_debt(
    shop, changed, from_balance, to_balance
):
    facts = invoice(shop, shop.line(shop.price(), start=MARCH, end=APRIL), **changed)

    assert (facts.from_balance, facts.to_balance) == (from_balance, to_balance)


@pytest.mark.parametrize(
    ("changed", "moves"),
    [
        pytest.param({}, False, id="a plain invoice"),
        pytest.param({"amount_due": 4900}, True, id="less is due than it costs"),
        pytest.param({"starting_balance": -1, "ending_balance": -1}, True, id="credit beside it"),
        pytest.param({"starting_balance": 0, "ending_balance": -1}, True, id="credit after it"),
        pytest.param({"starting_balance": -1, "ending_balance": None}, True, id="credit before it"),
        pytest.param({"starting_balance": 0, "ending_balance": 0}, False, id="an empty balance"),
    ],
)
def test_an_invoice_may_move_the_balance_if_credit_is_near(shop, changed, moves):
    line = shop.line(shop.price(), start=MARCH, end=APRIL)

    assert invoice(shop, line, **changed).moves_balance is moves


def test_a_change_of_plan_may_move_the_balance(shop):
    line = shop.line(shop.price(), start=MARCH, end=APRIL, proration=True)

    assert invoice(shop, line).moves_balance


@pytest.mark.parametrize("place", ["the line", "its subscription item", "its invoice item"])
@pytest.mark.parametrize(
    ("flaw", "field", "error"),
    [({"quantity": -1}, "quantity", "BadAmount"), ({"id": 5}, "id", "BadObject")],
)
def test_a_line_that_can_not_be_read_says_why_and_whether_it_is_a_proration(
    shop, place, flaw, field, error
):
    parents = {
        "its subscription item": {"subscription_item_details": {"proration": True}},
        "its invoice item": {"invoice_item_details": {"proration": True}},
    }
    line = shop.line(shop.price(), start=MARCH, end=APRIL, proration=place == "the line")
    (read,) = invoice(shop, line | {"parent": parents.get(place)} | flaw).lines

    refusal = read.error("in_9")
    assert (read.is_proration, read.amount, read.quantity) == (True, 0, 0)
    assert (refusal.name, refusal.facts["field"], refusal.facts["invoice"]) == (
        error,
        field,
        "in_9",
    )


@pytest.mark.parametrize(
    ("parent", "is_of_item"),
    [
        ({"type": "invoice_item_details", "invoice_item_details": {"proration": False}}, True),
        ({"type": "invoice_item_details", "invoice_item_details": {"proration": True}}, False),
        ({"type": "subscription_item_details", "subscription_item_details": {}}, False),
        (None, False),
    ],
)
def test_a_line_that_no_subscription_made_has_a_one_time_price(shop, parent, is_of_item):
    basil = Shop(now=MARCH, basil=True)
    (line,) = invoice(
        shop, basil.line(shop.price(), start=MARCH, end=APRIL) | {"parent": parent}
    ).lines

    assert line.price.is_of_item is is_of_item


def test_what_a_lines_price_says_itself_outweighs_where_it_stands(shop):
    parent = {"type": "invoice_item_details", "invoice_item_details": {}}
    (line,) = invoice(shop, shop.line(shop.price(), start=MARCH, end=APRIL, parent=parent)).lines

    assert (line.price.is_of_item, line.price.is_one_time) == (False, False)


# --- prices and metadata ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changed", "is_one_time", "is_metered"),
    [
        pytest.param({}, False, None, id="recurring"),
        pytest.param({"type": "one_time", "recurring": None}, True, None, id="one-time"),
        pytest.param({"type": None}, None, None, id="not said"),
        pytest.param({"object": "plan", "type": None}, False, None, id="an old plan"),
        pytest.param({"recurring": {"usage_type": "metered"}}, False, True, id="metered"),
        pytest.param({"recurring": {"usage_type": "licensed"}}, False, False, id="licensed"),
        pytest.param({"recurring": None, "usage_type": "metered"}, False, True, id="old metered"),
    ],
)
def test_a_price_says_how_it_is_sold(shop, changed, is_one_time, is_metered):
    price = facts_of("price", shop.price() | changed).price

    assert (price.is_one_time, price.is_metered) == (is_one_time, is_metered)


@pytest.mark.parametrize(
    ("amounts", "is_free"),
    [
        ({"unit_amount": 0}, True),
        ({"unit_amount": 1}, False),
        ({"unit_amount": None, "unit_amount_decimal": "0.0"}, True),
        ({"unit_amount": 0, "unit_amount_decimal": "0.4"}, False),
        ({"unit_amount": None, "amount": 0}, True),
        ({"unit_amount": None, "amount": 0, "amount_decimal": "0.1"}, False),
        ({"unit_amount": None}, None),
        ({"unit_amount": None, "unit_amount_decimal": "free"}, None),
    ],
)
def test_a_price_is_free_by_its_exact_amount(shop, amounts, is_free):
    assert facts_of("price", shop.price() | amounts).price.is_free is is_free


@pytest.mark.parametrize(("credits", "read"), [("1", 1), (999_999_999, 999_999_999), ("", None)])
def test_credits_in_metadata_are_any_whole_number_above_0(shop, credits, read):
    price = shop.price("", credits=credits)

    assert facts_of("price", price).price.credits == read


@pytest.mark.parametrize("credits", [0, "0", -5, "1.5", "1000000000", "ten", "²", True])
def test_other_credits_in_metadata_are_refused(shop, credits):
    with pytest.raises(BadObject):
        facts_of("price", shop.price("", credits=credits))


@pytest.mark.parametrize(
    ("named", "account_id"),
    [
        ("7", 7),
        (7, 7),
        (str(2**63 - 1), 2**63 - 1),
        (str(2**63), None),
        ("9" * 5000, None),
        ("0", None),
        ("-7", None),
        ("²", None),
        ("acme", None),
        (True, None),
        (None, None),
    ],
)
def test_an_account_in_metadata_is_a_number_that_an_account_may_have(shop, named, account_id):
    intent = shop.intent(100, metadata={"account_id": named})

    assert facts_of("payment_intent", intent).hint == account_id


def test_the_invoices_own_metadata_name_its_account_before_its_subscriptions(shop):
    basil = Shop(now=MARCH, basil=True, account_id=7)
    made = basil.invoice([], subscription="sub_1")

    assert facts_of("invoice", made | {"metadata": {"account_id": "8"}}).hint == 8
    assert facts_of("invoice", made).hint == 7
    old = shop.invoice([], subscription_details={"metadata": {"account_id": "9"}})
    assert facts_of("invoice", old).hint == 9


# --- links between objects of one payment ----------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "source", "links"),
    [
        ("charge", {"invoice": "in_1", "payment_intent": "pi_1"}, {"in_1", "pi_1"}),
        ("charge", {"invoice": "ORDER", "payment_intent": "in_1"}, set()),
        ("refund", {"charge": "ch_1", "payment_intent": "pi_1"}, {"ch_1", "pi_1"}),
        ("refund", {"charge": "py_1", "payment_intent": None}, {"py_1"}),
        ("refund", {"charge": "pi_1"}, set()),
        ("dispute", {"charge": {"id": "ch_1"}}, {"ch_1"}),
        ("payment_intent", {"latest_charge": "py_1"}, {"py_1"}),
        ("payment_intent", {"charges": {"data": [{"id": "ch_1"}, {"id": "ch_2"}]}}, {"ch_1"}),
        ("payment_intent", {"latest_charge": "ch_9", "charges": {"data": [{"id": "ch_1"}]}}, {"ch_9"}),
        ("payment_intent", {"payment_details": {"order_reference": "in_1"}}, {"in_1"}),
        ("payment_intent", {"payment_details": {"order_reference": "in_" + "x" * 300}}, set()),
        ("checkout_session", {"invoice": "in_1", "payment_intent": "pi_1"}, {"in_1", "pi_1"}),
        ("credit_note", {"invoice": "in_1", "refund": "re_1"}, {"in_1", "re_1"}),
        ("invoice_payment", {"invoice": "in_1", "payment": {"charge": "py_1"}}, {"in_1", "py_1"}),
        ("invoice", {"payment_intent": "pi_1", "charge": "ch_1"}, {"pi_1", "ch_1"}),
    ],
)  # fmt: skip
def test_an_object_is_linked_to_others_of_its_payment_by_their_ids_alone(kind, source, links):
    facts = facts_of(kind, {"id": "x_1", "status": "succeeded", "currency": "usd", **source})

    assert facts.links == links


def test_old_rows_are_read_as_the_shapes_of_today_mean_them(shop):
    intent = PaymentIntent.from_json(
        {**_stored("payment_intent", shop.intent(100)), "invoice": "ORDER-1"}
    )
    stored = _stored("product", {"id": "prod_1", "metadata": {"plan": "starter", "credits": "5"}})
    old = {name: stored["price"].pop(f"product_{name}") for name in ("plan", "credits")}
    product = Product.from_json(stored | {"price": stored["price"] | old})

    assert intent.invoice is None
    assert (product.price.product_plan, product.price.product_credits) == ("starter", 5)
    assert (product.price.plan, product.price.credits) == (None, None)


def _stored(kind, source):
    return json.loads(as_json(facts_of(kind, source)))


@pytest.mark.parametrize("kind", ["charge", "refund", "dispute", "payment_intent", "invoice"])
def test_money_without_a_currency_is_refused(kind):
    with pytest.raises(UnknownCurrency):
        facts_of(kind, {"id": "x_1", "status": "succeeded", "amount": 5})


@pytest.mark.parametrize(
    ("second", "is_read"),
    [
        (seconds(2010, 1, 1), True),
        (seconds(2010, 1, 1) - 1, False),
        (seconds(2100, 1, 1) - 1, True),
        (seconds(2100, 1, 1), False),
    ],
)
def test_stripes_times_are_of_this_century(shop, second, is_read):
    source = shop.intent(100, created=second)

    if is_read:
        assert facts_of("payment_intent", source).created == second
    else:
        with pytest.raises(BadObject):
            facts_of("payment_intent", source)


@pytest.mark.parametrize(("amount", "is_read"), [(10**12, True), (10**12 + 1, False)])
def test_stripes_amounts_have_twelve_digits(shop, amount, is_read):
    source = shop.intent(amount)

    if is_read:
        assert facts_of("payment_intent", source).received == amount
    else:
        with pytest.raises(BadAmount):
            facts_of("payment_intent", source)


@pytest.mark.parametrize(
    "text", ["a\0b", "x" * 256, 5, ["pi_1"]], ids=["NUL", "256 characters", "a number", "a list"]
)
def test_what_is_no_short_text_is_no_id(shop, text):
    with pytest.raises(BadObject):
        facts_of("payment_intent", shop.intent(100, id=text))
