"""Each bad input is a named outcome in the inbox, gives nothing, and harms nothing beside it."""

import json

import pytest
from sqlalchemy import func, select

from billing.stripe.signature import sign
from models.operations import DeadLetter
from models.purchases import Purchase
from tests.billing.stripe.door import body_of
from tests.billing.stripe.writing import MONTH_S
from worker import clock
from worker.database import transaction


@pytest.fixture
def shop(door, stripe, ledger):
    """A shop whose customer `cus_1` is acme, and whose customer `cus_gone` is a deleted account."""
    ledger.open_account("acme", status="trial", plan="starter")
    ledger.open_account("gone", status="active", stripe_customer_id="cus_gone")
    ledger.delete_account("gone")
    return stripe.shop("acme")


@pytest.fixture
def still_works(door, ledger, shop):
    """After a bad event: nothing was given, nothing died, and the next event is applied."""

    def check():
        with transaction() as ctx:
            for table in (Purchase, DeadLetter):
                assert (
                    ctx.session.execute(select(func.count()).select_from(table)).scalar_one() == 0
                )
        assert ledger.see("acme").credits == 0
        assert door.post(paid(shop)) == "applied"
        assert ledger.see("acme").credits == 1000
        broken = [name for name, rows in ledger.audit().findings.items() if rows]
        assert broken in ([], ["stripe_paid"]), "an invoice that can't be read asks a person"

    return check


def paid(shop, *, event=None, line=None, **invoice):
    """A paid invoice for a month of the starter plan, or what these changes make of it."""
    lines = [shop.line(shop.price(), start=shop.now, end=shop.now + MONTH_S) | (line or {})]
    fields = {"subscription": "sub_1", "status": "paid", "amount_paid": 8900, **invoice}
    return shop.event("invoice.paid", shop.invoice(lines) | fields, **event or {})


def nested(depth):
    return json.loads("[" * depth + "]" * depth)


@pytest.mark.parametrize(
    ("how", "reason"),
    [
        pytest.param({"secret": "whsec_wrong"}, "BadSignature", id="a wrong secret"),
        pytest.param({"age_s": 301}, "StaleSignature", id="a stale one"),
        pytest.param({"age_s": -301}, "FutureSignature", id="one of the future"),
        pytest.param({"signature": ""}, "MissingSignature", id="none"),
        pytest.param({"signature": "v1=abc"}, "MalformedSignature", id="one without a time"),
        pytest.param({"signature": "\0\n;"}, "MalformedSignature", id="rubbish"),
        pytest.param({"signature": "x" * 16_000}, "MalformedSignature", id="16,000 characters"),
    ],
)
def test_a_signature_that_does_not_fit(door, shop, still_works, how, reason):
    assert door.post(paid(shop), **how) == f"refused: {reason}"
    still_works()


def test_a_body_that_was_changed_by_one_byte(door, shop, still_works):
    body = body_of(paid(shop))
    signature = sign(body, secret="whsec_of_the_tests", at=clock.now())
    changed = body.replace(b"8900", b"8901", 1)

    assert door.post(changed, signature=signature) == "refused: BadSignature"
    still_works()


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        pytest.param(b"", "NotJson", id="nothing"),
        pytest.param(b"money=plenty", "NotJson", id="no JSON"),
        pytest.param(b'{"id": "evt_1"', "NotJson", id="half of it"),
        pytest.param(b"\x1f\x8b\x08\x00", "NotUtf8", id="no UTF-8"),
        pytest.param(b'"' + b"x" * 5_000_000 + b'"', "BodyTooLarge", id="5 MB"),
        pytest.param(b"[" * 500_000, "NotJson", id="half a million brackets"),
        pytest.param(b"null", "NotAnEvent", id="null"),
        pytest.param(b'{"object": "event"}', "NotAnEvent", id="an event of nothing"),
    ],
)
def test_a_body_that_is_no_event(door, still_works, body, reason):
    assert door.post(body) == f"refused: {reason}"
    still_works()


def test_of_a_refused_body_the_beginning_is_kept_and_a_repeat_is_counted(door, shop):
    body = b'"' + b"x" * 5_000_000 + b'"'

    outcomes = [door.post(body), door.post(body)]

    (row,) = door.rows()
    assert outcomes == ["refused: BodyTooLarge"] * 2
    assert (row.raw, row.deliveries) == (body[:2048], 2)
    assert row.facts["bytes"] == 5_000_002


EVENTS = [
    pytest.param({"event": {"id": "e" * 10_000}}, "refused: BadObject", id="an id of 10,000"),
    pytest.param({"event": {"id": "\ud800"}}, "refused: NotAnEvent", id="half a character"),
    pytest.param({"event": {"data": None}}, "refused: NotAnEvent", id="no data"),
    pytest.param({"event": {"data": {}}}, "refused: MissingObject", id="no object"),
    pytest.param({"event": {"created": -1}}, "refused: BadObject", id="before 2010"),
    pytest.param({"event": {"note": "a\0b"}}, "refused: NotAnEvent", id="NUL in a text"),
    pytest.param({"event": {"note": nested(500)}}, "refused: NotAnEvent", id="500 levels"),
    pytest.param({"event": {"type": "x.y"}}, "ignored: UnhandledType", id="an unknown type"),
    pytest.param({"event": {"livemode": True}}, "ignored: LivemodeMismatch", id="a live event"),
    pytest.param({"event": {"account": "acct_9"}}, "ignored: ForeignAccount", id="Connect's"),
    pytest.param({"customer": "cus_9"}, "parked: UnknownCustomer", id="an unknown customer"),
    pytest.param({"customer": None}, "parked: UnknownPayment", id="no customer"),
    pytest.param({"customer": "cus_gone"}, "parked: AccountDeleted", id="a deleted account"),
    pytest.param({"customer": "c" * 10_000}, "failed: BadObject", id="a customer of 10,000"),
    pytest.param({"customer": 5}, "failed: BadObject", id="a customer that is a number"),
    pytest.param({"id": "i" * 10_000}, "failed: BadObject", id="an object's id of 10,000"),
    pytest.param({"amount_paid": -1}, "failed: BadAmount", id="a negative amount"),
    pytest.param({"amount_paid": 10**15}, "failed: BadAmount", id="an absurd amount"),
    pytest.param({"amount_paid": 89.5}, "failed: BadAmount", id="half a cent"),
    pytest.param({"total": 10**40}, "failed: BadAmount", id="an amount of 40 digits"),
    pytest.param({"currency": "xyz"}, "failed: UnknownCurrency", id="an unknown currency"),
    pytest.param({"currency": None}, "failed: UnknownCurrency", id="no currency"),
    pytest.param({"number": "N" * 101}, "failed: BadObject", id="a number of 101 characters"),
    pytest.param({"status": "s" * 21}, "failed: BadObject", id="a status of 21 characters"),
    pytest.param({"lines": "many"}, "failed: BadObject", id="lines that are a word"),
    pytest.param({"lines": {"data": [5]}}, "failed: BadObject", id="a line that is a number"),
    pytest.param({"line": {"id": None}}, "failed: BadObject", id="a line without an id"),
    pytest.param({"line": {"quantity": -1}}, "failed: BadAmount", id="a negative quantity"),
    pytest.param({"line": {"quantity": 10**9}}, "failed: AbsurdCredits", id="a billion of it"),
    pytest.param({"line": {"period": None}}, "failed: LineWithoutPeriod", id="no period"),
    pytest.param(
        {"line": {"period": {"start": 1262304001, "end": 1262304000}}},
        "failed: LineWithoutPeriod",
        id="a period that ends before it begins",
    ),
    pytest.param(
        {"line": {"period": {"start": 1262304000, "end": 4102444799}}},
        "failed: AbsurdPeriod",
        id="a period of ninety years",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("change", "outcome"), EVENTS)
def test_an_event_that_makes_no_sense(door, shop, still_works, change, outcome):
    assert door.post(paid(shop, **change)) == outcome
    still_works()


def test_metadata_that_is_none_says_nothing(door, ledger, shop):
    assert door.post(paid(shop, metadata=nested(40))) == "applied"
    assert ledger.see("acme").credits == 1000


def test_of_keys_that_come_twice_the_last_counts(door, ledger, shop):
    body = body_of(paid(shop)).replace(b'"livemode": false', b'"livemode": true, "livemode": false')

    assert door.post(body) == "applied"
    assert ledger.see("acme").credits == 1000


def test_a_customer_that_two_accounts_have_waits_for_a_person(door, ledger, shop, still_works):
    ledger.open_account("twin", stripe_customer_id="cus_2")
    ledger.open_account("other-twin", stripe_customer_id="cus_2")

    assert door.post(paid(shop, customer="cus_2")) == "failed: CustomerAmbiguous"
    still_works()


def test_an_event_of_our_own_account_is_ours_and_of_no_other(door, ledger, shop, configure):
    configure(BILLING_STRIPE_ACCOUNT="acct_1")

    assert door.post(paid(shop, event={"account": "acct_9"})) == "ignored: ForeignAccount"
    assert door.post(paid(shop, event={"account": "acct_1"})) == "applied"


def test_where_live_events_are_taken_test_events_are_not(door, shop, configure):
    configure(BILLING_STRIPE_LIVEMODE="true")

    assert door.post(paid(shop)) == "ignored: LivemodeMismatch"
    assert door.post(paid(shop, event={"livemode": True})) == "applied"


def test_an_id_that_comes_again_with_other_content_is_another_event(door, ledger, shop):
    first = paid(shop)
    other = paid(shop, event={"id": first["id"]}, line={"id": "il_9"}, id="in_9")

    assert [door.post(first), door.post(other), door.post(other)] == [
        "applied",
        "applied",
        "seen before",
    ]
    assert ledger.see("acme").credits == 2000


@pytest.mark.parametrize(
    ("currency", "paid_minor"),
    [("jpy", 8900), ("kwd", 8900), ("isk", 89), ("ugx", 89), ("mga", 890_000)],
)
def test_amounts_of_every_kind_of_currency_are_mirrored(door, stripe, shop, currency, paid_minor):
    assert door.post(paid(shop, currency=currency)) == "applied"

    assert stripe.invoices() == [("paid", currency.upper(), paid_minor, paid_minor)]
    assert stripe.payments() == [("succeeded", currency.upper(), paid_minor)]
