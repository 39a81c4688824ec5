"""The messages that the worker understands: checked when made, so that no bad one is sent.

A message knows its task's name and queue, and turns into a task's keyword arguments and back.
"""

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from billing_client import fields as check
from billing_client.bank import AnnounceTransfer, ConfirmTransfer, ImportStatement, RejectTransfer
from billing_client.errors import InvalidField
from billing_client.message import Message

#: Where a sender's credits may come from; the worker's `lots.SOURCES` says how each burns.
SOURCES = frozenset({"plan", "trial", "top_up", "bank_transfer", "goodwill"})


@dataclass(frozen=True, slots=True)
class Debit(Message):
    """Take what an AI operation costs. `units`: ideas, words or images, by the operation."""

    TASK: ClassVar[str] = "credits.debit"
    QUEUE: ClassVar[str] = "debits"

    account_id: int
    operation: str
    key: str
    units: int = 1
    happened_at: dt.datetime | None = None
    metadata: Mapping[str, object] | None = None

    def __post_init__(self) -> None:
        if not check.are_plain(self.account_id, self.operation, self.key, self.units):
            check.account_id(self.account_id)
            check.text("operation", self.operation, longest=check.MAX_NAME_CHARACTERS)
            check.key(self.key)
            check.whole("units", self.units, low=1, high=check.MAX_UNITS)
        if self.happened_at is not None:
            self._set(happened_at=check.moment("happened_at", self.happened_at))
        if self.metadata is not None:
            check.metadata(self.metadata)


@dataclass(frozen=True, slots=True)
class Grant(Message):
    """Give credits as one lot. `priority`: lower burns first; None takes the source's own."""

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
        check.text("source", self.source, longest=check.MAX_NAME_CHARACTERS)
        if self.source not in SOURCES:
            allowed = ", ".join(sorted(SOURCES))
            raise InvalidField("source", f"must be one of {allowed}, got {self.source!r:.60}")
        self._set(expires_at=check.moment("expires_at", self.expires_at))
        if self.priority is not None:
            check.whole("priority", self.priority, low=0, high=check.MAX_PRIORITY)


@dataclass(frozen=True, slots=True)
class SeedAccount(Message):
    """Give a new account its plan's credits, once, also where the main app already has."""

    TASK: ClassVar[str] = "credits.seed_account"
    QUEUE: ClassVar[str] = "credits"

    account_id: int

    def __post_init__(self) -> None:
        check.account_id(self.account_id)


@dataclass(frozen=True, slots=True)
class ExtendTrial(Message):
    """Give a running trial a later end. An absolute time, so that asking twice is asking once."""

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
    """Put an account whose trial was over back into it, until a new end."""

    TASK: ClassVar[str] = "trials.restore"


@dataclass(frozen=True, slots=True)
class PaymentMethodChanged(Message):
    """The account has a new card: if a payment is missing, it is worth another try at once."""

    TASK: ClassVar[str] = "dunning.method_changed"
    QUEUE: ClassVar[str] = "credits"

    account_id: int

    def __post_init__(self) -> None:
        check.account_id(self.account_id)


@dataclass(frozen=True, slots=True)
class DebitMany(Message):
    """Many debits in one message: read in the order given, each with its own key and outcome."""

    TASK: ClassVar[str] = "credits.debit_many"
    QUEUE: ClassVar[str] = "debits"

    debits: tuple[Debit, ...]

    def __post_init__(self) -> None:
        given: object = self.debits
        if not isinstance(given, list | tuple) or not 1 <= len(given) <= check.MAX_DEBITS:
            raise InvalidField("debits", f"must be a list of 1 to {check.MAX_DEBITS} debits")
        self._set(debits=tuple([_debit(each) for each in given]))

    def arguments(self) -> dict[str, object]:
        """The keyword arguments of the task, JSON-safe."""
        return {"debits": [each.arguments() for each in self.debits]}


def _debit(given: object) -> Debit:
    if isinstance(given, Debit):
        return given
    if not isinstance(given, Mapping):
        raise InvalidField("debits", "must hold objects with the fields of credits.debit")
    return Debit.from_arguments(given)


@dataclass(frozen=True, slots=True)
class Reverse(Message):
    """Give back what a debit took, to the lots that it took it from. `key` is the debit's own.

    Reversing twice is reversing once; a debit that comes after its reversal is not taken.
    """

    TASK: ClassVar[str] = "credits.reverse"
    QUEUE: ClassVar[str] = "debits"

    account_id: int
    key: str
    reason: str = "the work failed"

    def __post_init__(self) -> None:
        check.account_id(self.account_id)
        check.key(self.key)
        check.text("reason", self.reason, longest=check.MAX_KEY_CHARACTERS)


@dataclass(frozen=True, slots=True)
class PlaceHold(Message):
    """Set aside what an operation will cost.

    Its answer comes too late for a check before the work: for that the main app calls
    `billing_client.place_hold` on its own connection.
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
        check.text("operation", self.operation, longest=check.MAX_NAME_CHARACTERS)
        check.key(self.key)
        check.whole("units", self.units, low=1, high=check.MAX_UNITS)
        check.whole("ttl_s", self.ttl_s, low=1, high=check.MAX_HOLD_S)


@dataclass(frozen=True, slots=True)
class Capture(Message):
    """Take what a hold set aside, the work being done. `hold` is the hold's key.

    `units` None takes what was held; fewer give the rest back; more take the difference from what
    is free, then by the plan's debt policy. Finishing twice gives the first answer.
    """

    TASK: ClassVar[str] = "holds.capture"
    QUEUE: ClassVar[str] = "debits"

    account_id: int
    hold: str
    units: int | None = None
    metadata: Mapping[str, object] | None = None

    def __post_init__(self) -> None:
        check.account_id(self.account_id)
        check.text("hold", self.hold, longest=check.MAX_KEY_CHARACTERS)
        if self.units is not None:
            check.whole("units", self.units, low=1, high=check.MAX_UNITS)
        if self.metadata is not None:
            check.metadata(self.metadata)


@dataclass(frozen=True, slots=True)
class Release(Message):
    """Give back what a hold set aside, the work having failed. `hold` is the hold's key."""

    TASK: ClassVar[str] = "holds.release"
    QUEUE: ClassVar[str] = "debits"

    account_id: int
    hold: str

    def __post_init__(self) -> None:
        check.account_id(self.account_id)
        check.text("hold", self.hold, longest=check.MAX_KEY_CHARACTERS)


@dataclass(frozen=True, slots=True)
class DrainInbox(Message):
    """A doorbell: rows wait in the inbox. Losing it costs a second, never money."""

    TASK: ClassVar[str] = "credits.drain_inbox"
    QUEUE: ClassVar[str] = "debits"


@dataclass(frozen=True, slots=True)
class StripeWebhook(Message):
    """What Stripe posted to the relay: the body as it came, the signature's header, and when.

    `payload`: the body as UTF-8 text; bytes that are no UTF-8 as "surrogateescape" turns them into
    text, so that nothing of it is lost. `signature`: the text of `Stripe-Signature`, empty if there
    was none. `received_at`: when it came, for the signature's tolerance counts from there.
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
        """The very bytes that Stripe sent, over which it made the signature."""
        return self.payload.encode("utf-8", "surrogateescape")


@dataclass(frozen=True, slots=True)
class ApplyStripeEvent(Message):
    """A doorbell: an event lies in Stripe's inbox under this number. Losing it costs seconds."""

    TASK: ClassVar[str] = "stripe.apply"
    QUEUE: ClassVar[str] = "stripe"

    number: int

    def __post_init__(self) -> None:
        check.whole("number", self.number, low=1, high=check.MAX_ID)


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
    )
}
#: What may be left in the inbox, in the main app's own transaction.
INBOX_MESSAGES = (Debit, Reverse, Capture, Release)
