"""With an API key an event is only a hint: what Stripe says now of the object counts."""

import pytest
from sqlalchemy import text

from flows.stripe import apply as stripe_apply
from flows.stripe import fetch as stripe_fetch
from flows.stripe import receive as stripe_receive
from gateways import stripe_http
from tests import stripe_objects as objects
from tests.billing.stripe.door import SECRET, Door, body_of, webhook
from tests.billing.stripe.story import lots
from tests.billing.stripe.writing import MONTH_S
from tests.fake_stripe import KEY, FakeStripe
from worker import clock
from worker.database import engine, transaction


class WatchedStripe(FakeStripe):
    """Notes with each request how many transactions are open in the database, and how many write."""

    def __init__(self):
        super().__init__()
        self.transactions, self.writing = [], []

    def answer(self, path, query, headers):
        with engine().connect() as connection:
            open_ones = text(
                "SELECT count(*), count(backend_xid) FROM pg_stat_activity"
                " WHERE datname = current_database() AND pid <> pg_backend_pid()"
                " AND xact_start IS NOT NULL AND backend_type = 'client backend'"
            )
            number, writing = connection.execute(open_ones).one()
        self.transactions.append(number)
        self.writing.append(writing)
        return super().answer(path, query, headers)


@pytest.fixture
def fake(monkeypatch):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr(stripe_http, "FIRST_PAUSE_S", 0.0)
    with WatchedStripe() as fake:
        yield fake


@pytest.fixture
def door(configure, ledger, fake):
    """The worker's door, with a key for the fake."""
    configure(
        BILLING_STRIPE_WEBHOOK_SECRETS=SECRET,
        BILLING_STRIPE_API_KEY=KEY,
        BILLING_STRIPE_API_BASE=fake.url,
    )
    ledger.now = clock.now()
    ledger.open_account("acme", status="trial", plan="starter", stripe_customer_id="cus_1")
    return Door()


@pytest.fixture
def now(door, ledger):
    return int(ledger.now.timestamp())


@pytest.fixture
def starter(fake):
    """The price of the starter plan, as Stripe knows it."""
    price = objects.price(metadata={"plan": "starter"})
    fake.keep(objects.product(), price)
    return price


def paid_invoice(now, **changes):
    line = objects.line(period={"start": now, "end": now + MONTH_S})
    return objects.invoice(lines=[line], created=now, **changes)


def event(now, about, kind="invoice.paid", **changes):
    return objects.event(about=about, kind=kind, created=now, **changes)


def later(ledger, **duration):
    """Take up what failed, as the sweep would then."""
    with transaction() as ctx:
        ctx.session.execute(
            text("UPDATE billing.stripe_events SET due_at = now() WHERE due_at > now()")
        )
        numbers = list(
            ctx.session.scalars(text("SELECT id FROM billing.stripe_events ORDER BY id"))
        )
    return [stripe_apply.apply(number) for number in numbers]


def test_the_objects_present_state_outweighs_the_event(door, ledger, fake, starter, now):
    fake.keep(paid_invoice(now, status="open", amount_paid=0))

    assert door.post(event(now, paid_invoice(now))) == "applied"
    assert ledger.see("acme").credits == 0


def test_an_event_that_comes_late_is_applied_as_things_stand_now(door, ledger, fake, starter, now):
    fake.keep(paid_invoice(now))
    draft = paid_invoice(now - 3600, status="draft", amount_paid=0)

    assert door.post(event(now - 3600, draft, kind="invoice.created")) == "applied"
    assert ledger.see("acme").credits == 1000


def test_prices_that_an_invoice_only_names_are_asked_for_once(door, ledger, fake, starter, now):
    fake.keep(paid_invoice(now), paid_invoice(now, id="in_2"))

    door.post(event(now, paid_invoice(now)))
    door.post(event(now, paid_invoice(now, id="in_2"), id="evt_2"))

    asked = [path for path, _, _ in fake.asked]
    assert asked == ["/v1/invoices/in_1", "/v1/prices/price_1", "/v1/invoices/in_2"]


def test_a_price_that_stripe_does_not_know_either_waits_for_a_person(door, ledger, fake, now):
    fake.keep(paid_invoice(now))

    assert door.post(event(now, paid_invoice(now))) == "parked: UnknownPrice"


def test_a_price_that_is_fetched_for_one_invoice_frees_another_that_waited(door, ledger, fake, now):
    fake.keep(paid_invoice(now), paid_invoice(now, id="in_2"))
    waits = door.post(event(now, paid_invoice(now)))
    fake.keep(objects.product(), objects.price(metadata={"plan": "starter"}))

    door.post(event(now, paid_invoice(now, id="in_2"), id="evt_2"))

    assert waits == "parked: UnknownPrice"
    assert door.rows()[0].due_at <= clock.now()


def test_all_lines_of_a_long_invoice_are_fetched(door, ledger, fake, starter, now):
    period = {"start": now, "end": now + MONTH_S}
    lines = [objects.line(f"il_{n}", period=period) for n in range(23)]
    fake.keep(objects.invoice(lines=lines, created=now))

    assert door.post(event(now, paid_invoice(now))) == "applied"
    assert ledger.see("acme").credits == 23 * 1000


def test_while_stripe_is_away_an_event_waits_and_is_then_applied(door, ledger, fake, starter, now):
    fake.keep(paid_invoice(now))
    fake.fail(500, times=stripe_http.TRIES)

    first = door.post(event(now, paid_invoice(now)))
    (row,) = door.rows()
    later(ledger)

    assert first == "failed: StripeAway"
    assert (row.attempts, row.due_at > clock.now()) == (1, True)
    assert [row.state for row in door.rows()] == ["applied"]
    assert ledger.see("acme").credits == 1000


def test_a_short_fault_of_stripes_costs_a_try_and_no_more(door, ledger, fake, starter, now):
    fake.keep(paid_invoice(now))
    fake.fail(429, Retry_After="0")
    fake.drop()

    assert door.post(event(now, paid_invoice(now))) == "applied"


def test_a_key_that_stripe_refuses_is_said_and_tried_again(door, ledger, fake, starter, now):
    fake.keep(paid_invoice(now))
    fake.fail(401, code="invalid_request_error", times=1)

    outcome = door.post(event(now, paid_invoice(now)))
    (row,) = door.rows()
    later(ledger)

    assert outcome == "failed: StripeRefused"
    assert row.facts["status"] == 401
    assert KEY not in str(row.facts)
    assert [row.state for row in door.rows()] == ["applied"]


def test_an_object_that_stripe_knows_no_more_is_ignored(door, ledger, fake, now):
    assert door.post(event(now, paid_invoice(now))) == "ignored: StripeKnowsNone"


def test_an_object_whose_end_the_event_tells_is_kept_as_deleted(door, ledger, fake, now):
    gone = event(now, objects.invoice("in_1", status="draft"), kind="invoice.deleted")
    gone["data"]["object"]["lines"]["data"][0]["pricing"] = None

    outcome = door.post(event(now, objects.product(), kind="product.deleted"))

    assert outcome == "applied"


def test_a_thin_event_is_fetched_and_applied(door, ledger, fake, starter, now):
    fake.keep(paid_invoice(now))
    thin = objects.v2_event(
        type="v1.invoice.paid",
        related_object={"id": "in_1", "type": "invoice", "url": "/v1/invoices/in_1"},
    )

    assert door.post(thin) == "applied"
    assert ledger.see("acme").credits == 1000


def test_a_thin_event_of_another_type_is_kept_as_ignored(door, fake):
    assert door.post(objects.v2_event()) == "ignored: UnhandledType"
    assert fake.asked == []


def test_without_a_key_a_thin_event_waits_for_one(door, configure, monkeypatch):
    monkeypatch.delenv("BILLING_STRIPE_API_KEY")
    configure()
    thin = objects.v2_event(
        type="v1.invoice.paid",
        related_object={"id": "in_1", "type": "invoice", "url": "/v1/invoices/in_1"},
    )

    assert door.post(thin) == "parked: NeedsApiKey"


def test_nothing_is_asked_for_events_that_are_not_ours(door, fake, now):
    door.post(event(now, paid_invoice(now), livemode=True))
    door.post(event(now, {"id": "po_1"}, kind="payout.paid", id="evt_2"))

    assert fake.asked == []


def test_no_transaction_is_open_while_stripe_is_asked(door, fake, starter, now):
    fake.keep(paid_invoice(now))

    door.post(event(now, paid_invoice(now)))

    assert fake.transactions == [0, 0]
    assert stripe_fetch.gateway() is not None


# --- in sets -------------------------------------------------------------------------------------


def in_a_set(*payloads):
    """Deliver these events at once; returns what became of each."""
    hooks = [webhook(body_of(payload)) for payload in payloads]
    return [each.state for each in stripe_apply.finish(stripe_receive.receive(hooks))]


def test_events_of_one_object_in_a_set_ask_stripe_for_it_once(door, ledger, fake, starter, now):
    fake.keep(paid_invoice(now))
    twins = [
        event(now, paid_invoice(now), id="evt_1"),
        event(now, paid_invoice(now), id="evt_2", kind="invoice.payment_succeeded"),
        event(now, paid_invoice(now), id="evt_3", kind="invoice.updated"),
    ]
    door.post(event(now, starter, kind="price.created", id="evt_0"))
    before = len(fake.asked)

    assert in_a_set(*twins) == ["applied"] * 3
    assert len(fake.asked) == before + 1
    assert ledger.see("acme").credits == 1000


def test_nothing_is_locked_or_written_while_stripe_is_asked_for_a_set(door, fake, starter, now):
    invoices = [paid_invoice(now, id=f"in_{n}") for n in range(8)]
    fake.keep(*invoices)

    in_a_set(*[event(now, each, id=f"evt_{each['id']}") for each in invoices])

    assert len(fake.writing) >= 8
    assert max(fake.writing) == 0


def test_once_stripe_is_away_the_rest_of_a_set_waits_and_asks_no_more(
    door, ledger, fake, starter, now
):
    fake.keep(paid_invoice(now))
    fake.fail(500, times=10_000)
    count = 4 * stripe_fetch.READS_AT_ONCE
    customers = [objects.customer(f"cus_{n}") for n in range(count)]
    sent = [
        event(now, each, kind="customer.updated", id=f"evt_{n}") for n, each in enumerate(customers)
    ]

    states = in_a_set(*sent)

    assert set(states) == {"failed", "received"}
    assert states.count("failed") < count
    assert len(fake.asked) == states.count("failed") * stripe_http.TRIES
    assert {row.state for row in door.rows() if row.due_at is not None} == {"failed", "received"}


# --- Checkout ------------------------------------------------------------------------------------


def checkout_with_inline_price(now, **changes):
    """A paid session in payment mode whose price Checkout made of `price_data`."""
    inline = objects.price("price_inline", product="prod_inline", type="one_time", recurring=None)
    item = {"id": "li_1", "object": "item", "price": inline, "quantity": 1}
    fields = {"mode": "payment", "invoice": None, "subscription": None, "created": now}
    fields |= {"payment_intent": "pi_1", "client_reference_id": None}
    fields |= {"metadata": {"credits": "500"}}
    return objects.checkout_session(line_items=[item], **(fields | changes))


def test_credits_in_a_sessions_metadata_count_whatever_its_inline_price_is(door, ledger, fake, now):
    fake.keep(objects.product("prod_inline"), checkout_with_inline_price(now))

    outcome = door.post(event(now, checkout_with_inline_price(now), "checkout.session.completed"))

    assert outcome == "applied"
    assert lots(ledger) == [("top_up", 500)]


@pytest.mark.parametrize("first", ["the session", "the invoice"])
def test_an_invoice_with_an_inline_price_is_the_sessions(door, ledger, fake, now, first):
    named = {"price": "price_inline", "product": "prod_inline"}
    line = objects.line(
        parent={"type": "invoice_item_details", "invoice_item_details": {"proration": False}},
        period={"start": now, "end": now},
        pricing={"type": "price_details", "price_details": named, "unit_amount_decimal": "8900"},
    )
    invoice = objects.invoice(lines=[line], created=now, parent=None, billing_reason="manual")
    session = checkout_with_inline_price(now, invoice="in_1")
    inline = objects.price("price_inline", product="prod_inline", type="one_time", recurring=None)
    fake.keep(objects.product("prod_inline"), inline, invoice, session)
    posts = [
        event(now, session, "checkout.session.completed", id="evt_1"),
        event(now, invoice, id="evt_2"),
    ]

    for each in posts if first == "the session" else reversed(posts):
        door.post(each)
    later(ledger)

    assert lots(ledger) == [("top_up", 500)]
    assert [row.state for row in door.rows()] == ["applied", "applied"]
    assert ledger.audit().agrees


@pytest.mark.parametrize("first", ["the session", "the invoice"])
def test_a_pack_with_an_invoice_is_given_once(door, ledger, fake, now, first):
    pack = objects.price(
        "price_pack", product="prod_1", type="one_time", recurring=None, metadata={"credits": "500"}
    )
    item = {"id": "li_1", "object": "item", "price": pack, "quantity": 2}
    session = checkout_with_inline_price(now, invoice="in_1", metadata={}) | {
        "line_items": objects.listed("/v1", item)
    }
    named = {"price": "price_pack", "product": "prod_1"}
    line = objects.line(
        parent={"type": "invoice_item_details", "invoice_item_details": {"proration": False}},
        quantity=2,
        pricing={"type": "price_details", "price_details": named, "unit_amount_decimal": "8900"},
    )
    invoice = objects.invoice(lines=[line], created=now, parent=None)
    fake.keep(objects.product(), pack, session, invoice)

    posts = [
        event(now, session, "checkout.session.completed", id="evt_1"),
        event(now, invoice, id="evt_2"),
    ]

    for each in posts if first == "the session" else reversed(posts):
        door.post(each)

    assert lots(ledger) == [("top_up", 1000)]
