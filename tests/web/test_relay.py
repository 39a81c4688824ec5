"""The relay takes what Stripe signed, puts it where it is safe, and tells Stripe no more than that."""

import datetime as dt
import io
import json
from wsgiref.util import setup_testing_defaults

import pytest
from sqlalchemy import create_engine, select, text

from billing.stripe.signature import sign
from billing_client import MESSAGES, BillingClient, StripeWebhook
from billing_client.fields import MAX_STRIPE_BODY
from models.stripe import StripeEvent
from tests import stripe_objects as objects
from tests.worker.conftest import wait_until
from web import relay
from web.relay import HEALTH_PATH, PATH, Bell, Relay, onto_queue
from worker import clock
from worker.database import transaction
from worker.settings import settings
from worker.transport import envelope, queues

SECRET, OLD_SECRET = "whsec_new", "whsec_old"
EVENT = json.dumps(objects.event()).encode()


def postgres_is_away(_webhook):
    create_engine("postgresql+psycopg2://nobody@127.0.0.1:1/none").connect()


def redis_is_away(webhook):
    BillingClient("redis://127.0.0.1:1/0").stripe_event(webhook.body, webhook.signature)


@pytest.fixture
def configured(monkeypatch):
    """The process's settings, with a secret that is being rotated."""
    monkeypatch.setenv("BILLING_STRIPE_WEBHOOK_SECRETS", f"{SECRET},{OLD_SECRET}")
    settings.cache_clear()
    yield
    monkeypatch.undo()
    settings.cache_clear()


@pytest.fixture
def ask(configured, database, redis_client):
    """Sends a request to a relay; returns the status and the body of its answer."""

    def ask(body=EVENT, *, signature=None, app=None, **environ):
        answered = []
        environ = {"REQUEST_METHOD": "POST", "PATH_INFO": PATH} | environ
        environ.setdefault("CONTENT_LENGTH", str(len(body)))
        environ["wsgi.input"] = io.BytesIO(body)
        if signature is None:
            signature = sign(body, secret=SECRET, at=clock.now())
        if signature:
            environ["HTTP_STRIPE_SIGNATURE"] = signature
        setup_testing_defaults(environ)
        words = (app or relay.application)(environ, lambda *said: answered.append(said))
        ((status, headers),) = answered
        assert ("Content-Length", str(len(b"".join(words)))) in headers
        return status, b"".join(words).decode().strip()

    return ask


def kept():
    with transaction() as ctx:
        return list(ctx.session.scalars(select(StripeEvent).order_by(StripeEvent.id)))


def queued(redis_client):
    taken = queues.take(redis_client, "stripe", 10)
    return [envelope.read(raw, known_tasks=MESSAGES) for _, raw in taken]


# --- where it goes ------------------------------------------------------------------------------


def test_an_event_lies_in_the_inbox_and_the_worker_is_told(ask, redis_client):
    assert ask() == ("200 OK", "stored")

    (row,) = kept()
    (bell,) = queued(redis_client)
    assert (row.event_id, row.state, row.source) == ("evt_1", "received", "webhook")
    assert row.payload == objects.event()
    assert (bell.task, bell.arguments) == ("stripe.apply", {"number": row.id})


def test_a_worker_takes_up_what_the_relay_has_kept(ask, start):
    body = json.dumps(objects.event("evt_1", "customer.updated", about=objects.customer()))
    start("stripe", "-Q", "stripe", "--pool", "solo")

    ask(body.encode())

    wait_until(lambda: kept()[0].state != "received")
    assert (kept()[0].state, kept()[0].reason) == ("parked", "UnknownCustomer")


def test_an_event_that_comes_twice_is_one_row_and_one_bell(ask, redis_client):
    assert [ask()[0], ask()[0]] == ["200 OK", "200 OK"]

    assert [row.deliveries for row in kept()] == [2]
    assert len(queued(redis_client)) == 1


def test_a_thin_event_is_kept_as_any_other(ask):
    body = json.dumps(objects.v2_event()).encode()

    assert ask(body)[0] == "200 OK"
    assert kept()[0].type == "v1.billing.meter.error_report_triggered"


def test_without_postgres_the_event_goes_to_the_queue_as_it_came(ask, redis_client):
    before = clock.now()
    signature = sign(EVENT, secret=SECRET, at=before)

    answer = ask(signature=signature, app=Relay(stores=(postgres_is_away, onto_queue)))

    (message,) = queued(redis_client)
    webhook = StripeWebhook.from_arguments(message.arguments)
    assert answer == ("200 OK", "stored")
    assert (message.task, webhook.body, webhook.signature) == ("stripe.receive", EVENT, signature)
    assert before <= webhook.received_at <= clock.now()


def test_a_bug_in_the_way_to_the_inbox_costs_no_event(ask, redis_client):
    with transaction() as ctx:
        ctx.session.execute(text("ALTER TABLE billing.stripe_events RENAME TO elsewhere"))
    try:
        assert ask()[0] == "200 OK"
    finally:
        with transaction() as ctx:
            ctx.session.execute(text("ALTER TABLE billing.elsewhere RENAME TO stripe_events"))

    assert [message.task for message in queued(redis_client)] == ["stripe.receive"]


def test_without_redis_the_event_lies_in_the_inbox_and_the_bell_rests(ask, monkeypatch):
    asked = []
    away = BillingClient("redis://127.0.0.1:1/0")
    monkeypatch.setattr(relay, "_bell", Bell())
    monkeypatch.setattr(relay, "_client", lambda: asked.append(1) or away)

    answers = [ask(json.dumps(objects.event(f"evt_{n}")).encode()) for n in range(3)]

    assert answers == [("200 OK", "stored")] * 3
    assert (len(kept()), len(asked)) == (3, 1)


def test_without_both_stripe_is_asked_to_come_again(ask):
    nowhere = Relay(stores=(postgres_is_away, redis_is_away))

    assert ask(app=nowhere) == ("503 Service Unavailable", "nowhere to store it")


# --- what is refused ----------------------------------------------------------------------------


@pytest.mark.parametrize("secret", [SECRET, OLD_SECRET])
def test_while_a_secret_is_rotated_both_fit(ask, secret):
    assert ask(signature=sign(EVENT, secret=secret, at=clock.now()))[0] == "200 OK"


MINUTES = dt.timedelta(minutes=6)
REFUSED = {
    "no signature": ("", "MissingSignature"),
    "a signature that is none": ("v1=00", "MalformedSignature"),
    "a wrong secret": (lambda now: sign(EVENT, secret="whsec_x", at=now), "BadSignature"),
    "another body": (lambda now: sign(EVENT + b" ", secret=SECRET, at=now), "BadSignature"),
    "an old one": (lambda now: sign(EVENT, secret=SECRET, at=now - MINUTES), "StaleSignature"),
    "one to come": (lambda now: sign(EVENT, secret=SECRET, at=now + MINUTES), "FutureSignature"),
}


@pytest.mark.parametrize(("signature", "reason"), REFUSED.values(), ids=REFUSED)
def test_what_stripe_did_not_sign_is_refused_and_kept_nowhere(ask, redis_client, signature, reason):
    header = signature(clock.now()) if callable(signature) else signature

    assert ask(signature=header) == ("400 Bad Request", reason)
    assert (kept(), queued(redis_client)) == ([], [])


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        pytest.param(b"", "NotJson", id="nothing"),
        pytest.param(b"{", "NotJson", id="half of it"),
        pytest.param(b"\xff\xfe", "NotUtf8", id="no UTF-8"),
        pytest.param(b"[]", "NotAnEvent", id="a list"),
        pytest.param(b"{}", "NotAnEvent", id="an object of another kind"),
    ],
)
def test_a_body_that_is_no_event_is_refused_though_it_is_signed(ask, body, reason):
    assert ask(body) == ("400 Bad Request", reason)


def test_the_largest_body_is_read_and_one_byte_more_is_not(ask):
    assert ask(b"x" * MAX_STRIPE_BODY) == ("400 Bad Request", "NotJson")
    assert ask(b"x" * (MAX_STRIPE_BODY + 1)) == ("413 Request Entity Too Large", "BodyTooLarge")


@pytest.mark.parametrize(
    ("said", "answer"),
    [
        pytest.param({"CONTENT_LENGTH": "9999"}, "BodyCutShort", id="less than announced"),
        pytest.param({"CONTENT_LENGTH": ""}, "BodyCutShort", id="no length"),
        pytest.param({"CONTENT_LENGTH": "-5"}, "BodyCutShort", id="a negative length"),
        pytest.param({"CONTENT_LENGTH": "9" * 5000}, "BodyCutShort", id="5,000 digits"),
    ],
)
def test_a_body_whose_end_is_not_known_is_refused(ask, said, answer):
    assert ask(**said) == ("400 Bad Request", answer)


def test_a_body_in_chunks_is_read_to_its_end(ask):
    chunked = {"CONTENT_LENGTH": "", "wsgi.input_terminated": True}

    assert ask(**chunked)[0] == "200 OK"
    assert ask(b"x" * (MAX_STRIPE_BODY + 1), **chunked)[1] == "BodyTooLarge"


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", PATH, "405 Method Not Allowed"),
        ("PUT", PATH, "405 Method Not Allowed"),
        ("POST", HEALTH_PATH, "405 Method Not Allowed"),
        ("GET", HEALTH_PATH, "200 OK"),
        ("POST", "/", "404 Not Found"),
        ("POST", PATH + "/", "404 Not Found"),
    ],
)
def test_there_is_one_path_for_webhooks_and_one_for_its_health(ask, method, path, status):
    assert ask(REQUEST_METHOD=method, PATH_INFO=path)[0] == status


def test_a_relay_without_secrets_asks_stripe_to_come_again(ask, monkeypatch):
    monkeypatch.delenv("BILLING_STRIPE_WEBHOOK_SECRETS")
    settings.cache_clear()

    assert ask() == ("503 Service Unavailable", "not configured")


def test_the_old_name_of_the_relay_still_works_and_says_the_new_one():
    import worker.relay
    from web import relay

    with pytest.warns(DeprecationWarning, match="web.relay"):
        assert worker.relay.application is relay.application
