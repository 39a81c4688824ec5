"""Accounts' events are sent side by side, each account's in order; one that hangs stops no other."""

import os
import random
import signal
import socket
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
import sqlalchemy as sa
from standardwebhooks.webhooks import Webhook

from billing.errors import TryLater
from billing.events import deliveries
from flows import event_lanes, events
from gateways import webhooks as gateway
from gateways.webhooks import WebhookRefused, Webhooks
from tests.billing.lifecycle.receiver import SECRET
from tests.billing.lifecycle.test_event_delivery import leave, let_time_pass, rows, states
from tests.statements import counted
from worker import clock
from worker.database import transaction

pytestmark = pytest.mark.usefixtures("database")


@contextmanager
def receiver(answer, *, protocol="HTTP/1.1"):
    """Yield the URL of a receiver; `answer(event)` returns the status, once it has taken its time."""
    signature = Webhook(SECRET)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = protocol

        def do_POST(self):
            body = self.rfile.read(int(self.headers["content-length"]))
            self.send_response(answer(signature.verify(body, dict(self.headers))))
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *_):
            pass

    class Server(ThreadingHTTPServer):
        daemon_threads, request_queue_size = True, 128

        def handle_error(self, *_):
            """A sender that went away in the middle of a request is what some tests are about."""

    server = Server(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/billing"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def order_of(received):
    """The ids that each account's receiver saw, repeats left out."""
    ids = {}
    for event in received:
        ids.setdefault(event["account_id"], {})[event["id"]] = None
    return {account_id: list(of_account) for account_id, of_account in ids.items()}


def test_many_accounts_are_served_at_once():
    together = threading.Barrier(8)

    def answer(_):
        together.wait(20)
        return 204

    leave(*range(1, 9))

    with receiver(answer) as url:
        assert events.deliver_due([Webhooks(url, [SECRET])]) == {"delivered": 8}


def test_each_account_gets_its_events_in_order_however_long_an_answer_takes():
    chance, received = random.Random(7), []

    def answer(event):
        time.sleep(chance.random() / 50)
        received.append(event)
        return 204

    leave(*[account_id for _ in range(6) for account_id in range(1, 11)])

    with receiver(answer) as url:
        assert events.deliver_due([Webhooks(url, [SECRET])]) == {"delivered": 60}

    assert all(ids == sorted(ids) for ids in order_of(received).values())


def test_no_more_connections_are_open_than_there_are_lanes():
    lock, now_open, most = threading.Lock(), [0], [0]

    def answer(_):
        with lock:
            now_open[0] += 1
            most[0] = max(most[0], now_open[0])
        time.sleep(0.02)
        with lock:
            now_open[0] -= 1
        return 204

    leave(*range(1, 3 * event_lanes.LANES))

    with receiver(answer) as url:
        events.deliver_due([Webhooks(url, [SECRET])])

    assert 1 < most[0] <= event_lanes.LANES


def test_an_account_whose_receiver_hangs_delays_no_other(monkeypatch):
    monkeypatch.setattr(gateway, "TIMEOUT_S", 1.0)
    free, received = threading.Event(), []

    def answer(event):
        if event["account_id"] == 7:
            free.wait(20)
        received.append(event["account_id"])
        return 204

    leave(7, 7, *[8, 9] * 3)

    with receiver(answer) as url:
        sent = events.deliver_due([Webhooks(url, [SECRET])])
        free.set()

    assert sent == {"delivered": 6, "failed": 1, "left": 1}
    assert "TimeoutError" in rows()[0].error


def test_events_that_come_while_one_hangs_are_sent_in_the_same_run(monkeypatch):
    monkeypatch.setattr(gateway, "TIMEOUT_S", 20.0)
    second_came = threading.Event()

    def answer(event):
        if event["account_id"] == 7:
            leave(8)
            return 204 if second_came.wait(15) else 500
        second_came.set()
        return 204

    leave(7)

    with receiver(answer) as url:
        assert events.deliver_due([Webhooks(url, [SECRET])]) == {"delivered": 2}


@pytest.mark.parametrize(
    "drips",
    [
        pytest.param(b"H", id="of the status"),
        pytest.param(b"HTTP/1.1 200 OK\r\nx: ", id="of a header"),
        pytest.param(b"HTTP/1.1 200 OK\r\ncontent-length: 9999\r\n\r\n", id="of the body"),
        pytest.param(b"HTTP/1.1 100 Continue\r\n\r\n", id="of a status that never comes"),
    ],
)
def test_an_answer_that_drips_ends_at_its_deadline(monkeypatch, drips):
    monkeypatch.setattr(gateway, "TIMEOUT_S", 0.6)
    ended = threading.Event()

    def drip(server):
        connection, _ = server.accept()
        with connection:
            connection.sendall(drips)
            while not ended.wait(0.1):
                try:
                    connection.sendall(
                        b"HTTP/1.1 100 Continue\r\n\r\n" if b"100" in drips else b"x"
                    )
                except OSError:
                    return

    leave(7)
    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=drip, args=(server,))
        thread.start()
        sent = events.deliver_due(
            [Webhooks(f"http://127.0.0.1:{server.getsockname()[1]}/", [SECRET])]
        )
        ended.set()
        thread.join()

    assert sent == {"failed": 1}
    assert "TimeoutError" in rows()[0].error


def test_a_connection_is_used_again_and_one_that_was_closed_is_replaced():
    peers = []

    def serve(server):
        for requests in (2, 1):
            connection, peer = server.accept()
            with connection:
                for _ in range(requests):
                    request = b""
                    while not request.endswith(b"}"):
                        request += connection.recv(65_536)
                    peers.append(peer)
                    connection.sendall(b"HTTP/1.1 204 No Content\r\n\r\n")

    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=serve, args=(server,))
        thread.start()
        channel = Webhooks(f"http://127.0.0.1:{server.getsockname()[1]}/", [SECRET])
        for _ in range(3):
            leave(7)
            assert events.deliver_due([channel]) == {"delivered": 1}
        thread.join()

    assert peers[0] == peers[1] != peers[2]


class Broken:
    """A channel that breaks at one account's events."""

    name = "broken"

    def send(self, event, *, now):
        if event.account_id == 7:
            raise ValueError(event.data)


def test_an_event_that_breaks_its_channel_is_kept_with_the_reason_and_stops_no_other():
    leave(7, 8)

    assert events.deliver_due([Broken()]) == {"failed": 1, "delivered": 1}
    assert [row.error for row in rows()] == ["broken: ValueError", None]


def test_of_a_receiver_that_is_unavailable_one_event_has_had_a_try():
    leave(*range(1, 101))

    sent = events.deliver_due([Webhooks("http://127.0.0.1:1/", [SECRET])])

    assert sent == {"failed": 1, "left": 99}
    assert sorted(row.attempts for row in rows()) == [0] * 99 + [1]


def test_the_killed_process_loses_no_event_and_reorders_none():
    received, child = [], []

    def answer(event):
        received.append(event)
        if len(received) == 40:
            os.kill(child[0].pid, signal.SIGKILL)
        return 204

    leave(*[account_id for _ in range(10) for account_id in range(1, 11)])
    with receiver(answer) as url:
        run = (
            "from flows.events import deliver_due; from gateways.webhooks import Webhooks;"
            f"deliver_due([Webhooks({url!r}, [{SECRET!r}])])"
        )
        child.append(subprocess.Popen([sys.executable, "-c", run]))
        assert child[0].wait(60) == -signal.SIGKILL
        let_time_pass()

        events.deliver_due([Webhooks(url, [SECRET])])

    assert set(states()) == {"delivered"}
    assert all(ids == sorted(ids) for ids in order_of(received).values())
    assert sum(map(len, order_of(received).values())) == 100, "each came, some twice"


def set_due(event_id, seconds):
    with transaction() as ctx:
        query = sa.text(
            "UPDATE billing.outbox SET due_at = now() + :s * interval '1 s' WHERE id = :id"
        )
        ctx.session.execute(query, {"s": seconds, "id": event_id})


@pytest.mark.parametrize("limit", [1, 2, 3])
def test_wherever_a_claim_is_cut_no_event_is_taken_before_an_earlier_one(limit):
    leave(7, 7, 8)
    set_due(1, -1)
    set_due(2, -3)
    set_due(3, -2)

    with transaction() as ctx:
        claimed = [outgoing.event.id for outgoing in deliveries.claim(ctx, limit=limit)]

    assert claimed == [1, 2, 3][:limit]


def test_events_behind_very_many_of_one_account_are_claimed_while_those_are_sent():
    leave(*[7] * 30, 8, 9)
    with transaction() as ctx:
        assert len(deliveries.claim(ctx, limit=5)) == 5

    with transaction() as ctx:
        claimed = deliveries.claim(ctx, limit=5)

    assert [outgoing.event.account_id for outgoing in claimed] == [8, 9]


def test_an_event_without_an_account_waits_for_no_other():
    leave(None, None, *[7] * 30, None)
    with transaction() as ctx:
        assert len(deliveries.claim(ctx, limit=4)) == 4

    with transaction() as ctx:
        claimed = deliveries.claim(ctx, limit=4)

    assert [outgoing.event.account_id for outgoing in claimed] == [None]


def test_a_late_record_of_an_old_claim_leaves_the_new_claim_alone():
    leave(7, happened_at=clock.now() - 2 * deliveries.LEASE)
    with transaction() as ctx:
        old = deliveries.claim(ctx.at(clock.now() - deliveries.LEASE))
    with transaction() as ctx:
        assert deliveries.claim(ctx)
    before = rows()[0].due_at

    old[0].is_tried, old[0].error = True, "late"
    with transaction() as ctx:
        deliveries.record(ctx, old)

    assert (rows()[0].due_at, rows()[0].attempts) == (before, 0)


def test_events_are_claimed_and_recorded_in_as_many_statements_as_one():
    def statements_of(*accounts):
        leave(*accounts)
        with counted() as statements:
            with transaction() as ctx:
                claimed = deliveries.claim(ctx)
            for outgoing in claimed:
                outgoing.is_tried = True
            with transaction() as ctx:
                deliveries.record(ctx, claimed)
        return len(statements)

    assert statements_of(7) == statements_of(*range(1, 101)) <= 6


@pytest.mark.parametrize(
    ("budget_s", "url", "asked"),
    [
        pytest.param(8.0, None, 0, id="all was sent: nothing"),
        pytest.param(0.0, None, 1, id="the time is up: once more"),
        pytest.param(
            8.0, "http://127.0.0.1:1/", 0, id="the receiver is unavailable: the next tick"
        ),
    ],
)
def test_the_rest_is_asked_for_again(budget_s, url, asked):
    calls = []
    leave(7)

    with receiver(lambda _: 204) as own:
        channel = Webhooks(url or own, [SECRET])
        events.deliver_due([channel], again=lambda **how: calls.append(how), budget_s=budget_s)

    assert calls == [{"expires": events.AGAIN_WITHIN_S}] * asked


def test_while_a_run_claims_events_another_one_leaves_them_to_it():
    leave(7)
    with transaction() as other:
        other.session.execute(sa.text(events._ALONE))

        assert events.deliver_due([Broken()]) == {}


def test_a_webhook_is_refused_with_the_status_or_the_error():
    with receiver(lambda _: 500) as url, pytest.raises(WebhookRefused) as caught:
        leave(8)
        with transaction() as ctx:
            event = deliveries.claim(ctx)[0].event
        Webhooks(url, [SECRET]).send(event, now=clock.now())

    assert isinstance(caught.value, TryLater)
    assert caught.value.facts == {"status": 500}
