"""Thin events name what changed and carry nothing: what it is now is asked, and applied or kept."""

import io
import json

import pytest
from sqlalchemy import select

from billing.stripe.kinds import KIND_OF_EVENT, KIND_OF_THIN_OBJECT
from billing.stripe.signature import sign
from flows.stripe import apply as stripe_apply
from gateways.stripe_kinds import KINDS
from models.stripe import StripeEvent
from tests import stripe_objects as objects
from tests.flows.stripe.conftest import SECRET
from web.relay import PATH, Relay, into_inbox
from worker import clock
from worker.database import transaction


def thin(kind, related_type, object_id, **changes):
    related = {"id": object_id, "type": related_type, "url": f"/v1/{related_type}s/{object_id}"}
    return objects.v2_event("evt_thin", type=kind, related_object=related, **changes)


def post(payload, *, secret=SECRET):
    """Post a webhook to the relay; returns the status of its answer."""
    body, answered = json.dumps(payload).encode(), []
    environ = {
        "REQUEST_METHOD": "POST",
        "PATH_INFO": PATH,
        "CONTENT_LENGTH": str(len(body)),
        "HTTP_STRIPE_SIGNATURE": sign(body, secret=secret, at=clock.now()),
        "wsgi.input": io.BytesIO(body),
    }
    Relay(stores=(into_inbox,))(environ, lambda status, headers: answered.append(status))
    return answered[0]


def taken_up():
    """Take up each event of the inbox; what became of it."""
    with transaction() as ctx:
        numbers = list(ctx.session.scalars(select(StripeEvent.id).order_by(StripeEvent.id)))
    outcomes = [stripe_apply.apply(number) for number in numbers]
    return [o.state if o.reason is None else f"{o.state}: {o.reason}" for o in outcomes]


@pytest.fixture
def told(acme, redis_client):
    """Posts a thin event to the relay and has the worker take it up; tells what became of it."""

    def told(kind, related_type, object_id, **changes):
        assert post(thin(kind, related_type, object_id, **changes)) == "200 OK"
        return taken_up()

    return told


def test_a_thin_event_with_a_wrong_signature_is_refused_by_the_relay(acme, redis_client):
    assert post(thin("v1.invoice.paid", "invoice", "in_1"), secret="whsec_x") == "400 Bad Request"
    assert taken_up() == []


def test_a_thin_event_of_a_paid_invoice_gives_the_credits(told, acme, ledger):
    acme.buys(hours=1)

    assert told("v1.invoice.paid", "invoice", "in_1") == ["applied"]
    assert ledger.see("acme").credits == 1000


def test_a_type_that_only_thin_events_have_is_known_by_its_object(told, acme):
    acme.buys(hours=1)
    acme.fake.keep(acme.subscription | {"status": "unpaid", "latest_invoice": None})

    assert told("v1.customer.subscription.unpaid", "subscription", "sub_1") == ["applied"]
    assert acme.status == "suspended"


@pytest.mark.parametrize(
    ("kind", "related_type"),
    [
        pytest.param("v1.billing.meter.no_meter_found", "billing.meter", id="a meter"),
        pytest.param("v1.issuing_dispute.created", "issuing.dispute", id="a card we issued"),
        pytest.param("v1.climate.product.created", "climate.product", id="a climate product"),
        pytest.param("v2.core.account.closed", "v2.core.account", id="an account"),
        pytest.param("v2.core.event_destination.ping", "v2.core.event_destination", id="a ping"),
    ],
)
def test_what_a_thin_event_says_of_other_things_is_kept_as_ignored(told, kind, related_type):
    assert told(kind, related_type, "x_1") == ["ignored: UnhandledType"]


def test_a_thin_event_that_names_no_object_is_kept_as_ignored(acme, redis_client):
    post(
        objects.v2_event(
            "evt_thin", type="v2.core.health.event_generation_failure.resolved", related_object=None
        )
    )

    assert taken_up() == ["ignored: UnhandledType"]


def test_without_an_api_key_a_thin_event_waits_for_one(acme, redis_client, configure, ledger):
    acme.buys(hours=1)
    post(thin("v1.invoice.paid", "invoice", "in_1"))
    configure(BILLING_STRIPE_API_KEY="")

    assert taken_up() == ["parked: NeedsApiKey"]


def test_a_thin_event_of_a_draft_that_is_gone_notes_that_it_is_gone(told, acme):
    draft = acme.buys(hours=1) | {"status": "draft", "amount_paid": 0}
    acme.fake.keep(draft)
    assert told("v1.invoice.created", "invoice", "in_1") == ["applied"]
    del acme.fake.objects["/v1/invoices"]["in_1"]
    assert post(thin("v1.invoice.deleted", "invoice", "in_1") | {"id": "evt_2"}) == "200 OK"

    assert taken_up()[-1] == "applied"


def test_a_thin_event_of_a_thing_that_is_gone_and_never_was_known_is_ignored(told):
    assert told("v1.invoice.deleted", "invoice", "in_9") == ["ignored: StripeKnowsNone"]


def test_a_thin_event_of_cash_is_read_from_the_event_that_stripe_made_beside_it(told, acme):
    cash = {
        "id": "ccsbtxn_1",
        "object": "customer_cash_balance_transaction",
        "customer": "cus_1",
        "currency": "usd",
        "net_amount": 500,
        "type": "funded",
    }
    kind = "customer_cash_balance_transaction.created"
    acme.fake.keep(objects.event("evt_beside", kind, about=cash))
    acme.fake.keep(objects.v2_event("evt_thin", type=f"v1.{kind}", snapshot_event="evt_beside"))

    outcome = told(f"v1.{kind}", "customer_cash_balance_transaction", "ccsbtxn_1")

    assert outcome == ["applied"]


@pytest.mark.parametrize(
    ("context", "outcome"),
    [
        pytest.param(None, "applied", id="none: the endpoint's own account"),
        pytest.param("acct_1", "applied", id="our account"),
        pytest.param("org_1/acct_1", "applied", id="our account within its organization"),
        pytest.param("acct_2", "ignored: ForeignAccount", id="another account"),
        pytest.param("org_1/acct_2", "ignored: ForeignAccount", id="another of the organization"),
    ],
)
def test_the_context_says_whose_a_thin_event_is(told, acme, configure, context, outcome):
    configure(BILLING_STRIPE_ACCOUNT="acct_1")
    acme.buys(hours=1)

    assert told("v1.invoice.paid", "invoice", "in_1", context=context) == [outcome]


def test_a_thin_event_of_the_other_mode_is_ignored(told):
    outcome = told("v1.invoice.paid", "invoice", "in_1", livemode=True)

    assert outcome == ["ignored: LivemodeMismatch"]


def test_a_thin_event_and_the_one_beside_it_give_the_credits_once(told, acme, ledger):
    invoice = acme.buys(hours=1)
    assert told("v1.invoice.paid", "invoice", "in_1") == ["applied"]
    post(objects.event("evt_beside", "invoice.paid", about=invoice))

    assert taken_up()[-1] == "applied"
    assert ledger.see("acme").credits == 1000


def test_every_kind_that_a_thin_event_may_be_about_can_be_fetched_or_is_cash():
    assert {kind.KIND for kind in KIND_OF_THIN_OBJECT.values()} - set(KINDS) == {"cash_transaction"}
    assert set(KIND_OF_THIN_OBJECT.values()) == set(KIND_OF_EVENT.values())
