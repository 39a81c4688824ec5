"""An event is read from its body: what each type is about, and its object in old shapes and new."""

import json

import pytest

from billing.stripe import events
from billing.stripe.apply import facts_of
from billing.stripe.errors import BadObject, MissingObject, NotAnEvent, NotJson, NotUtf8
from billing.stripe.kinds import KIND_OF_EVENT, KINDS
from billing.stripe.object_rows import as_json
from gateways import stripe_kinds
from tests.billing.stripe.writing import Shop, seconds

MARCH, APRIL = seconds(2026, 3, 1), seconds(2026, 4, 1)

both_shapes = pytest.mark.parametrize("basil", [False, True], ids=["before basil", "since basil"])


@pytest.fixture
def old() -> Shop:
    return Shop(now=MARCH, account_id=7)


def body_of(payload) -> bytes:
    return json.dumps(payload).encode()


def test_the_tables_agree_on_the_kinds_of_objects():
    assert set(KIND_OF_EVENT.values()) == set(KINDS.values())
    assert {name: kind.KIND for name, kind in KINDS.items()} == {name: name for name in KINDS}
    assert set(KINDS) - {"cash_transaction"} <= set(stripe_kinds.KINDS)


@pytest.mark.parametrize(
    ("type_", "kind"),
    [
        ("invoice.paid", "invoice"),
        ("invoice.payment_succeeded", "invoice"),
        ("invoice_payment.paid", "invoice_payment"),
        ("customer.subscription.deleted", "subscription"),
        ("customer.created", "customer"),
        ("charge.refunded", "charge"),
        ("charge.refund.updated", "refund"),
        ("refund.failed", "refund"),
        ("charge.dispute.closed", "dispute"),
        ("checkout.session.completed", "checkout_session"),
        ("payment_intent.succeeded", "payment_intent"),
        ("plan.created", "price"),
        ("customer_cash_balance_transaction.created", "cash_transaction"),
        ("payout.paid", None),
        ("invoice.upcoming", None),
        ("customer.discount.created", None),
    ],
)
def test_each_type_of_event_is_about_one_kind_of_object_or_not_ours(old, type_, kind):
    event = events.of_payload(old.event(type_, {"id": "x_1"}))

    assert event.kind is (kind and KINDS[kind])


def test_two_deliveries_of_one_event_have_one_digest(old):
    event = old.event("customer.updated", {"id": "cus_1"})
    again = event | {"pending_webhooks": 3, "request": None}

    assert events.of_payload(event).digest() == events.of_payload(again).digest()


def test_another_event_under_the_same_id_has_another_digest(old):
    event = old.event("customer.updated", {"id": "cus_1"})
    other = event | {"data": {"object": {"id": "cus_2"}}}

    assert events.of_payload(event).digest() != events.of_payload(other).digest()


@pytest.mark.parametrize("type_", ["price.deleted", "product.deleted", "customer.deleted"])
def test_what_was_deleted_is_so_though_its_object_does_not_say_it(old, type_):
    event = events.of_payload(old.event(type_, {"id": "x_1", "object": "x"}))

    assert event.kind.parse(event.newest).is_deleted


def test_a_thin_event_names_its_object_and_carries_none():
    event = events.of_payload(
        {
            "id": "evt_test_1",
            "object": "v2.core.event",
            "type": "v1.invoice.paid",
            "created": "2026-03-01T12:00:00.000Z",
            "livemode": False,
            "related_object": {"id": "in_1", "type": "invoice", "url": "/v1/invoices/in_1"},
        }
    )

    assert (event.is_thin, event.kind.KIND, event.object_id) == (True, "invoice", "in_1")


def altered(**changes):
    made = Shop(now=MARCH).event("invoice.paid", {"id": "in_1"})
    return body_of({k: v for k, v in {**made, **changes}.items() if v != "gone"})


def nested(depth) -> bytes:
    return altered(data={"object": {"id": "in_1", "metadata": "deep"}}).replace(
        b'"deep"', b'{"a":' * depth + b"1" + b"}" * depth
    )


@pytest.mark.parametrize(
    ("body", "error"),
    [
        pytest.param(b"", NotJson, id="an empty body"),
        pytest.param(b"{", NotJson, id="half an object"),
        pytest.param(b"\xff\xfe{}", NotUtf8, id="bytes that are no text"),
        pytest.param(b"[]", NotAnEvent, id="a list"),
        pytest.param(b"{}", NotAnEvent, id="an empty object"),
        pytest.param(altered(created="gone"), NotAnEvent, id="no time"),
        pytest.param(altered(data=[]), NotAnEvent, id="data that is a list"),
        pytest.param(altered(id="gone"), BadObject, id="no id"),
        pytest.param(altered(id="e" * 256), BadObject, id="an id of 256 characters"),
        pytest.param(altered(type=5), BadObject, id="a type that is a number"),
        pytest.param(altered(livemode="yes"), BadObject, id="a mode that is a word"),
        pytest.param(altered(created=10**12), BadObject, id="a time in milliseconds"),
        pytest.param(altered(created=True), BadObject, id="a time that is a truth"),
        pytest.param(altered(data={}), MissingObject, id="no object"),
        pytest.param(altered(data={"object": "in_1"}), MissingObject, id="only an object's id"),
        pytest.param(altered(data={"object": {}}), MissingObject, id="an object without an id"),
        pytest.param(altered(note="a\0b"), NotAnEvent, id="NUL in a text"),
        pytest.param(altered(note="\ud800"), NotAnEvent, id="half a character in a text"),
        pytest.param(altered(note=float("nan")), NotJson, id="a number that is none"),
        pytest.param(
            altered(note="N").replace(b'"N"', b"1e400"), NotAnEvent, id="a number beyond all"
        ),
        pytest.param(
            altered(note="N").replace(b'"N"', b"9" * 5000), NotJson, id="5,000 digits"
        ),
        pytest.param(nested(100), NotAnEvent, id="100 levels"),
        pytest.param(nested(900), NotAnEvent, id="900 levels"),
        pytest.param(nested(100_000), NotJson, id="100,000 levels"),
    ],
)  # fmt: skip
def test_a_body_that_is_no_event_is_refused_by_name(body, error):
    with pytest.raises(error) as refused:
        events.parse(body)

    assert type(refused.value) is error


def test_a_text_that_only_looks_like_nul_is_fine():
    event = events.parse(altered(note="the six characters \\u0000"))

    assert event.payload["note"] == "the six characters \\u0000"


@both_shapes
def test_an_invoice_is_read_alike_in_old_shapes_and_new(basil):
    shop = Shop(now=MARCH, account_id=7, basil=basil)
    invoice = shop.bills(shop.price(), start=MARCH, end=APRIL, quantity=2)

    facts = facts_of("invoice", invoice)

    assert (facts.subscription, facts.hint, facts.currency) == (
        "sub_1",
        7 if basil else None,
        "USD",
    )
    assert (facts.status, facts.due, facts.total) == ("open", 17800, 17800)
    (line,) = facts.lines
    assert (line.price.id, line.price.product) == ("price_starter_month", "prod_starter")
    assert (line.amount, line.quantity, line.is_proration) == (17800, 2, False)
    assert (line.start, line.end) == (MARCH, APRIL)


@both_shapes
@pytest.mark.parametrize("is_proration", [True, False])
def test_a_proration_is_known_in_old_shapes_and_new(basil, is_proration):
    shop = Shop(now=MARCH, basil=basil)
    line = shop.line(shop.price(), start=MARCH, end=APRIL, proration=is_proration)

    (read,) = facts_of("invoice", shop.invoice([line])).lines

    assert read.is_proration is is_proration


@both_shapes
def test_a_subscriptions_period_is_read_off_itself_or_its_items(basil):
    shop = Shop(now=MARCH, account_id=7, basil=basil)

    facts = facts_of("subscription", shop.subscription(shop.price(), start=MARCH, end=APRIL))

    assert (facts.start, facts.end, facts.status, facts.hint) == (MARCH, APRIL, "active", 7)
    assert [item.price.id for item in facts.items] == ["price_starter_month"]


def test_payments_are_found_on_the_invoice_of_old_and_in_its_payments_since():
    before = Shop(now=MARCH).invoice([], charge="ch_1", payment_intent="pi_1")
    paid_by = {"id": "inpay_1", "payment": {"type": "payment_intent", "payment_intent": "pi_1"}}
    since = Shop(now=MARCH, basil=True).invoice([], payments={"data": [paid_by]})

    assert facts_of("invoice", before).links == {"ch_1", "pi_1"}
    assert facts_of("invoice", since).links == {"pi_1"}


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_facts_survive_being_kept_as_json(kind):
    shop = Shop(now=MARCH, account_id=7)
    price, charge = shop.price(), shop.charge(8900, invoice="in_9", intent="pi_9")
    subscription = shop.subscription(price, start=MARCH, end=APRIL)
    objects = {
        "invoice": shop.bills(price, start=MARCH, end=APRIL),
        "subscription": subscription,
        "charge": charge,
        "refund": shop.refund(charge, 100),
        "credit_note": shop.credit_note(
            {"id": "in_9"}, 100, refunds=[{"refund": "re_1", "amount_refunded": 100}]
        ),
        "dispute": shop.dispute(charge),
        "price": price,
        "checkout_session": {"id": "cs_1", "line_items": subscription["items"]},
        "payment_intent": {"id": "pi_9", "status": "succeeded", "currency": "usd"},
        "cash_transaction": {"id": "ccsbtxn_1", "type": "funded", "currency": "usd"},
    }

    facts = facts_of(kind, objects.get(kind, {"id": "x_1"}))

    assert KINDS[kind].from_json(json.loads(as_json(facts))) == facts
