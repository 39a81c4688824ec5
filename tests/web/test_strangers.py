"""The relay answers others while clients are slow or many, and refuses what servers read in two ways."""

import contextlib
import json
import re
import select
import socket
import threading
import time
from ipaddress import ip_network

import pytest
from waitress import wasyncore

from billing.stripe.signature import sign
from billing_client.fields import MAX_STRIPE_BODY
from tests import stripe_objects as objects
from tests.worker.conftest import wait_until
from web import server
from web.relay import Relay
from web.server import MAX_HEADER_BYTES, Limits
from worker import clock
from worker.settings import settings

SECRET = "whsec_strangers"
EVENT = json.dumps(objects.event()).encode()
#: For an answer that takes milliseconds.
PROMPT_S = 1.0
TRUSTED = (ip_network("127.0.0.0/8"),)
PATIENT = Limits(256, 256, TRUSTED)
HURRIED = Limits(256, 256, TRUSTED, header_s=0.3, request_s=0.6, answer_s=0.3, silence_s=2.5)


@contextlib.contextmanager
def serving(limits, application=None):
    """Gives the port of a relay in a thread of this process."""
    (one,) = server.create(application or Relay(), host="127.0.0.1", port=0, limits=limits)
    thread = threading.Thread(target=one.run)
    thread.start()
    try:
        yield int(one.effective_port)
    finally:
        one.trigger.pull_trigger(lambda: wasyncore.close_all(one._map))
        thread.join()
        one.task_dispatcher.shutdown()


@pytest.fixture(autouse=True, scope="module")
def configured():
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BILLING_STRIPE_WEBHOOK_SECRETS", SECRET)
        settings.cache_clear()
        yield
    settings.cache_clear()


@pytest.fixture(scope="module")
def port():
    with serving(PATIENT) as port:
        yield port


@pytest.fixture
def hurried():
    with serving(HURRIED) as port:
        yield port


def connect(port, sent=b"", source="127.0.0.1"):
    client = socket.create_connection(("127.0.0.1", port), 10, source_address=(source, 0))
    client.sendall(sent)
    return client


def heard(client, answers=1):
    """Everything until the server closes, or stays silent after so many answers."""
    answer = b""
    with contextlib.suppress(TimeoutError, ConnectionResetError):
        while True:
            client.settimeout(10 if len(statuses(answer)) < answers else 0.4)
            if not (more := client.recv(65536)):
                break
            answer += more
    return answer


def statuses(answer):
    return [int(number) for number in re.findall(rb"HTTP/1\.[01] (\d{3}) ", answer)]


def ask(port, request, answers=1):
    """Sends raw bytes; returns the answers' numbers, and whether the connection was closed."""
    with connect(port, request) as client:
        found = statuses(heard(client, answers))
        return found, is_closed(client)


def is_closed(client):
    client.settimeout(10)
    readable, _, _ = select.select([client], [], [], 0)
    if not readable:
        return False
    try:
        return client.recv(1) == b""
    except ConnectionResetError:
        return True


def health(port):
    """Asks as a neighbour does; fails if that takes too long."""
    with connect(port, b"GET /health HTTP/1.1\r\nHost: relay\r\n\r\n") as client:
        client.settimeout(PROMPT_S)
        return statuses(client.recv(1000)) == [200]


def webhook(body=EVENT, *headers, version=b"1.1", path=b"/stripe/webhook"):
    signature = sign(body, secret=SECRET, at=clock.now()).encode()
    lines = [b"POST " + path + b" HTTP/" + version, b"Host: relay", *headers]
    return b"\r\n".join([*lines, b"Stripe-Signature: " + signature, b"", body])


def length(body=EVENT):
    return b"Content-Length: %d" % len(body)


# --- slow clients -------------------------------------------------------------------------------

TRICKLES = {
    "header": b"POST /stripe/webhook HTTP/1.1\r\nHost: relay\r\nX-A: ",
    "body": b"POST /stripe/webhook HTTP/1.1\r\nHost: relay\r\nContent-Length: 9999\r\n\r\n",
    "chunks": b"POST /stripe/webhook HTTP/1.1\r\nHost: relay\r\nTransfer-Encoding: chunked\r\n\r\nff\r\n",
    "nothing": b"",
}


@pytest.mark.parametrize("begin", TRICKLES.values(), ids=TRICKLES)
def test_beside_200_connections_that_trickle_another_client_is_answered_at_once(port, begin):
    with contextlib.ExitStack() as stack:
        slow = [stack.enter_context(connect(port, begin)) for _ in range(200)]

        for _ in range(3):
            for client in slow if begin else ():
                client.send(b"x")
            assert health(port)


def test_requests_that_wait_for_a_thread_write_no_line_each(caplog):
    goes_on = threading.Event()

    def slow(_environ, start_response):
        goes_on.wait(10)
        start_response("200 OK", [("Content-Length", "0")])
        return [b""]

    request = b"GET /health HTTP/1.1\r\nHost: relay\r\nConnection: close\r\n\r\n"
    with serving(PATIENT, slow) as port, contextlib.ExitStack() as stack:
        clients = [stack.enter_context(connect(port, request)) for _ in range(20)]
        threading.Timer(0.3, goes_on.set).start()
        assert [statuses(heard(client)) for client in clients] == [[200]] * 20

    assert "queue depth" not in caplog.text


def test_beside_200_clients_that_read_no_answer_another_is_answered_at_once(port):
    with contextlib.ExitStack() as stack:
        for _ in range(200):
            client = stack.enter_context(connect(port))
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1)
            client.sendall(b"GET /health HTTP/1.1\r\nHost: relay\r\n\r\n" * 20)

        assert health(port)


@pytest.mark.parametrize("begin", [TRICKLES[name] for name in ("header", "body", "chunks")])
def test_a_request_that_trickles_beyond_its_deadline_gets_408_and_is_closed(hurried, begin):
    with connect(hurried, begin) as client:
        closes = time.monotonic() + 10
        while not select.select([client], [], [], 0.1)[0]:
            assert time.monotonic() < closes
            client.send(b"1")

        assert statuses(heard(client)) == [408]
        assert is_closed(client)


def test_a_deadline_counts_from_the_request_and_not_from_the_connection(hurried):
    with connect(hurried) as client:
        for _ in range(4):
            time.sleep(0.3)
            client.sendall(b"GET /health HTTP/1.1\r\nHost: relay\r\n\r\n")
            answer = b""
            while not answer.endswith(b"alive\n"):
                answer += client.recv(1000)


def test_a_connection_without_a_request_is_closed(hurried):
    with connect(hurried) as client:
        assert client.recv(1) == b""


def test_an_answer_that_nobody_reads_is_given_up():
    def large(_environ, start_response):
        start_response("200 OK", [("Content-Length", str(32 << 20))])
        return [b"x" * (32 << 20)]

    with serving(HURRIED, large) as port, connect(port) as client:
        client.sendall(b"GET / HTTP/1.1\r\nHost: relay\r\n\r\n")
        with pytest.raises((BrokenPipeError, ConnectionResetError)):
            for _ in range(1000):
                time.sleep(0.01)
                client.send(b"x")


# --- many connections ---------------------------------------------------------------------------


def test_beyond_the_limit_in_all_the_connection_that_waits_longest_makes_room():
    with serving(Limits(8, 8, TRUSTED)) as port, contextlib.ExitStack() as stack:
        slow = [stack.enter_context(connect(port, TRICKLES["header"])) for _ in range(8)]
        assert health(port)
        wait_until(lambda: is_closed(slow[0]))

        assert [is_closed(client) for client in slow[1:]] == [False] * 7


def test_beyond_the_limit_of_an_address_others_keep_their_connections():
    with serving(Limits(100, 4)) as port, contextlib.ExitStack() as stack:
        other = stack.enter_context(connect(port, TRICKLES["header"], "127.0.0.2"))
        slow = [stack.enter_context(connect(port, TRICKLES["header"])) for _ in range(12)]
        wait_until(lambda: sum(map(is_closed, slow)) >= 8)

        assert [is_closed(client) for client in slow] == [True] * 8 + [False] * 4
        assert not is_closed(other)
        assert health(port)


def test_the_limit_of_an_address_spares_a_trusted_proxy():
    with serving(Limits(100, 4, TRUSTED)) as port, contextlib.ExitStack() as stack:
        proxy = [stack.enter_context(connect(port, TRICKLES["header"])) for _ in range(12)]
        assert health(port)

        assert not any(map(is_closed, proxy))


@pytest.mark.parametrize(
    ("address", "place"),
    [
        ("192.0.2.7", "192.0.2.7/32"),
        ("2001:db8:1:2:3::4", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("127.0.0.9", None),
    ],
)
def test_an_address_of_ipv6_counts_with_its_network(address, place):
    assert server._place(address, TRUSTED) == (place and ip_network(place))


# --- requests that servers read in two ways -----------------------------------------------------

HEAD = b"POST /stripe/webhook HTTP/1.1\r\nHost: relay\r\n"
CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"
HIDDEN = b"GET /health HTTP/1.1\r\nHost: relay\r\n\r\n"
AMBIGUOUS = {
    "a length and chunks": HEAD
    + b"Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "chunks and a length": HEAD
    + b"Transfer-Encoding: chunked\r\nContent-Length: 0\r\n\r\n0\r\n\r\n",
    "two lengths": HEAD + b"Content-Length: 0\r\nContent-Length: 4\r\n\r\nabcd",
    "two equal lengths": HEAD + b"Content-Length: 4\r\nContent-Length: 4\r\n\r\nabcd",
    "a list of lengths": HEAD + b"Content-Length: 4, 4\r\n\r\nabcd",
    "a signed length": HEAD + b"Content-Length: +4\r\n\r\nabcd",
    "a negative length": HEAD + b"Content-Length: -1\r\n\r\n",
    "a hexadecimal length": HEAD + b"Content-Length: 0x4\r\n\r\nabcd",
    "an empty length": HEAD + b"Content-Length:\r\n\r\n",
    "a length with a space in it": HEAD + b"Content-Length: 1 2\r\n\r\n",
    "two codings": HEAD
    + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "chunks twice": HEAD + b"Transfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n",
    "an empty coding": HEAD + b"Transfer-Encoding:\r\n\r\n0\r\n\r\n",
    "chunks in HTTP/1.0": b"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "a coding behind a control character": HEAD
    + b"Transfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n",
    "a folded line": HEAD + b"X-A: b\r\n Content-Length: 4\r\n\r\n",
    "a folded first line": b"GET /health HTTP/1.1\r\n Host: relay\r\n\r\n",
    "a bare LF between lines": b"GET /health HTTP/1.1\nHost: relay\r\n\r\n",
    "bare LFs only": b"GET /health HTTP/1.1\nHost: relay\n\n",
    "a bare CR in a value": b"GET /health HTTP/1.1\r\nHost: relay\r\nX: a\rb\r\n\r\n",
    "a NUL in a value": b"GET /health HTTP/1.1\r\nHost: relay\r\nX: a\0b\r\n\r\n",
    "a space before the colon": HEAD + b"Content-Length : 4\r\n\r\nabcd",
    "a name with a space in it": HEAD + b"Content Length: 4\r\n\r\n",
    "a line without a colon": HEAD + b"nonsense\r\n\r\n",
    "an empty name": HEAD + b": 4\r\n\r\n",
    "a chunk extension": CHUNKED + b"4;a=b\r\nabcd\r\n0\r\n\r\n",
    "an empty chunk extension": CHUNKED + b"4;\r\nabcd\r\n0\r\n\r\n",
    "an extension of the last chunk": CHUNKED + b"0;a\r\n\r\n",
    "a bare LF behind a chunk's size": CHUNKED + b"4\nabcd\r\n0\r\n\r\n",
    "a bare LF and CR LF behind a size": CHUNKED + b"4\n\r\nabcd\r\n0\r\n\r\n",
    "an empty line for a size": CHUNKED + b"\r\n4\r\nabcd\r\n0\r\n\r\n",
    "a chunk longer than its size": CHUNKED + b"4\r\nabcdef\r\n0\r\n\r\n",
    "a size with 0x": CHUNKED + b"0x4\r\nabcd\r\n0\r\n\r\n",
    "a signed size": CHUNKED + b"+4\r\nabcd\r\n0\r\n\r\n",
    "a negative size": CHUNKED + b"-4\r\nabcd\r\n0\r\n\r\n",
    "a size with a space": CHUNKED + b"4 \r\nabcd\r\n0\r\n\r\n",
    "a size of 20 digits": CHUNKED + b"0" * 19 + b"4\r\nabcd\r\n0\r\n\r\n",
    "a trailer": CHUNKED + b"0\r\nX: a\r\n\r\n",
    "a trailer with a length": CHUNKED + b"0\r\nContent-Length: 9\r\n\r\n",
    "two hosts": b"GET /health HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
    "no host": b"GET /health HTTP/1.1\r\n\r\n",
    "two signatures": HEAD + b"Stripe-Signature: t=1\r\nStripe-Signature: v1=00\r\n\r\n",
    "HTTP/2.0": b"GET /health HTTP/2.0\r\nHost: relay\r\n\r\n",
    "HTTP/1.9": b"GET /health HTTP/1.9\r\nHost: relay\r\n\r\n",
    "HTTP/0.9": b"GET /health\r\n\r\n",
    "another protocol": b"GET /health HXXP/1.1\r\nHost: relay\r\n\r\n",
    "two spaces in the first line": b"GET  /health HTTP/1.1\r\nHost: relay\r\n\r\n",
    "a tab in the first line": b"GET\t/health HTTP/1.1\r\nHost: relay\r\n\r\n",
    "a space behind the first line": b"GET /health HTTP/1.1 \r\nHost: relay\r\n\r\n",
    "a small method": b"get /health HTTP/1.1\r\nHost: relay\r\n\r\n",
    "a space before the first line": b" GET /health HTTP/1.1\r\nHost: relay\r\n\r\n",
    "an LF before the first line": b"\nGET /health HTTP/1.1\r\nHost: relay\r\n\r\n",
    "empty lines only": b"\r\n\r\n",
    "a TLS greeting": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
    "a length of 5,000 digits": HEAD + b"Content-Length: " + b"4" * 5000 + b"\r\n\r\n",
    "half an IPv6 address": b"GET http://[::1 HTTP/1.1\r\nHost: relay\r\n\r\n",
}


@pytest.mark.parametrize("request_", AMBIGUOUS.values(), ids=AMBIGUOUS)
def test_what_can_be_read_in_two_ways_gets_400_and_nothing_behind_it_is_answered(port, request_):
    assert ask(port, request_ + HIDDEN) == ([400], True)


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        pytest.param(HEAD + b"Transfer-Encoding: gzip, chunked\r\n\r\n", 501, id="another coding"),
        pytest.param(HEAD + b"X: " + b"a" * MAX_HEADER_BYTES, 431, id="a header too large"),
        pytest.param(b"GET /" + b"a" * MAX_HEADER_BYTES, 431, id="an address too long"),
        pytest.param(
            HEAD + b"Content-Length: %d\r\n\r\n" % (MAX_STRIPE_BODY + 1), 413, id="a body"
        ),
        pytest.param(
            HEAD + b"Expect: 100-continue\r\nContent-Length: 99999999\r\n\r\n", 413, id="a question"
        ),
        pytest.param(CHUNKED + b"FFFFFFF\r\n" + b"a" * (MAX_STRIPE_BODY - 8), 413, id="a chunk"),
        pytest.param(CHUNKED + b"1" * (MAX_STRIPE_BODY + 1), 413, id="a chunk's size"),
    ],
)
def test_what_is_too_large_is_refused_and_the_connection_is_closed(port, request_, status):
    assert ask(port, request_) == ([status], True)


def test_a_request_is_read_alike_byte_by_byte(port):
    with connect(port) as client:
        for byte in CHUNKED + b"4\r\nabcd\r\n0\r\n\r\n" + HIDDEN:
            client.send(bytes([byte]))

        assert statuses(heard(client, 2)) == [400, 200]  # not signed, and alive


# --- what is unusual, and right -----------------------------------------------------------------


def test_webhooks_behind_each_other_on_one_connection_are_all_stored(port, database, redis_client):
    bodies = [json.dumps(objects.event(f"evt_{n}")).encode() for n in range(5)]

    assert ask(port, b"".join(webhook(b, length(b)) for b in bodies), 5)[0] == [200] * 5


@pytest.mark.parametrize(
    "request_",
    [
        pytest.param(lambda: webhook(EVENT, length()), id="HTTP/1.1"),
        pytest.param(lambda: webhook(EVENT, length(), version=b"1.0"), id="HTTP/1.0"),
        pytest.param(lambda: b"\r\n" + webhook(EVENT, length()), id="an empty line before it"),
        pytest.param(lambda: webhook(EVENT, length(), b"Connection: close"), id="close"),
        pytest.param(
            lambda: webhook(EVENT, length(), path=b"http://relay/stripe/webhook"), id="absolute"
        ),
        pytest.param(
            lambda: webhook(EVENT, length(), path=b"/stripe/webhook?a=b"), id="with a query"
        ),
        pytest.param(lambda: webhook(EVENT, length(), path=b"/%73tripe/webhook"), id="in percent"),
        pytest.param(lambda: webhook(EVENT, length(), b"Content_Length: 1"), id="an underscore"),
    ],
)
def test_a_webhook_in_another_right_form_is_stored(port, database, redis_client, request_):
    assert ask(port, request_())[0] == [200]


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (b"HEAD /health HTTP/1.1\r\nHost: relay\r\n\r\n", 200),
        (b"GET /health HTTP/1.1\r\nHost: evil.example\r\n\r\n", 200),
        (b"GET /health HTTP/1.0\r\n\r\n", 200),
        (b"HEAD /stripe/webhook HTTP/1.1\r\nHost: relay\r\n\r\n", 405),
        (b"BREW /health HTTP/1.1\r\nHost: relay\r\n\r\n", 405),
        (b"TRACE /stripe/webhook HTTP/1.1\r\nHost: relay\r\n\r\n", 405),
        (b"OPTIONS * HTTP/1.1\r\nHost: relay\r\n\r\n", 404),
        (b"CONNECT relay:443 HTTP/1.1\r\nHost: relay\r\n\r\n", 404),
        (b"GET //health HTTP/1.1\r\nHost: relay\r\n\r\n", 200),
        (b"GET /stripe/../health HTTP/1.1\r\nHost: relay\r\n\r\n", 404),
        (b"GET /%00health HTTP/1.1\r\nHost: relay\r\n\r\n", 404),
        (b"GET /%ff%zz HTTP/1.1\r\nHost: relay\r\n\r\n", 404),
        (b"GET /h\xc3\xa4lth HTTP/1.1\r\nHost: relay\r\n\r\n", 400),
    ],
)
def test_an_unusual_request_gets_one_answer(port, request_, status):
    assert ask(port, request_)[0] == [status]


@pytest.mark.parametrize("path", [b"/health", b"/stripe/webhook", b"/nothing"])
def test_the_answer_to_head_has_no_body(port, path):
    with connect(port, b"HEAD " + path + b" HTTP/1.1\r\nHost: relay\r\n\r\n" + HIDDEN) as client:
        answer = heard(client, 2)

    assert answer.count(b"\r\n\r\nHTTP/1.1 200") == 1
    assert len(statuses(answer)) == 2


@pytest.mark.parametrize(
    "header", [b"GET /health HTTP/1.1", b"POST /stripe/webhook HTTP/1.1\r\nContent-Length: 0"]
)
def test_who_asks_to_go_on_with_no_body_gets_one_answer(port, header):
    request = header + b"\r\nHost: relay\r\nExpect: 100-continue\r\n\r\n"

    assert len(ask(port, request + HIDDEN, 2)[0]) == 2
