"""The messages that the worker takes. Each checks its values when it is made.

A message knows its task's name and queue, and converts to the task's keyword arguments and back.
"""

from collections.abc import Mapping
from functools import partial
from typing import Annotated

from billing_client.bank import AnnounceTransfer, ConfirmTransfer, ImportStatement, RejectTransfer
from billing_client.errors import InvalidField
from billing_client.fields import (
    DEFAULT_HOLD_S,
    MAX_DEBITS,
    MAX_GRANT,
    MAX_HOLD_S,
    MAX_ID,
    MAX_KEY_CHARACTERS,
    MAX_NAME_CHARACTERS,
    MAX_PRIORITY,
    MAX_UNITS,
    RESERVED_PREFIX,
    HoldKey,
    Id,
    Key,
    Metadata,
    Name,
    Payload,
    Reason,
    Session,
    Signature,
    Time,
    Units,
    metadata,
    moment,
    text,
    whole,
)
from billing_client.message import Message

#: The sources that a grant may name; the source decides when its lot burns.
SOURCES = frozenset({"plan", "trial", "top_up", "bank_transfer", "goodwill"})


class Debit(Message, task="credits.debit", queue="debits"):
    """Take what an AI operation costs.

    Attributes:
        account_id: The main app's id of the account.
        operation: The name of an operation that has a price, at most 50 characters.
        key: The idempotency key, 1 to 200 printable characters.
        units: The number of words, ideas or images the operation made, 1 to 1,000,000.
        happened_at: When the work was done, with a time zone. None: when the worker applies it.
        metadata: A JSON object of at most 2,048 bytes, kept with the ledger entry.
    """

    account_id: Id
    operation: Name
    key: Key
    units: Units = 1
    happened_at: Time | None = None
    metadata: Metadata | None = None

    def __post_init__(self) -> None:
        if not _is_plain(self):
            super().__post_init__()
            return
        if self.happened_at is not None:
            object.__setattr__(self, "happened_at", moment("happened_at", self.happened_at))
        if self.metadata is not None:
            metadata("metadata", self.metadata)


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


def _source(field: str, value: object) -> str:
    source = text(field, value, longest=MAX_NAME_CHARACTERS)
    if source not in SOURCES:
        allowed = ", ".join(sorted(SOURCES))
        raise InvalidField(field, f"must be one of {allowed}, got {source!r:.60}")
    return source


class Grant(Message, task="credits.grant", queue="credits"):
    """Give an account credits as one lot.

    Attributes:
        account_id: The main app's id of the account.
        amount: Credits, 1 to 100,000,000.
        source: One of `SOURCES`.
        key: The idempotency key, 1 to 200 printable characters.
        expires_at: When unspent credits expire, with a time zone. None: never.
        priority: 0 to 1,000; a lower number burns first. None: the source's own.
    """

    account_id: Id
    amount: Annotated[int, partial(whole, low=1, high=MAX_GRANT)]
    source: Annotated[str, _source]
    key: Key
    expires_at: Time | None = None
    priority: Annotated[int, partial(whole, low=0, high=MAX_PRIORITY)] | None = None


class SeedAccount(Message, task="credits.seed_account", queue="credits"):
    """Give a new account its plan's first credits, once, even if the main app gave some."""

    account_id: Id


class ExtendTrial(Message, task="trials.extend", queue="credits"):
    """Give a running trial a later end: an absolute time, so that a repeat changes nothing."""

    account_id: Id
    ends_at: Time


class RestoreTrial(ExtendTrial, task="trials.restore"):
    """Put an account whose trial had ended back on trial, until a new end."""


class PaymentMethodChanged(Message, task="dunning.method_changed", queue="credits"):
    """Retry a missed payment of the account at once, since it has a new card."""

    account_id: Id


def _debits(field: str, value: object) -> tuple[Debit, ...]:
    if not isinstance(value, list | tuple) or not 1 <= len(value) <= MAX_DEBITS:
        raise InvalidField(field, f"must be a list of 1 to {MAX_DEBITS} debits")
    return tuple([_debit(debit) for debit in value])


def _debit(value: object) -> Debit:
    if isinstance(value, Debit):
        return value
    if not isinstance(value, Mapping):
        raise InvalidField("debits", "must hold objects with the fields of credits.debit")
    return Debit.from_arguments(value)


class DebitMany(Message, task="credits.debit_many", queue="debits"):
    """Take 1 to 500 debits in the order given, each with its own key and outcome."""

    debits: Annotated[tuple[Debit, ...], _debits]

    def arguments(self) -> dict[str, object]:
        """Return the task's keyword arguments, safe for JSON."""
        return {"debits": [debit.arguments() for debit in self.debits]}


class Reverse(Message, task="credits.reverse", queue="debits"):
    """Give a debit's credits back to the lots that they came from.

    `key` is the debit's own, or that of a captured hold. A second reversal changes nothing. A debit
    that arrives after its reversal is not taken.
    """

    account_id: Id
    key: Key
    reason: Reason = "the work failed"


class PlaceHold(Message, task="holds.place", queue="credits"):
    """Reserve what an operation will cost, for `ttl_s` seconds (1 to 86,400).

    As a message it answers too late for a check before the work; the main app calls
    `BillingClient.place_hold` on its own connection instead.
    """

    account_id: Id
    operation: Name
    key: Key
    units: Units = 1
    ttl_s: Annotated[int, partial(whole, low=1, high=MAX_HOLD_S)] = DEFAULT_HOLD_S


class Capture(Message, task="holds.capture", queue="debits"):
    """Take the credits that a hold reserved, now that the work is done.

    Attributes:
        account_id: The main app's id of the account.
        hold: The key of the hold. A hold ends once: a second capture gets the first one's answer.
        units: The units that the work took. None: the hold's. Fewer give the rest back; more are
            taken from free credits, then as debt where the plan allows it.
        metadata: A JSON object of at most 2,048 bytes, kept with the ledger entry.
    """

    account_id: Id
    hold: HoldKey
    units: Units | None = None
    metadata: Metadata | None = None


class Release(Message, task="holds.release", queue="debits"):
    """Give back the credits that a hold reserved. `hold` is the hold's key."""

    account_id: Id
    hold: HoldKey


class DrainInbox(Message, task="credits.drain_inbox", queue="debits"):
    """Apply the rows that wait in the inbox. A lost message costs a second, never a row."""


class StripeWebhook(Message, task="stripe.receive", queue="stripe"):
    """Verify and store a webhook that Stripe posted to the relay.

    Attributes:
        payload: The body as UTF-8 text; other bytes are carried as Python's "surrogateescape" does.
        signature: The value of the header `Stripe-Signature`, empty if there was none.
        received_at: When it came; the signature's tolerance counts from then.
    """

    payload: Payload
    signature: Signature
    received_at: Time

    @property
    def body(self) -> bytes:
        """The bytes that Stripe sent and signed."""
        return self.payload.encode("utf-8", "surrogateescape")


class ApplyStripeEvent(Message, task="stripe.apply", queue="stripe"):
    """Apply the stored Stripe event of this number. A lost message costs only seconds."""

    number: Id


class AnnounceCheckout(Message, task="stripe.announce_checkout", queue="credits"):
    """Say whose account pays in a Checkout session (`cs_…`) that the app has created."""

    account_id: Id
    session: Session


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
