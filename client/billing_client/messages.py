"""The messages that the worker takes. Each checks its values when it is made.

A message knows its task's name and queue, and converts to the task's keyword arguments and back.
"""

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from billing_client import fields as check
from billing_client.bank import AnnounceTransfer, ConfirmTransfer, ImportStatement, RejectTransfer
from billing_client.errors import InvalidField
from billing_client.fields import (
    MAX_ID,
    MAX_KEY_CHARACTERS,
    MAX_NAME_CHARACTERS,
    MAX_UNITS,
    RESERVED_PREFIX,
)
from billing_client.message import Message

#: The sources that a grant may name; the source decides when its lot burns.
SOURCES = frozenset({"plan", "trial", "top_up", "bank_transfer", "goodwill"})


@dataclass(frozen=True, slots=True)
class Debit(Message):
    """Take what an AI operation costs.

    Attributes:
        account_id: The main app's id of the account.
        operation: The name of an operation that has a price, at most 50 characters.
        key: The idempotency key, 1 to 200 printable characters.
        units: The number of words, ideas or images the operation made, 1 to 1,000,000.
        happened_at: When the work was done, with a time zone. None: when the worker applies it.
        metadata: A JSON object of at most 2,048 bytes, kept with the ledger entry.
    """

    TASK: ClassVar[str] = "credits.debit"
    QUEUE: ClassVar[str] = "debits"

    account_id: int
    operation: str
    key: str
    units: int = 1
    happened_at: dt.datetime | None = None
    metadata: Mapping[str, object] | None = None

    def __post_init__(self) -> None:
        if not _is_plain(self):
            check.account_id(self.account_id)
            check.text("operation", self.operation, longest=MAX_NAME_CHARACTERS)
            check.key(self.key)
            check.whole("units", self.units, low=1, high=MAX_UNITS)
        if self.happened_at is not None:
            self._set(happened_at=check.moment("happened_at", self.happened_at))
        if self.metadata is not None:
            check.metadata(self.metadata)


def _is_plain(debit: Debit) -> bool:
    """Whether the fields that every debit has are within their bounds.

    One fast test for the usual case. If it fails, each field is checked to learn what is wrong.
    """
    account_id, name, key, units = debit.account_id, debit.operation, debit.key, debit.units
    return (
        type(account_id) is int
        and 1 <= account_id <= MAX_ID
        and type(units) is int
        and 1 <= units <= MAX_UNITS
        and type(name) is str
        and 0 < len(name) <= MAX_NAME_CHARACTERS
        and name.isprintable()
        and name == name.strip()
        and type(key) is str
        and 0 < len(key) <= MAX_KEY_CHARACTERS
        and key.isprintable()
        and key == key.strip()
        and not key.startswith(RESERVED_PREFIX)
    )


@dataclass(frozen=True, slots=True)
class Grant(Message):
    """Give an account credits as one lot.

    Attributes:
        account_id: The main app's id of the account.
        amount: Credits, 1 to 100,000,000.
        source: One of `SOURCES`.
        key: The idempotency key, 1 to 200 printable characters.
        expires_at: When unspent credits expire, with a time zone. None: never.
        priority: 0 to 1,000; a lower number burns first. None: the source's own.
    """

    TASK: ClassVar[str] = "credits.grant"
    QUEUE: ClassVar[str] = "credits"

    account_id: int
    amount: int
    source: str
    key: str
    expires_at: dt.datetime | None = None
    priority: int | None = None

    def __post_init__(self) -> None:
        check.account_id(self.account_id)
        check.whole("amount", self.amount, low=1, high=check.MAX_GRANT)
        check.key(self.key)
        check.text("source", self.source, longest=MAX_NAME_CHARACTERS)
        if self.source not in SOURCES:
            allowed = ", ".join(sorted(SOURCES))
            raise InvalidField("source", f"must be one of {allowed}, got {self.source!r:.60}")
        self._set(expires_at=check.moment("expires_at", self.expires_at))
        if self.priority is not None:
            check.whole("priority", self.priority, low=0, high=check.MAX_PRIORITY)


@dataclass(frozen=True, slots=True)
class SeedAccount(Message):
    """Give a new account its plan's first credits, once, even if the main app gave some."""

    TASK: ClassVar[str] = "credits.seed_account"
    QUEUE: ClassVar[str] = "credits"

    account_id: int

    def __post_init__(self) -> None:
        check.account_id(self.account_id)


@dataclass(frozen=True, slots=True)
class ExtendTrial(Message):
    """Give a running trial a later end: an absolute time, so that a repeat changes nothing."""

    TASK: ClassVar[str] = "trials.extend"
    QUEUE: ClassVar[str] = "credits"

    account_id: int
    ends_at: dt.datetime

    def __post_init__(self) -> None:
        check.account_id(self.account_id)
        ends_at = check.moment("ends_at", self.ends_at)
        if ends_at is None:
            raise InvalidField("ends_at", "must be a time")
        self._set(ends_at=ends_at)


@dataclass(frozen=True, slots=True)
class RestoreTrial(ExtendTrial):
    """Put an account whose trial had ended back on trial, until a new end."""

    TASK: ClassVar[str] = "trials.restore"


@dataclass(frozen=True, slots=True)
class PaymentMethodChanged(Message):
    """Retry a missed payment of the account at once, since it has a new card."""

    TASK: ClassVar[str] = "dunning.method_changed"
    QUEUE: ClassVar[str] = "credits"

    account_id: int

    def __post_init__(self) -> None:
        check.account_id(self.account_id)


@dataclass(frozen=True, slots=True)
class DebitMany(Message):
    """Take 1 to 500 debits in the order given, each with its own key and outcome."""

    TASK: ClassVar[str] = "credits.debit_many"
    QUEUE: ClassVar[str] = "debits"

    debits: tuple[Debit, ...]

    def __post_init__(self) -> None:
        debits: object = self.debits
        if not isinstance(debits, list | tuple) or not 1 <= len(debits) <= check.MAX_DEBITS:
            raise InvalidField("debits", f"must be a list of 1 to {check.MAX_DEBITS} debits")
        self._set(debits=tuple([_debit(debit) for debit in debits]))

    def arguments(self) -> dict[str, object]:
        """Return the task's keyword arguments, safe for JSON."""
        return {"debits": [debit.arguments() for debit in self.debits]}


def _debit(value: object) -> Debit:
    if isinstance(value, Debit):
        return value
    if not isinstance(value, Mapping):
        raise InvalidField("debits", "must hold objects with the fields of credits.debit")
    return Debit.from_arguments(value)


@dataclass(frozen=True, slots=True)
class Reverse(Message):
    """Give a debit's credits back to the lots that they came from.

    `key` is the debit's own, or that of a captured hold. A second reversal changes nothing. A debit
    that arrives after its reversal is not taken.
    """

    TASK: ClassVar[str] = "credits.reverse"
    QUEUE: ClassVar[str] = "debits"

    account_id: int
    key: str
    reason: str = "the work failed"

    def __post_init__(self) -> None:
        check.account_id(self.account_id)
        check.key(self.key)
        check.text("reason", self.reason, longest=MAX_KEY_CHARACTERS)


@dataclass(frozen=True, slots=True)
class PlaceHold(Message):
    """Reserve what an operation will cost, for `ttl_s` seconds (1 to 86,400).

    As a message it answers too late for a check before the work; the main app calls
    `BillingClient.place_hold` on its own connection instead.
    """

    TASK: ClassVar[str] = "holds.place"
    QUEUE: ClassVar[str] = "credits"

    account_id: int
    operation: str
    key: str
    units: int = 1
    ttl_s: int = check.DEFAULT_HOLD_S

    def __post_init__(self) -> None:
        check.account_id(self.account_id)
        check.text("operation", self.operation, longest=MAX_NAME_CHARACTERS)
        check.key(self.key)
        check.whole("units", self.units, low=1, high=MAX_UNITS)
        check.whole("ttl_s", self.ttl_s, low=1, high=check.MAX_HOLD_S)


@dataclass(frozen=True, slots=True)
class Capture(Message):
    """Take the credits that a hold reserved, now that the work is done.

    Attributes:
        account_id: The main app's id of the account.
        hold: The key of the hold. A hold ends once: a second capture gets the first one's answer.
        units: The units that the work took. None: the hold's. Fewer give the rest back; more are
            taken from free credits, then as debt where the plan allows it.
        metadata: A JSON object of at most 2,048 bytes, kept with the ledger entry.
    """

    TASK: ClassVar[str] = "holds.capture"
    QUEUE: ClassVar[str] = "debits"

    account_id: int
    hold: str
    units: int | None = None
    metadata: Mapping[str, object] | None = None

    def __post_init__(self) -> None:
        check.account_id(self.account_id)
        check.text("hold", self.hold, longest=MAX_KEY_CHARACTERS)
        if self.units is not None:
            check.whole("units", self.units, low=1, high=MAX_UNITS)
        if self.metadata is not None:
            check.metadata(self.metadata)


@dataclass(frozen=True, slots=True)
class Release(Message):
    """Give back the credits that a hold reserved. `hold` is the hold's key."""

    TASK: ClassVar[str] = "holds.release"
    QUEUE: ClassVar[str] = "debits"

    account_id: int
    hold: str

    def __post_init__(self) -> None:
        check.account_id(self.account_id)
        check.text("hold", self.hold, longest=MAX_KEY_CHARACTERS)


@dataclass(frozen=True, slots=True)
class DrainInbox(Message):
    """Apply the rows that wait in the inbox. A lost message costs a second, never a row."""

    TASK: ClassVar[str] = "credits.drain_inbox"
    QUEUE: ClassVar[str] = "debits"


@dataclass(frozen=True, slots=True)
class StripeWebhook(Message):
    """Verify and store a webhook that Stripe posted to the relay.

    Attributes:
        payload: The body as UTF-8 text; other bytes are carried as Python's "surrogateescape" does.
        signature: The value of the header `Stripe-Signature`, empty if there was none.
        received_at: When it came; the signature's tolerance counts from then.
    """

    TASK: ClassVar[str] = "stripe.receive"
    QUEUE: ClassVar[str] = "stripe"

    payload: str
    signature: str
    received_at: dt.datetime

    def __post_init__(self) -> None:
        check.payload(self.payload)
        check.signature(self.signature)
        received_at = check.moment("received_at", self.received_at)
        if received_at is None:
            raise InvalidField("received_at", "must be a time, got None")
        self._set(received_at=received_at)

    @property
    def body(self) -> bytes:
        """The bytes that Stripe sent and signed."""
        return self.payload.encode("utf-8", "surrogateescape")


@dataclass(frozen=True, slots=True)
class ApplyStripeEvent(Message):
    """Apply the stored Stripe event of this number. A lost message costs only seconds."""

    TASK: ClassVar[str] = "stripe.apply"
    QUEUE: ClassVar[str] = "stripe"

    number: int

    def __post_init__(self) -> None:
        check.whole("number", self.number, low=1, high=MAX_ID)


@dataclass(frozen=True, slots=True)
class AnnounceCheckout(Message):
    """Say whose account pays in a Checkout session (`cs_…`) that the app has created."""

    TASK: ClassVar[str] = "stripe.announce_checkout"
    QUEUE: ClassVar[str] = "credits"

    account_id: int
    session: str

    def __post_init__(self) -> None:
        check.account_id(self.account_id)
        check.text("session", self.session, longest=check.MAX_STRIPE_ID_CHARACTERS)
        if not self.session.startswith("cs_"):
            raise InvalidField("session", "must be the id of a Checkout session, cs_…")


#: Every message by its task's name.
MESSAGES: dict[str, type[Message]] = {
    message.TASK: message
    for message in (
        Debit,
        DebitMany,
        Reverse,
        PlaceHold,
        Capture,
        Release,
        DrainInbox,
        Grant,
        SeedAccount,
        ImportStatement,
        AnnounceTransfer,
        ConfirmTransfer,
        RejectTransfer,
        ExtendTrial,
        RestoreTrial,
        PaymentMethodChanged,
        StripeWebhook,
        ApplyStripeEvent,
        AnnounceCheckout,
    )
}
#: The messages that `billing_client.inbox.leave` takes.
INBOX_MESSAGES = (Debit, Reverse, Capture, Release)
