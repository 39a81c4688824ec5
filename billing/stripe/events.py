"""Stripe's events, parsed from their bodies."""

import datetime as dt
import hashlib
import json
import re
from dataclasses import dataclass
from typing import Any

from billing.stripe import fields
from billing.stripe.errors import (
    BodyTooLarge,
    ForeignAccount,
    LivemodeMismatch,
    MissingObject,
    NotAnEvent,
    NotJson,
    NotUtf8,
)
from billing.stripe.fields import JSON
from billing.stripe.kinds import KIND_OF_EVENT, KIND_OF_THIN_OBJECT, Kind
from billing.stripe.objects.customer import Customer
from billing.stripe.objects.subscription import Subscription

#: Stripe's bodies are below 256 KiB; larger ones are refused unread.
MAX_BODY_BYTES = 1024 * 1024
#: The `object` of a thin event.
THIN = "v2.core.event"
#: Stripe's objects are a dozen levels deep; Python and Postgres give up somewhere below this.
MAX_LEVELS = 64
#: NUL as JSON writes it. An even number of backslashes before it are escaped backslashes.
_NUL = re.compile(r"(?<!\\)(?:\\\\)*\\u0000")
#: Fields that differ between two deliveries of one event.
_VOLATILE = frozenset({"pending_webhooks", "request"})


@dataclass(frozen=True, slots=True)
class Event:
    """An event. `object`: the object that it carries; a thin event has only its id and kind."""

    id: str
    type: str
    happened_at: dt.datetime
    is_live: bool
    stripe_account: str | None
    object: JSON
    payload: dict[str, Any]
    is_thin: bool = False

    @property
    def kind(self) -> Kind | None:
        """The kind of the object that it is about; None for a type that we do not handle."""
        if not self.is_thin:
            return KIND_OF_EVENT.get(self.type)
        name = self.object.get("type")
        return KIND_OF_THIN_OBJECT.get(name) if isinstance(name, str) else None

    @property
    def object_id(self) -> str:
        """The object's id. Raises MissingObject."""
        object_id = self.object.get("id")
        if not isinstance(object_id, str) or not 0 < len(object_id) <= fields.MAX_TEXT_CHARACTERS:
            raise MissingObject(field="data.object.id")
        return object_id

    @property
    def is_deletion(self) -> bool:
        """Whether the object is gone. A subscription's end is a state of its own."""
        return self.type.endswith(".deleted") and self.kind is not Subscription

    @property
    def newest(self) -> JSON:
        """The object after the event; a deleted object does not always say so itself."""
        return {**self.object, "deleted": True} if self.is_deletion else self.object

    def row(self) -> dict[str, Any]:
        """The event as a row of the inbox. Malformed fields are reported when it is applied."""
        customer = self.object.get("id" if self.kind is Customer else "customer")
        object_id = self.object.get("id")
        return {
            "event_id": self.id,
            "type": self.type,
            "object_id": object_id if isinstance(object_id, str) else None,
            "customer": customer if isinstance(customer, str) else None,
            "payload": self.payload,
            "happened_at": self.happened_at.isoformat(),
        }

    def digest(self) -> bytes:
        """A digest that is equal for two deliveries of one event, and for no other event."""
        stable = {
            name: self.payload[name] for name in sorted(self.payload) if name not in _VOLATILE
        }
        shown = json.dumps(stable, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(shown.encode()).digest()[:16]


@dataclass(frozen=True, slots=True)
class Guard:
    """The events that are ours: live or test ones, of one Stripe account.

    An endpoint's own events name no account; one that names another account is a Connect event.
    """

    is_live: bool
    stripe_account: str | None = None

    def check(self, event: Event) -> None:
        """Raise LivemodeMismatch or ForeignAccount for an event that is not ours."""
        if event.is_live != self.is_live:
            raise LivemodeMismatch(event_is_live=event.is_live, we_are_live=self.is_live)
        account = event.stripe_account
        if account is not None and account != self.stripe_account:
            raise ForeignAccount(stripe_account=account)


def parse(body: bytes) -> Event:
    """Parse the event in a body. Raises an Unreadable, MissingObject or BadObject."""
    if len(body) > MAX_BODY_BYTES:
        raise BodyTooLarge(bytes=len(body), most=MAX_BODY_BYTES)
    try:
        text = body.decode()
    except UnicodeDecodeError as error:
        raise NotUtf8(position=error.start) from None
    try:
        payload = json.loads(text, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        position = error.pos if isinstance(error, json.JSONDecodeError) else None
        raise NotJson(position=position) from None
    return of_payload(payload)


def of_payload(payload: object, *, is_stored: bool = False) -> Event:
    """Read an event from parsed JSON. Raises NotAnEvent, MissingObject or BadObject.

    `is_stored`: it comes from the inbox, so Postgres can store it.
    """
    if not isinstance(payload, dict):
        raise NotAnEvent(what=type(payload).__name__)
    if not is_stored and (flaw := _flaw(payload)):
        raise NotAnEvent(what=flaw)
    if payload.get("object") == THIN:
        return _thin(payload)
    created = fields.second(payload, "created")
    if created is None or not isinstance(payload.get("data"), dict):
        raise NotAnEvent(what="no created or data")
    event = Event(
        id=fields.needed(payload, "id"),
        type=fields.needed(payload, "type"),
        happened_at=fields.moment(created),
        is_live=fields.flag(payload, "livemode"),
        stripe_account=fields.text(payload, "account"),
        object=fields.inside(payload, "data", "object"),
        payload=payload,
    )
    if event.kind is not None and event.object.get("id") is None:
        raise MissingObject(field="data.object.id", type=event.type)
    return event


def _flaw(payload: dict[str, Any]) -> str | None:
    """Name a flaw that JSON allows and Postgres' jsonb refuses; None if there is none."""
    level: list[Any] = [payload]
    for _ in range(MAX_LEVELS):
        containers = [value for value in level if isinstance(value, dict | list)]
        level = [
            inner
            for outer in containers
            for inner in (outer.values() if isinstance(outer, dict) else outer)
        ]
        if not level:
            break
    else:
        return "too deep"
    try:
        shown = json.dumps(payload, ensure_ascii=False, allow_nan=False)
        shown.encode()
    except UnicodeEncodeError:
        return "half a character"
    except ValueError:
        return "infinity"
    return "NUL" if _NUL.search(shown) else None


def _thin(payload: dict[str, Any]) -> Event:
    """Read a notification without an object: docs.stripe.com/event-destinations#thin-events.

    Its context is a path that ends in its account; an organization may stand before that.
    """
    try:
        happened_at = dt.datetime.fromisoformat(fields.needed(payload, "created"))
    except ValueError:
        raise NotAnEvent(what="created") from None
    related = fields.inside(payload, "related_object")
    return Event(
        id=fields.needed(payload, "id"),
        type=fields.needed(payload, "type"),
        happened_at=happened_at if happened_at.tzinfo else happened_at.replace(tzinfo=dt.UTC),
        is_live=fields.flag(payload, "livemode"),
        stripe_account=(fields.text(payload, "context") or "").rpartition("/")[2] or None,
        object=related,
        payload=payload,
        is_thin=True,
    )


def _refuse_constant(name: str) -> object:
    raise ValueError(name)
