"""An event of Stripe's, read from its body, and what each type of event is about."""

import datetime as dt
import hashlib
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from billing.stripe import json_fields as read
from billing.stripe.errors import BodyTooLarge, MissingObject, NotAnEvent, NotJson, NotUtf8
from billing.stripe.json_fields import JSON

#: Stripe's bodies are below 256 KiB; what is larger is not looked into.
MAX_BODY_BYTES = 1024 * 1024
#: How a thin event names itself.
THIN = "v2.core.event"
#: Stripe's objects are a dozen levels deep; Python and Postgres give up somewhere below this.
MAX_LEVELS = 64
#: NUL as JSON writes it; behind an even number of backslashes, which only stand for themselves.
_NUL = re.compile(r"(?<!\\)(?:\\\\)*\\u0000")
#: What differs between two deliveries of one event.
_VOLATILE = frozenset({"pending_webhooks", "request"})


#: kind of object -> the types of event that name one; what is not here is kept as ignored.
_HANDLED = {
    "customer": "customer.{created updated deleted}",
    "subscription": "customer.subscription.{created updated deleted paused resumed"
    " pending_update_applied pending_update_expired trial_will_end}",
    "invoice": "invoice.{created updated deleted finalized finalization_failed sent paid overdue"
    " payment_succeeded payment_failed payment_action_required payment_attempt_required"
    " marked_uncollectible voided}",
    "invoice_payment": "invoice_payment.{paid detached}",
    "checkout_session": "checkout.session.{completed expired async_payment_succeeded"
    " async_payment_failed}",
    "charge": "charge.{succeeded failed pending captured updated refunded expired}",
    "refund": "refund.{created updated failed} charge.refund.{updated}",
    "dispute": "charge.dispute.{created updated closed funds_withdrawn funds_reinstated}",
    "payment_intent": "payment_intent.{created processing succeeded payment_failed canceled}",
    "payment_method": "payment_method.{attached updated automatically_updated}",
    "price": "price.{created updated deleted} plan.{created updated deleted}",
    "product": "product.{created updated deleted}",
    "cash_transaction": "customer_cash_balance_transaction.{created}",
}


def _spelled_out() -> Iterator[tuple[str, str]]:
    for kind, patterns in _HANDLED.items():
        for prefix, whats in re.findall(r"(\S+?)\{([^}]*)\}", patterns):
            for what in whats.split():
                yield prefix + what, kind


#: type of event -> kind of the object that it names (`billing.stripe.types.KINDS`).
EVENTS: dict[str, str] = dict(_spelled_out())

#: What a thin event calls the object that it is about -> its kind. Thin events are of more types
#: than others (`v1.customer.subscription.past_due`), so that the object decides, not the type:
#: docs.stripe.com/api/v2/core/events/event-types
RELATED = {
    "customer": "customer",
    "subscription": "subscription",
    "invoice": "invoice",
    "invoice_payment": "invoice_payment",
    "checkout.session": "checkout_session",
    "charge": "charge",
    "refund": "refund",
    "dispute": "dispute",
    "payment_intent": "payment_intent",
    "payment_method": "payment_method",
    "price": "price",
    "plan": "price",
    "product": "product",
    "customer_cash_balance_transaction": "cash_transaction",
}


@dataclass(frozen=True, slots=True)
class Event:
    """An event as it came. `object`: what it carries; of a thin one only id and kind are known."""

    id: str
    type: str
    happened_at: dt.datetime
    is_live: bool
    stripe_account: str | None
    object: JSON
    payload: dict[str, Any]
    is_thin: bool = False

    @property
    def kind(self) -> str | None:
        """The kind of the object that it is about; None for a type that we do not handle."""
        if not self.is_thin:
            return EVENTS.get(self.type)
        named = self.object.get("type")
        return RELATED.get(named) if isinstance(named, str) else None

    @property
    def object_id(self) -> str:
        """The object's id. Raises MissingObject."""
        found = self.object.get("id")
        if not isinstance(found, str) or not 0 < len(found) <= read.MAX_TEXT_CHARACTERS:
            raise MissingObject(field="data.object.id")
        return found

    @property
    def customer(self) -> str | None:
        """The customer that the object names, if it is one or names one."""
        if self.kind == "customer":
            return read.text(self.object, "id")
        return read.reference(self.object, "customer")

    @property
    def kept_object_id(self) -> str | None:
        """The object's id for the inbox: what can't be read is said when the event is applied."""
        found = self.object.get("id")
        return found if isinstance(found, str) else None

    @property
    def kept_customer(self) -> str | None:
        """The customer for the inbox, as it stands there."""
        found = self.object.get("id" if self.kind == "customer" else "customer")
        return found if isinstance(found, str) else None

    @property
    def says_deleted(self) -> bool:
        """Whether the object is no more. A subscription's end is a state of its own."""
        return self.type.endswith(".deleted") and self.kind != "subscription"

    @property
    def newest(self) -> JSON:
        """The object as the event leaves it: one that was deleted does not always say so."""
        return {**self.object, "deleted": True} if self.says_deleted else self.object

    def digest(self) -> bytes:
        """The same for two deliveries of one event, and for no other event of the same id."""
        stable = {
            name: self.payload[name] for name in sorted(self.payload) if name not in _VOLATILE
        }
        shown = json.dumps(stable, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(shown.encode()).digest()[:16]


def parse(body: bytes) -> Event:
    """The event that a body holds. Raises an Unreadable, MissingObject or BadObject."""
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


def of_payload(payload: object, *, is_kept: bool = False) -> Event:
    """The event that parsed JSON is. Raises NotAnEvent, MissingObject or BadObject.

    `is_kept`: it comes out of the inbox, so that it must be possible to keep.
    """
    if not isinstance(payload, dict):
        raise NotAnEvent(what=type(payload).__name__)
    if not is_kept and (unfit := _unfit_to_keep(payload)):
        raise NotAnEvent(what=unfit)
    if payload.get("object") == THIN:
        return _thin(payload)
    created = read.second(payload, "created")
    if created is None or not isinstance(payload.get("data"), dict):
        raise NotAnEvent(what="no created or data")
    event = Event(
        id=read.needed(payload, "id"),
        type=read.needed(payload, "type"),
        happened_at=read.moment(created),
        is_live=read.flag(payload, "livemode"),
        stripe_account=read.text(payload, "account"),
        object=read.inside(payload, "data", "object"),
        payload=payload,
    )
    if event.kind is not None and event.object.get("id") is None:
        raise MissingObject(field="data.object.id", type=event.type)
    return event


def _unfit_to_keep(payload: dict[str, Any]) -> str | None:
    """What in it JSON allows and Postgres' jsonb does not take; None if there is nothing."""
    level: list[Any] = [payload]
    for _ in range(MAX_LEVELS):
        containers = [each for each in level if isinstance(each, dict | list)]
        level = [
            inner
            for each in containers
            for inner in (each.values() if isinstance(each, dict) else each)
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
    """A notification that carries no object: docs.stripe.com/event-destinations#thin-events.

    Its context is the path to the account that it is of; an organization stands before that.
    """
    try:
        happened_at = dt.datetime.fromisoformat(read.needed(payload, "created"))
    except ValueError:
        raise NotAnEvent(what="created") from None
    related = read.inside(payload, "related_object")
    return Event(
        id=read.needed(payload, "id"),
        type=read.needed(payload, "type"),
        happened_at=happened_at if happened_at.tzinfo else happened_at.replace(tzinfo=dt.UTC),
        is_live=read.flag(payload, "livemode"),
        stripe_account=(read.text(payload, "context") or "").rpartition("/")[2] or None,
        object=related,
        payload=payload,
        is_thin=True,
    )


def _refuse_constant(name: str) -> object:
    raise ValueError(name)
