"""The web server of `billing relay`: waitress, with the limits that it lacks.

waitress reads a whole request before it takes a thread, and refuses what is too large. Its deadline
is for a silent connection alone, and its limit of connections makes everybody wait. Here each
request has a deadline, and the connection that waits longest makes room for a new one.
"""

import contextlib
import logging
import socket
import time
from collections.abc import Collection, Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Network, ip_address, ip_network
from typing import Any, NamedTuple

from waitress.adjustments import Adjustments
from waitress.channel import HTTPChannel
from waitress.server import TcpWSGIServer
from waitress.task import ThreadedTaskDispatcher

from billing_client.fields import MAX_STRIPE_BODY
from web.request import Request, RequestTimeout
from worker.logs import logger

log = logger(__name__)

Network = IPv4Network | IPv6Network

#: A thread mostly waits for Postgres; more threads than the pool's connections would only wait.
THREADS = 4
#: Stripe's header lines are below 1 KiB; a proxy adds some.
MAX_HEADER_BYTES = 16 * 1024
#: Providers give a customer whole networks of IPv6: they count as one address.
IPV6_PREFIX = 64
#: A crowd is logged at most once in so many seconds.
LOG_REST_S = 60.0


class Limits(NamedTuple):
    """What a client may take. `trusted`: networks of proxies, which `per_address` spares."""

    connections: int
    per_address: int
    trusted: Sequence[Network] = ()
    #: Seconds for the header lines, counted from their first byte.
    header_s: float = 10.0
    #: Seconds for the whole request, counted from its first byte: 1 MiB at 50 kB/s.
    request_s: float = 20.0
    #: Seconds in which an answer must have been read.
    answer_s: float = 20.0
    #: Seconds after which a connection without a request is closed.
    silence_s: float = 20.0


class Connection(HTTPChannel):
    """A client's connection; `unread_since`: since when an answer waits for its reader."""

    parser_class = Request
    request: Request | None = None
    unread_since: float | None = None

    @property
    def waiting_since(self) -> float:
        """The monotonic time since when the client owes us the rest of a request."""
        if self.request is not None:
            return self.request.began
        quiet_s: float = time.time() - self.last_activity
        return time.monotonic() - quiet_s

    @property
    def is_waiting(self) -> bool:
        """Whether it has no request that is being answered, and is not about to close."""
        return not (self.requests or self.will_close or self.close_when_flushed)

    def end(self) -> None:
        """Let the loop close it, even if the client reads nothing.

        Not closed at once: the number of its file may have an event in the loop's present turn.
        """
        self.will_close = True
        with contextlib.suppress(OSError):
            self.socket.shutdown(socket.SHUT_RDWR)

    def keep_deadlines(self, limits: Limits, now: float) -> None:
        """Answer 408 to a request that is late; close if an answer is not read in time."""
        self.unread_since = (self.unread_since or now) if self.total_outbufs_len else None
        if self.unread_since is not None and now - self.unread_since > limits.answer_s:
            self.end()
        with self.requests_lock:
            request = self.request
            if request is None or not self.is_waiting:
                return
            allowed_s = limits.request_s if request.headers_finished else limits.header_s
            if now - request.began <= allowed_s:
                return
            request.refuse(RequestTimeout("The request took too long."))
            self.request = None
            self.requests.append(request)
            self.server.add_task(self)


class Server(TcpWSGIServer):
    """The server of one address."""

    channel_class = Connection
    limits: Limits
    _logged_at = -LOG_REST_S

    def handle_accept(self) -> None:
        """Accept a connection, and let the one that waits longest go if there are too many."""
        before = set(self.active_channels.values())
        super().handle_accept()
        for connection in set(self.active_channels.values()) - before:
            self._make_room(connection)

    def maintenance(self, now: float) -> None:
        """Keep the deadlines, once a second."""
        super().maintenance(now)
        for connection in list(self.active_channels.values()):
            connection.keep_deadlines(self.limits, time.monotonic())

    def _make_room(self, newest: Connection) -> None:
        connections = [c for c in self.active_channels.values() if not c.will_close]
        place = _place(newest.addr[0], self.limits.trusted)
        if place is not None:
            beside = [c for c in connections if _place(c.addr[0], self.limits.trusted) == place]
            if len(beside) > self.limits.per_address:
                self._close_one(beside, newest, "per_address")
                return
        if len(connections) > self.limits.connections:
            self._close_one(connections, newest, "in_all")

    def _close_one(
        self, connections: Collection[Connection], newest: Connection, limit: str
    ) -> None:
        waiting = [c for c in connections if c.is_waiting and c is not newest]
        min(waiting, key=lambda c: c.waiting_since, default=newest).end()
        if time.monotonic() - self._logged_at >= LOG_REST_S:
            self._logged_at = time.monotonic()
            log.warning("relay_crowded", limit=limit, connections=len(connections))


def _place(address: str, trusted: Sequence[Network]) -> Network | None:
    """Return the network that counts as one client; None for a trusted proxy."""
    ip = ip_address(address)
    if any(ip in network for network in trusted):
        return None
    prefix = 32 if isinstance(ip, IPv4Address) else IPV6_PREFIX
    return ip_network(f"{address.partition('%')[0]}/{prefix}", strict=False)


def create(application: Any, *, host: str, port: int, limits: Limits) -> list[Server]:
    """Make a server for each address of the host. `run` of one of them serves all."""
    adjustments = Adjustments(
        host=host,
        port=port,
        threads=THREADS,
        ident=None,
        cleanup_interval=1,
        # Ours comes first: waitress's makes everybody wait.
        connection_limit=2 * limits.connections + 100,
        # select() ends at 1024 files.
        asyncore_use_poll=True,
        max_request_header_size=MAX_HEADER_BYTES,
        # waitress refuses bodies from this size on.
        max_request_body_size=MAX_STRIPE_BODY + 1,
    )
    adjustments.channel_timeout = limits.silence_s
    threads = ThreadedTaskDispatcher()
    # It warns of each request that waits for a thread: hundreds of lines where `relay_crowded` is
    # one.
    threads.queue_logger.setLevel(logging.ERROR)
    map_: dict[int, Any] = {}
    threads.set_thread_count(adjustments.threads)
    servers = [
        Server(application, map_, dispatcher=threads, adj=adjustments, sockinfo=sockinfo)
        for sockinfo in adjustments.listen
    ]
    for server in servers:
        server.limits, server.active_channels = limits, servers[0].active_channels
    return servers
