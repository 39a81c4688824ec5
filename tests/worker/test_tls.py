"""`rediss://` checks the certificate in every part of the product, and is refused in words."""

import asyncio
import contextlib
import datetime as dt
import os
import runpy
import socket
import ssl
import subprocess
import sys
import threading
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import redis
from flower.utils.broker import Broker
from kombu.exceptions import OperationalError

import celeryconfig
from billing_client import BillingClient, tls
from billing_client.client import sender
from billing_client.events import Event
from billing_client.throttle import AccountThrottle
from gateways.event_queue import EventQueue, QueueAway
from tests.worker.conftest import running_worker
from worker import preflight
from worker.settings import BadSettings, settings

FOLDER = Path(__file__).parents[1] / "tls"
AUTHORITY = str(FOLDER / "authority.pem")
NOW = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
#: certificate -> the authority that is trusted
REFUSED = {
    "of another host": ("other_name", AUTHORITY, "Hostname mismatch"),
    "of an authority that is not trusted": (
        "server",
        str(FOLDER / "stranger.pem"),
        "verify failed",
    ),
    "of no authority of the system": ("server", None, "verify failed"),
    "that has expired": ("expired", AUTHORITY, "has expired"),
}


def copy(source, target):
    with contextlib.suppress(OSError):
        while data := source.recv(65536):
            target.sendall(data)
    for end in (source, target):
        with contextlib.suppress(OSError):
            end.shutdown(socket.SHUT_RDWR)


def serve(plain, context, host, port):
    with contextlib.suppress(OSError):
        client = context.wrap_socket(plain, server_side=True)
        server = socket.create_connection((host, port))
        threading.Thread(target=copy, args=(client, server), daemon=True).start()
        copy(server, client)


@contextlib.contextmanager
def behind_tls(certificate):
    """The suite's Redis behind TLS; gives its URL."""
    inner = urlsplit(os.environ["REDIS_URL"])
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(FOLDER / f"{certificate}.pem")
    listener = socket.create_server(("127.0.0.1", 0))

    def accept():
        with contextlib.suppress(OSError):
            while True:
                plain, _ = listener.accept()
                arguments = (plain, context, inner.hostname, inner.port)
                threading.Thread(target=serve, args=arguments, daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    login = inner.netloc.rpartition("@")[0]
    try:
        port = listener.getsockname()[1]
        yield f"rediss://{login and login + '@'}localhost:{port}{inner.path}"
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()


@pytest.fixture
def configured(monkeypatch):
    """Sets the environment of this process; gives the settings."""

    def configure(url, ca_file=None, **environment):
        monkeypatch.setenv("REDIS_URL", url)
        if ca_file:
            monkeypatch.setenv("BILLING_REDIS_CA_FILE", ca_file)
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        settings.cache_clear()
        return settings()

    yield configure
    monkeypatch.undo()
    settings.cache_clear()


def with_option(url, ca_file):
    return f"{url}?ssl_ca_certs={ca_file}" if ca_file else url


def ask_own_client(config, url):
    with redis.Redis.from_url(config.redis_url, retry=None) as client:
        client.ping()


def ask_celery(config, url):
    set_up = runpy.run_path(celeryconfig.__file__)
    from worker.app import app

    with app.connection(set_up["broker_url"], ssl=set_up["broker_use_ssl"]) as connection:
        connection.ensure_connection(max_retries=1)
        connection.default_channel.client.ping()


def ask_client_package(config, url):
    BillingClient(url).ring()


def ask_throttle(config, url):
    throttle = AccountThrottle(url)
    assert throttle._limiter.storage.check()


def ask_event_queue(config, url):
    EventQueue(config.redis_url, "tls").send(Event(1, "test", None, NOW, None, {}), now=NOW)


def ask_flower(config, url):
    set_up = runpy.run_path(celeryconfig.__file__)
    broker = Broker(
        url,
        broker_options=set_up["broker_transport_options"],
        broker_use_ssl=set_up["broker_use_ssl"],
    )
    asyncio.run(broker.queues(["debits"]))


DOORS = {
    "own client": ask_own_client,
    "celery": ask_celery,
    "client package": ask_client_package,
    "throttle": ask_throttle,
    "event queue": ask_event_queue,
    "flower": ask_flower,
}


@pytest.mark.parametrize("ask", DOORS.values(), ids=DOORS)
def test_a_certificate_of_a_trusted_authority_lets_each_part_in(redis_client, configured, ask):
    with behind_tls("server") as url:
        ask(configured(url, AUTHORITY), with_option(url, AUTHORITY))


@pytest.mark.parametrize(("certificate", "ca_file", "reason"), REFUSED.values(), ids=REFUSED)
@pytest.mark.parametrize("ask", DOORS.values(), ids=DOORS)
def test_no_part_accepts_a_certificate(redis_client, configured, ask, certificate, ca_file, reason):
    errors = (redis.ConnectionError, OperationalError, QueueAway, AssertionError)
    with behind_tls(certificate) as url, pytest.raises(errors):
        ask(configured(url, ca_file), with_option(url, ca_file))


@pytest.mark.parametrize(("certificate", "ca_file", "reason"), REFUSED.values(), ids=REFUSED)
def test_preflight_says_why_a_certificate_is_refused(configured, certificate, ca_file, reason):
    from worker.transport import queues

    with behind_tls(certificate) as url:
        configured(url, ca_file)
        queues.connection.cache_clear()
        try:
            (fact,) = preflight._redis()
        finally:
            queues.connection.cache_clear()

    assert fact.level == "unreachable"
    assert reason in fact.what
    assert "\n" not in fact.what


def test_a_worker_runs_behind_tls(redis_client, database):
    with (
        behind_tls("server") as url,
        running_worker(
            "tls",
            "-Q",
            "maintenance",
            "--pool",
            "solo",
            REDIS_URL=url,
            BILLING_REDIS_CA_FILE=AUTHORITY,
        ) as worker,
    ):
        assert "insecure" not in worker.log
        assert "not checked" not in worker.log


# --- turned off ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "option",
    ["ssl_cert_reqs=none", "ssl_cert_reqs=CERT_NONE", "ssl_check_hostname=false"],
)
def test_a_url_alone_does_not_turn_the_check_of_the_worker_off(configured, option):
    with pytest.raises(BadSettings, match="BILLING_REDIS_TLS_VERIFY=false"):
        configured(f"rediss://redis/0?{option}")
    with pytest.raises(BadSettings, match="BILLING_EVENTS_BROKER_URL"):
        configured("redis://redis/0", BILLING_EVENTS_BROKER_URL=f"rediss://redis/0?{option}")


@pytest.mark.parametrize("option", ["ssl_cert_reqs=nobody", "ssl_check_hostname=perhaps"])
def test_an_option_that_can_not_be_read_is_refused_and_checks_nothing_less(configured, option):
    with pytest.raises(BadSettings, match=option.partition("=")[0]):
        configured(f"rediss://:secret@redis/0?{option}")
    with pytest.raises(ValueError, match=option.partition("=")[0]):
        sender(f"rediss://redis/0?{option}")


def test_a_file_of_authorities_that_is_missing_is_named(configured):
    with pytest.raises(BadSettings, match="BILLING_REDIS_CA_FILE"):
        configured("rediss://redis/0", "/nowhere/ca.pem")


@pytest.mark.parametrize("ask", [ask_own_client, ask_celery, ask_event_queue, ask_flower])
def test_the_check_is_turned_off_by_its_setting_and_preflight_warns(redis_client, configured, ask):
    with behind_tls("expired") as url:
        config = configured(url, BILLING_REDIS_TLS_VERIFY="false")
        ask(config, url)

        (warning,) = [fact for fact in preflight._settings() if fact.level == "warning"]
    assert "BILLING_REDIS_TLS_VERIFY is false" in warning.what


def test_a_client_without_the_check_warns_in_its_log(redis_client, caplog):
    with behind_tls("expired") as url:
        BillingClient(f"{url}?ssl_cert_reqs=none").ring()

    assert "the certificate of localhost is not checked" in caplog.text


def test_a_worker_without_the_check_says_so_at_its_start(redis_client, database):
    with (
        behind_tls("expired") as url,
        running_worker(
            "off",
            "-Q",
            "maintenance",
            "--pool",
            "solo",
            REDIS_URL=url,
            BILLING_REDIS_TLS_VERIFY="false",
        ) as worker,
    ):
        assert "the certificate of localhost is not checked" in worker.log


def test_a_url_without_tls_stays_as_it_is():
    assert tls.checked("redis://:p%40ss@redis:6379/0?a=b") == "redis://:p%40ss@redis:6379/0?a=b"
    assert tls.celery_options("redis://redis/0") is None


def test_status_says_why_the_certificate_is_refused(redis_client, database):
    program = Path(sys.executable).with_name("billing")
    with behind_tls("expired") as url:
        environment = os.environ | {"REDIS_URL": url, "BILLING_REDIS_CA_FILE": AUTHORITY}
        answer = subprocess.run(
            [program, "preflight"], env=environment, capture_output=True, text=True, check=False
        )

    assert "certificate has expired" in answer.stdout
    assert "Traceback" not in answer.stderr


# --- Postgres -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("host", "option", "is_warned"),
    [
        ("db.example.com", "", True),
        ("db.example.com", "?sslmode=require", True),
        ("db.example.com", "?sslmode=verify-ca", True),
        ("db.example.com", "?sslmode=verify-full", False),
        ("10.0.0.7", "", True),
        ("[2001:db8::7]", "", True),
        ("postgres", "", False),
        ("localhost", "", False),
        ("127.0.0.1", "", False),
        ("[::1]", "", False),
        ("", "?host=/var/run/postgresql", False),
    ],
)
def test_preflight_warns_of_a_postgres_far_away_for_which_anybody_may_answer(
    configured, monkeypatch, host, option, is_warned
):
    monkeypatch.delenv("PGSSLMODE", raising=False)
    configured("redis://redis/0", DATABASE_URL=f"postgresql://u:p@{host}/app{option}")

    warnings = [fact.what for fact in preflight._settings() if fact.level == "warning"]

    assert bool(warnings) == is_warned
    assert not warnings or "verify-full" in warnings[0]
