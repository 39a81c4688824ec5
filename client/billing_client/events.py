"""The events that the worker sends to the main app: every type with its data.

They arrive as Celery messages named `billing.receive_event`, as signed webhooks, or both. Delivery
is at least once, and in order for each account: drop an event whose `id` you have seen.
"""

import datetime as dt
import types
from collections.abc import Mapping
from dataclasses import dataclass, fields
from functools import cache
from typing import Any, NamedTuple, Self, get_type_hints

from billing_client.errors import InvalidField, MissingField, UnknownField
from billing_client.event_data import (
    AccountClosed,
    CreditsLow,
    CreditsTakenBack,
    Disputed,
    Dunning,
    DunningStopped,
    LimitExceeded,
    Paid,
    PaymentFailed,
    StatusChanged,
    TakenWithoutAccess,
    TransferInvoice,
    TransferInvoiceIssued,
    TransferNeedsReview,
    Transferred,
    TrialEnds,
    TrialMoved,
    TrialRepeated,
)

#: The name of the main app's task that receives events.
TASK = "billing.receive_event"


class Kind(NamedTuple):
    """A type of event: the class of its data, and when it is sent."""

    carries: type
    when: str


_KINDS: dict[str, tuple[type, str]] = {
    "account.activated": (StatusChanged, "an account was paid for, or activated by an operator"),
    "account.awaits_payment": (StatusChanged, "a bank transfer was announced"),
    "account.in_trial": (StatusChanged, "the main app put an account into its trial"),
    "account.suspended": (StatusChanged, "an account lost access"),
    "account.reactivated": (StatusChanged, "the last reason of its suspension was lifted"),
    "account.cancelled": (StatusChanged, "an account was cancelled"),
    "account.closed": (AccountClosed, "a deleted account can no longer be restored"),
    "credits.low": (CreditsLow, "the balance fell to 20, 5 or 0 % of the plan's credits"),
    "credits.taken_back": (CreditsTakenBack, "a refund or a lost dispute took credits back"),
    "credits.taken_without_access": (
        TakenWithoutAccess,
        "an account without access was debited, once a day and reason",
    ),
    "invoice.paid": (Paid, "an invoice was paid"),
    "invoice.issued": (TransferInvoiceIssued, "an invoice was issued for a bank transfer"),
    "invoice.reminder": (TransferInvoice, "the invoice is due in 7 days"),
    "invoice.due": (TransferInvoice, "the invoice is due today"),
    "invoice.overdue": (TransferInvoice, "the invoice was due 7 days ago"),
    "invoice.expired": (TransferInvoice, "the invoice was due 14 days ago: access ends"),
    "invoice.in_question": (
        TransferInvoice,
        "money that may be for the invoice waits for a decision of yours",
    ),
    "invoice.written_off": (
        TransferInvoice,
        "the invoice was due 30 days ago: no more reminders follow",
    ),
    "invoice.reopened": (TransferInvoice, "the money that paid the invoice was returned"),
    "invoice.void": (TransferInvoice, "the invoice is no longer owed"),
    "transfer.needs_review": (
        TransferNeedsReview,
        "a transfer needs a reviewer's decision, once per transfer",
    ),
    "transfer.unapplied": (Transferred, "a payment fits no invoice and became unapplied cash"),
    "transfer.returned": (Transferred, "a bank returned a transfer"),
    "transfer.refund_requested": (Transferred, "a reviewer requested a refund by bank transfer"),
    "payment.failed": (PaymentFailed, "a charge failed"),
    "dispute.opened": (Disputed, "a customer disputes a payment"),
    "dispute.changed": (Disputed, "a dispute changed its status, or ended"),
    "trial.ending": (TrialEnds, "7, 3, 1 or 0 days before a trial's end"),
    "trial.moved": (TrialMoved, "a trial was extended or restored"),
    "trial.repeated": (TrialRepeated, "a trial fingerprint has had a trial before"),
    "payment.missing": (Dunning, "a reminder of the dunning schedule"),
    "payment.retry_due": (Dunning, "a failed charge should be tried again"),
    "payment.settled": (DunningStopped, "the dunning case of an account was closed"),
    "plan.limit_exceeded": (LimitExceeded, "an account uses more than its plan allows"),
}
CATALOGUE: Mapping[str, Kind] = types.MappingProxyType(
    {name: Kind(*kind) for name, kind in _KINDS.items()}
)


@dataclass(frozen=True, slots=True)
class Recipient:
    """The person to notify; `source` is `billing_email`, `owner` or `admin`."""

    email: str
    source: str


@dataclass(frozen=True, slots=True)
class Event:
    """An event of the worker.

    Attributes:
        id: Unique; it rises in the order of the events of an account.
        type: A key of `CATALOGUE`, such as `trial.ending`.
        account_id: The main app's id of the account, if it is about one.
        happened_at: When it happened, with a time zone.
        recipient: The person to notify; None if the account has no address.
        data: An object of the type's class in `CATALOGUE`; the bare mapping if this version of the
            client does not know the type.
    """

    id: int
    type: str
    account_id: int | None
    happened_at: dt.datetime
    recipient: Recipient | None
    data: Any

    @classmethod
    def from_json(cls, body: Mapping[str, Any]) -> Self:
        """Build the event from a message's `event` argument or a webhook's body.

        Args:
            body: The parsed JSON object; fields that this version does not know are dropped.

        Raises:
            MissingField: A required field is not there.
        """
        recipient = body.get("recipient")
        kind = CATALOGUE.get(_required(body, "type"))
        data = _required(body, "data")
        return cls(
            id=_required(body, "id"),
            type=body["type"],
            account_id=body.get("account_id"),
            happened_at=dt.datetime.fromisoformat(_required(body, "timestamp")),
            recipient=Recipient(recipient["email"], recipient["source"]) if recipient else None,
            data=_read(kind.carries, data) if kind else data,
        )

    def as_json(self) -> dict[str, object]:
        """Return the JSON object that is sent; `data` must be a mapping."""
        to = self.recipient
        return {
            "id": self.id,
            "type": self.type,
            "account_id": self.account_id,
            "timestamp": self.happened_at.isoformat(),
            "recipient": {"email": to.email, "source": to.source} if to else None,
            "data": self.data,
        }


def check(event_type: str, data: Mapping[str, object]) -> None:
    """Check that data has exactly the fields of an event of this type.

    Raises:
        InvalidField: The type is unknown, or a value is of the wrong type.
        MissingField: A field is not there.
        UnknownField: A field does not belong to the type.
    """
    kind = CATALOGUE.get(event_type)
    if kind is None:
        raise InvalidField("type", f"must be in the catalogue of events, got {event_type!r:.60}")
    hints = _hints(kind.carries)
    for name in data.keys() - hints.keys():
        raise UnknownField(name, f"is not a field of {event_type}")
    for name, hint in hints.items():
        value = _required(data, name)
        if not _is(value, hint):
            raise InvalidField(name, f"of {event_type} must be {hint}, got {type(value).__name__}")


@cache
def _hints(kind: type) -> Mapping[str, Any]:
    return get_type_hints(kind)


def _required(body: Mapping[str, Any], name: str) -> Any:
    if name not in body:
        raise MissingField(name, "is required in an event")
    return body[name]


def _read(kind: Any, data: Mapping[str, Any]) -> Any:
    return kind(**{field.name: _required(data, field.name) for field in fields(kind)})


def _is(value: object, hint: Any) -> bool:
    """Whether a JSON value has this type: a class, `list[…]` or `… | None`."""
    if isinstance(hint, types.UnionType):
        return any(_is(value, option) for option in hint.__args__)
    if isinstance(hint, types.GenericAlias):
        return isinstance(value, list) and all(_is(item, hint.__args__[0]) for item in value)
    return isinstance(value, hint) and not (hint is int and isinstance(value, bool))
