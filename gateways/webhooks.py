"""Events to the main app as signed webhooks, by the specification Standard Webhooks.

Source: https://www.standardwebhooks.com; its own library signs.
"""

import datetime as dt
import io
import json
import socket
import ssl
import time
from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from http.client import HTTPConnection, HTTPException, HTTPResponse, HTTPSConnection
from typing import Any

from standardwebhooks.webhooks import Webhook
from urllib3.util import parse_url

from billing.errors import TryLater
from billing_client.events import Event

#: The specification recommends 15 to 30 seconds; a receiver should answer first and work later.
#: It is the time for a whole answer, however slowly its bytes come.
TIMEOUT_S = 15.0
CONNECT_TIMEOUT_S = 5.0
#: Bytes of an answer that are read, so that its connection can be used again; its text means
#: nothing. After a longer one the connection is closed.
MAX_ANSWER = 16_384
NAME = "webhook"


class WebhookRefused(TryLater):
    """The receiver did not answer with a 2xx: `status`, or `error` if it was not reached."""


class Webhooks:
    """A sender of events to one URL, signed with each secret (two during a rotation).

    Several threads may send at once, each on a connection of its own; connections are kept alive.
    """

    name = NAME

    def __init__(self, url: str, secrets: Sequence[str]) -> None:
        """`secrets`: `whsec_` and base64, as in the specification."""
        address = parse_url(url)
        assert address.host is not None, "the setting has a host"
        connect = HTTPConnection
        if address.scheme == "https":
            connect = partial(HTTPSConnection, context=ssl.create_default_context())  # type: ignore[assignment]
        self._connect = partial(connect, address.host, address.port, timeout=CONNECT_TIMEOUT_S)
        self._path = address.request_uri
        self._signers = [Webhook(secret) for secret in secrets]
        self._idle: list[HTTPConnection] = []

    def send(self, event: Event, *, now: dt.datetime) -> None:
        """Post an event without following redirects. Raises WebhookRefused unless it gets a 2xx.

        The fact `is_away` says that the receiver could not be connected to.
        """
        body = json.dumps(event.as_json(), separators=(",", ":"))
        message_id = f"evt_{event.id}"
        signatures = [
            signer.sign(msg_id=message_id, timestamp=now, data=body) for signer in self._signers
        ]
        headers = {
            "content-type": "application/json",
            "webhook-id": message_id,
            "webhook-timestamp": str(int(now.timestamp())),
            "webhook-signature": " ".join(signatures),
        }
        status = self._post(body.encode(), headers, until=time.monotonic() + TIMEOUT_S)
        if not 200 <= status < 300:
            raise WebhookRefused(status=status)

    def _post(self, body: bytes, headers: dict[str, str], *, until: float) -> int:
        """Post on a connection that is kept alive, or on a new one if the receiver closed that."""
        while (connection := self._take_idle()) is not None:
            try:
                return self._answer(connection, body, headers, until=until)
            except ConnectionError:  # it was closed this moment: the event goes once more
                continue
            except (OSError, HTTPException) as error:
                raise WebhookRefused(error=type(error).__name__) from None
        connection = self._connect()
        try:
            connection.connect()
        except OSError as error:
            connection.close()
            raise WebhookRefused(error=type(error).__name__, is_away=True) from None
        try:
            return self._answer(connection, body, headers, until=until)
        except (OSError, HTTPException) as error:
            raise WebhookRefused(error=type(error).__name__) from None

    def _take_idle(self) -> HTTPConnection | None:
        while self._idle:
            with suppress(IndexError):  # another thread was faster
                connection = self._idle.pop()
                if not _is_closed(connection):
                    return connection
                connection.close()
        return None

    def _answer(
        self, connection: HTTPConnection, body: bytes, headers: dict[str, str], *, until: float
    ) -> int:
        """Post on this connection and return the status; close it, or keep it for the next."""
        connection.response_class = partial(_Answer, until=until)  # type: ignore[assignment]
        connection.sock.settimeout(max(until - time.monotonic(), 0))
        is_kept = False
        try:
            connection.request("POST", self._path, body, headers)
            answer = connection.getresponse()
            if not answer.will_close:
                is_kept = len(answer.read(MAX_ANSWER + 1)) <= MAX_ANSWER
            return answer.status
        finally:
            if is_kept:
                self._idle.append(connection)
            else:
                connection.close()


def _is_closed(connection: HTTPConnection) -> bool:
    """Whether the receiver closed an idle connection, or sent what nobody asked for."""
    connection.sock.setblocking(False)
    try:
        connection.sock.recv(1)
    except (BlockingIOError, ssl.SSLWantReadError):
        return False
    except OSError:
        pass
    return True


class _Answer(HTTPResponse):
    """An answer that must be read by `until`, however slowly its bytes come."""

    def __init__(self, sock: socket.socket, *arguments: Any, until: float, **named: Any) -> None:
        super().__init__(sock, *arguments, **named)
        self.fp.close()
        self.fp = io.BufferedReader(_Reads(sock, until))


class _Reads(io.RawIOBase):
    """The bytes of a socket until a moment of the monotonic clock; then TimeoutError."""

    def __init__(self, sock: socket.socket, until: float) -> None:
        self._sock, self._until = sock, until

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        remaining = self._until - time.monotonic()
        if remaining <= 0:
            raise TimeoutError
        self._sock.settimeout(remaining)
        return self._sock.recv_into(buffer)
