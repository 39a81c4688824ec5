"""`billing relay` serves the relay as a program: on loopback, within its limits, until it is stopped."""

import http.client
import json
import os
import signal
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import pytest
from sqlalchemy import func, select

from billing.stripe.signature import sign
from billing_client.fields import MAX_STRIPE_BODY
from models.stripe import StripeEvent
from tests import stripe_objects as objects
from tests.local_stripe import free_port, if_installed, running_localstripe
from tests.worker.conftest import WAIT_S, wait_until
from worker import clock
from worker.database import transaction

SECRET = "whsec_test"
PATH = "/hooks/stripe"


@contextmanager
def running_relay(log_file, *, ignores=None, **environment):
    """A relay of its own process, begun with a signal ignored; gives its process and port."""
    port = free_port()
    program = Path(sys.executable).with_name("billing")
    command = [program, "relay", "--port", str(port), "--path", PATH]
    usual = {"BILLING_STRIPE_WEBHOOK_SECRETS": SECRET, "BILLING_LOG_FORMAT": "json"}
    variables = {**os.environ, **usual, **environment}
    before = signal.signal(ignores, signal.SIG_IGN) if ignores else None
    with log_file.open("w") as log:
        process = subprocess.Popen(command, env=variables, stdout=log, stderr=log)
    if ignores:
        signal.signal(ignores, before)
    try:
        read_log = log_file.read_text
        wait_until(lambda: "Serving on" in read_log() or process.poll() is not None, read_log)
        assert process.poll() is None, read_log()
        yield process, port
    finally:
        process.kill()
        process.wait()


@pytest.fixture
def relay(tmp_path, database, redis_client):
    with running_relay(tmp_path / "log") as running:
        yield running


def post(port, body, *, path=PATH, headers=None, **options):
    """Posts as Stripe does; returns the status."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=WAIT_S)
    signature = sign(body, secret=SECRET, at=clock.now()) if isinstance(body, bytes) else ""
    connection.request(
        "POST", path, body, {"Stripe-Signature": signature} | (headers or {}), **options
    )
    return connection.getresponse().status


def announce(port, size):
    """Says how large the body will be, and waits; returns the status."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=WAIT_S)
    connection.putrequest("POST", PATH)
    connection.putheader("Content-Length", str(size))
    connection.endheaders()
    return connection.getresponse().status


def kept():
    with transaction() as ctx:
        return ctx.session.execute(select(func.count()).select_from(StripeEvent)).scalar_one()


def test_what_is_posted_to_it_lies_in_the_inbox(relay):
    _, port = relay
    bodies = [json.dumps(objects.event(f"evt_{n}")).encode() for n in range(20)]

    assert {post(port, body) for body in bodies} == {200}
    assert kept() == 20


def test_it_lives_at_the_path_that_it_was_given(relay):
    _, port = relay

    assert post(port, b"{}", path="/stripe/webhook") == 404
    assert post(port, b"{}") == 400


def test_it_reads_a_mebibyte_and_not_a_byte_more(relay):
    _, port = relay
    largest = json.dumps(objects.event(padding="")).encode()
    filled = objects.event(padding="x" * (MAX_STRIPE_BODY - len(largest)))

    assert post(port, json.dumps(filled).encode()) == 200
    assert announce(port, MAX_STRIPE_BODY + 1) == 413
    assert kept() == 1


def test_a_body_in_chunks_is_read(relay):
    _, port = relay
    body = json.dumps(objects.event()).encode()
    signature = {"Stripe-Signature": sign(body, secret=SECRET, at=clock.now())}

    assert post(port, iter([body[:100], body[100:]]), headers=signature, encode_chunked=True) == 200
    assert kept() == 1


def test_it_listens_on_this_machine_alone(relay):
    process, port = relay
    (state,) = [
        line.split()[1]
        for line in Path(f"/proc/{process.pid}/net/tcp").read_text().splitlines()[1:]
        if line.split()[1].endswith(f":{port:04X}") and line.split()[3] == "0A"
    ]

    assert state.partition(":")[0] == "0100007F"


def test_its_log_names_the_event_and_shows_nothing_of_it(relay, tmp_path):
    _, port = relay
    body = json.dumps(objects.event(about=objects.customer(email="zoe@example.com"))).encode()

    post(port, body)
    post(port, body, headers={"Stripe-Signature": "t=1,v1=abcdef"})

    log = (tmp_path / "log").read_text()
    stored, refused = [json.loads(line) for line in log.splitlines() if "webhook_" in line]
    assert (stored["event"], stored["event_id"]) == ("webhook_stored", "evt_1")
    assert (refused["event"], refused["reason"]) == ("webhook_refused", "BadSignature")
    assert not [secret for secret in ("zoe@example.com", "abcdef", SECRET) if secret in log]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_ends_in_good_order_when_it_is_told_to(relay, number):
    process, port = relay
    post(port, json.dumps(objects.event()).encode())

    process.send_signal(number)

    assert process.wait(WAIT_S) == 0


def test_it_ends_by_sigint_in_the_background_of_a_script_too(tmp_path, database, redis_client):
    with running_relay(tmp_path / "log", ignores=signal.SIGINT) as (process, _):
        process.send_signal(signal.SIGINT)

        assert process.wait(WAIT_S) == 0


def test_it_takes_events_while_postgres_is_away(tmp_path, redis_client):
    away = "postgresql://nobody@127.0.0.1:1/none"
    with running_relay(tmp_path / "log", DATABASE_URL=away) as (_, port):
        assert post(port, json.dumps(objects.event()).encode()) == 200

    assert redis_client.llen("stripe") == 1


def test_it_does_not_start_without_a_secret(billing, monkeypatch):
    monkeypatch.delenv("BILLING_STRIPE_WEBHOOK_SECRETS", raising=False)

    assert "BILLING_STRIPE_WEBHOOK_SECRETS" in billing("relay", exit_code=1)


@pytest.mark.parametrize("path", ["stripe", "/health", ""])
def test_it_does_not_start_on_a_path_that_can_not_be(billing, path):
    assert "--path" in billing("relay", "--path", path, exit_code=2)


@if_installed
def test_it_takes_what_localstripe_signs(relay, monkeypatch):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    _, port = relay
    with running_localstripe() as local:
        local.send_webhooks(f"http://127.0.0.1:{port}{PATH}", SECRET)
        local.subscriber()
        wanted = {"customer.created", "customer.subscription.created"}
        wait_until(lambda: types() >= wanted, lambda: str(types()))


def types():
    with transaction() as ctx:
        return set(ctx.session.scalars(select(StripeEvent.type)))
