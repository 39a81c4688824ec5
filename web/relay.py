"""The relay: a WSGI app that verifies Stripe's webhooks and stores them.

It stores an event in the inbox in Postgres, else in the worker's queue. 200 means that one of them
has it; after 503 Stripe posts the event again, for three days. `billing relay` serves the app; so
does any WSGI server: `gunicorn web.relay:application`.
"""

import datetime as dt
import time
from collections.abc import Callable, Iterable, Sequence
from functools import cache
from http import HTTPStatus
from typing import TYPE_CHECKING, NamedTuple

from kombu.exceptions import OperationalError

from billing.errors import Rejected
from billing.postgres.transient import is_transient
from billing.stripe import events, inbox
from billing.stripe.errors import BodyTooLarge, Unreadable
from billing.stripe.events import Event
from billing.stripe.signature import verify
from billing_client import ApplyStripeEvent, BillingClient
from billing_client.fields import MAX_STRIPE_BODY
from worker import clock
from worker.database import transaction
from worker.logs import logger
from worker.settings import settings

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIEnvironment

log = logger(__name__)

PATH = "/stripe/webhook"
#: Shows that the process lives. Asks neither Postgres nor Redis: the relay needs only one of them.
HEALTH_PATH = "/health"
#: Ringing while Redis is away takes some seconds each time; the sweep comes by itself in 30.
BELL_RESTS_S = 10.0
#: While a store rests, the others are asked before it.
STORE_RESTS_S = 10.0
#: Digits of a sensible content length.
MAX_DIGITS = 15


class BodyCutShort(Unreadable):
    """The request ended before its body, or it does not declare the body's length."""


class Webhook(NamedTuple):
    """A verified webhook."""

    body: bytes
    signature: str
    received_at: dt.datetime
    event: Event


class Answer(NamedTuple):
    """The response; `allow`: the methods that the path allows."""

    status: HTTPStatus
    message: str
    allow: str | None = None


#: Stores a webhook durably, or raises.
Store = Callable[[Webhook], None]


class Rest:
    """A rest after a failure, so that a server that hangs does not slow down every webhook.

    The first request after the rest tries the server, and the others go on without it meanwhile.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._until = 0.0

    def is_on(self) -> bool:
        """Whether to do without; at the end of the rest, false for one caller only."""
        now = time.monotonic()
        if now < self._until:
            return True
        if self._until:
            self._until = now + self._seconds
        return False

    def begin(self) -> None:
        """Begin a rest."""
        self._until = time.monotonic() + self._seconds

    def end(self) -> None:
        """End it: the server answered."""
        self._until = 0.0


class Bell:
    """The doorbell of the worker; without it an event is applied half a minute later."""

    def __init__(self) -> None:
        self._rest = Rest(BELL_RESTS_S)

    def ring(self, number: int) -> None:
        """Tell the worker which event waits, unless that failed a moment ago."""
        if self._rest.is_on():
            return
        try:
            _client().send(ApplyStripeEvent(number))
            self._rest.end()
        except Exception as error:
            self._rest.begin()
            log.warning("bell_not_rung", number=number, error=type(error).__name__)


_bell = Bell()


def into_inbox(webhook: Webhook) -> None:
    """Store the event in Postgres, and ring."""
    with transaction() as ctx:
        number = inbox.store(ctx, webhook.event, source="webhook", received_at=webhook.received_at)
    if number is not None:
        _bell.ring(number)


def onto_queue(webhook: Webhook) -> None:
    """Put the webhook into the worker's queue, as it is."""
    _client().stripe_event(webhook.body, webhook.signature, received_at=webhook.received_at)


@cache
def _client() -> BillingClient:
    return BillingClient(settings().redis_url)


class Relay:
    """The app. `path`: the path that Stripe posts to; `stores`: tried in this order."""

    def __init__(
        self, path: str = PATH, *, stores: Sequence[Store] = (into_inbox, onto_queue)
    ) -> None:
        self._path = path
        self._stores = [(store, Rest(STORE_RESTS_S)) for store in stores]

    def __call__(
        self, environ: "WSGIEnvironment", start_response: "StartResponse"
    ) -> Iterable[bytes]:
        """Answer one request. PEP 3333."""
        status, message, allow = self._answer(environ)
        body = f"{message}\n".encode()
        headers = [("Content-Type", "text/plain"), ("Content-Length", str(len(body)))]
        if allow:
            headers.append(("Allow", allow))
        start_response(f"{status.value} {status.phrase}", headers)
        return [] if environ["REQUEST_METHOD"] == "HEAD" else [body]

    def _answer(self, environ: "WSGIEnvironment") -> Answer:
        paths = {self._path: ("POST",), HEALTH_PATH: ("GET", "HEAD")}
        methods = paths.get(environ.get("PATH_INFO", ""))
        if methods is None:
            return Answer(HTTPStatus.NOT_FOUND, "nothing is here")
        if environ["REQUEST_METHOD"] not in methods:
            allow = ", ".join(methods)
            return Answer(HTTPStatus.METHOD_NOT_ALLOWED, f"{methods[0]} only", allow)
        if "GET" in methods:
            return Answer(HTTPStatus.OK, "alive")
        if not settings().stripe_secrets:
            log.error("webhook_not_verified", reason="BILLING_STRIPE_WEBHOOK_SECRETS is not set")
            return Answer(HTTPStatus.SERVICE_UNAVAILABLE, "not configured")
        try:
            webhook = _verified(environ)
        except Rejected as error:
            log.warning("webhook_refused", reason=error.name, facts=error.facts)
            is_large = isinstance(error, BodyTooLarge)
            status = HTTPStatus.REQUEST_ENTITY_TOO_LARGE if is_large else HTTPStatus.BAD_REQUEST
            return Answer(status, error.name)
        return self._kept(webhook)

    def _kept(self, webhook: Webhook) -> Answer:
        about = {"event_id": webhook.event.id, "event_type": webhook.event.type}
        # A store that failed a moment ago comes last: it may hang again, and Stripe does not wait.
        rested = sorted([(rest.is_on(), place) for place, (_, rest) in enumerate(self._stores)])
        for _, place in rested:
            store, rest = self._stores[place]
            try:
                store(webhook)
                rest.end()
            except Exception as error:
                # Even after a bug the next store may take it; only a server that is away rests.
                if isinstance(error, OperationalError) or is_transient(error):
                    rest.begin()
                name = type(error).__name__
                log.warning("webhook_not_stored", store=store.__name__, error=name, **about)
            else:
                log.info("webhook_stored", store=store.__name__, **about)
                return Answer(HTTPStatus.OK, "stored")
        return Answer(HTTPStatus.SERVICE_UNAVAILABLE, "nowhere to store it")


def _verified(environ: "WSGIEnvironment") -> Webhook:
    """Verify a request. Raises as `_body`, `verify` and `events.parse` do."""
    config, received_at = settings(), clock.now()
    body, signature = _body(environ), environ.get("HTTP_STRIPE_SIGNATURE", "")
    verify(
        body,
        signature,
        secrets=config.stripe_secrets,
        received_at=received_at,
        tolerance=dt.timedelta(seconds=config.stripe_tolerance_s),
    )
    return Webhook(body, signature, received_at, events.parse(body))


def _body(environ: "WSGIEnvironment") -> bytes:
    """Read the body, up to the limit. Raises BodyTooLarge or BodyCutShort."""
    length = environ.get("CONTENT_LENGTH") or ""
    announced = int(length) if length.isdecimal() and len(length) <= MAX_DIGITS else None
    if announced is None and not environ.get("wsgi.input_terminated"):
        raise BodyCutShort(announced=None)
    if announced is not None and announced > MAX_STRIPE_BODY:
        raise BodyTooLarge(bytes=announced, most=MAX_STRIPE_BODY)
    one_too_many = MAX_STRIPE_BODY + 1
    body: bytes = environ["wsgi.input"].read(one_too_many if announced is None else announced)
    if len(body) == one_too_many:
        raise BodyTooLarge(most=MAX_STRIPE_BODY)
    if announced is not None and len(body) < announced:
        raise BodyCutShort(bytes=len(body), announced=announced)
    return body


#: The app that a WSGI server serves.
application = Relay()
