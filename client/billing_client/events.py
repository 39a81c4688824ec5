"""The events that the worker sends the main app: every type, with what it carries.

They come as a Celery message with the task name `billing.receive_event`, as signed webhooks, or
both: at least once, and in order for each account. Drop those whose `id` you have seen.
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
    TransferInvoice,
    TransferInvoiceIssued,
    TransferNeedsReview,
    Transferred,
    TrialEnds,
    TrialMoved,
    TrialRepeated,
)

#: The name under which the main app registers the task that takes events.
TASK = "billing.receive_event"


class Kind(NamedTuple):
    """What an event of a type carries, and when it is left."""

    carries: type
    when: str


CATALOGUE: Mapping[str, Kind] = types.MappingProxyType(
    {
        "account.activated": Kind(StatusChanged, "an account was paid for, or let in by hand"),
        "account.awaits_payment": Kind(StatusChanged, "a bank transfer was announced"),
        "account.suspended": Kind(StatusChanged, "an account is not let in any more"),
        "account.reactivated": Kind(StatusChanged, "its last reason of suspension is gone"),
        "account.cancelled": Kind(StatusChanged, "an account was cancelled"),
        "account.closed": Kind(AccountClosed, "a deleted account can't be restored any more"),
        "credits.low": Kind(CreditsLow, "credits fell across 20, 5 or 0 %"),
        "credits.taken_back": Kind(
            CreditsTakenBack, "a refund or a lost dispute took credits back"
        ),
        "invoice.paid": Kind(Paid, "an invoice was paid"),
        "invoice.issued": Kind(TransferInvoiceIssued, "an invoice is to be paid by transfer"),
        "invoice.reminder": Kind(TransferInvoice, "it is due in 7 days"),
        "invoice.due": Kind(TransferInvoice, "it is due today"),
        "invoice.overdue": Kind(TransferInvoice, "it was due 7 days ago"),
        "invoice.expired": Kind(TransferInvoice, "it was due 14 days ago: access ends"),
        "invoice.written_off": Kind(
            TransferInvoice, "it was due 30 days ago: nobody asks any more"
        ),
        "invoice.reopened": Kind(TransferInvoice, "its money went back"),
        "invoice.void": Kind(TransferInvoice, "it is owed no more"),
        "transfer.needs_review": Kind(
            TransferNeedsReview, "a transfer waits for a person, for the first time"
        ),
        "transfer.unapplied": Kind(Transferred, "money came that no invoice takes"),
        "transfer.returned": Kind(Transferred, "a bank took a transfer back"),
        "transfer.refund_requested": Kind(Transferred, "a person asks for a refund by the bank"),
        "payment.failed": Kind(PaymentFailed, "an attempt to charge failed"),
        "dispute.opened": Kind(Disputed, "a customer disputes a payment"),
        "dispute.changed": Kind(Disputed, "a dispute went on, or ended"),
        "trial.ending": Kind(TrialEnds, "7, 3, 1 or 0 days before a trial's end"),
        "trial.moved": Kind(TrialMoved, "a trial was extended or restored"),
        "trial.repeated": Kind(TrialRepeated, "an identity has had a trial before"),
        "payment.missing": Kind(Dunning, "a reminder of the dunning schedule"),
        "payment.retry_due": Kind(Dunning, "a charge is worth another try"),
        "payment.settled": Kind(DunningStopped, "the dunning of an account has ended"),
        "plan.limit_exceeded": Kind(LimitExceeded, "an account has more than its plan allows"),
    }
)


@dataclass(frozen=True, slots=True)
class Recipient:
    """Whom to tell: `source` is billing_email, owner or admin."""

    email: str
    source: str


@dataclass(frozen=True, slots=True)
class Event:
    """One event. Ids rise for each account, in the order in which things happened.

    `recipient` None: nobody has an address. `data` is of the catalogue's class; for a type that
    this version of the client does not know, it is the bare mapping.
    """

    id: int
    type: str
    account_id: int | None
    happened_at: dt.datetime
    recipient: Recipient | None
    data: Any

    @classmethod
    def from_json(cls, given: Mapping[str, Any]) -> Self:
        """The event of a message's `event`, or of a webhook's body.

        Fields that this version does not know are left out. Raises MissingField.
        """
        recipient = given.get("recipient")
        kind = CATALOGUE.get(_needed(given, "type"))
        data = _needed(given, "data")
        return cls(
            id=_needed(given, "id"),
            type=given["type"],
            account_id=given.get("account_id"),
            happened_at=dt.datetime.fromisoformat(_needed(given, "timestamp")),
            recipient=Recipient(recipient["email"], recipient["source"]) if recipient else None,
            data=_read(kind.carries, data) if kind else data,
        )

    def as_json(self) -> dict[str, object]:
        """What is sent. `data` must be the mapping that the worker keeps."""
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
    """Whether an event of this type carries exactly this.

    Raises InvalidField for an unknown type or a value of the wrong type, MissingField or
    UnknownField.
    """
    kind = CATALOGUE.get(event_type)
    if kind is None:
        raise InvalidField("type", f"the catalogue knows no {event_type!r:.60}")
    hints = _hints(kind.carries)
    for name in data.keys() - hints.keys():
        raise UnknownField(name, f"{event_type} does not carry it")
    for name, hint in hints.items():
        value = _needed(data, name)
        if not _is(value, hint):
            raise InvalidField(name, f"{event_type} carries {hint}, got {type(value).__name__}")


@cache
def _hints(kind: type) -> Mapping[str, Any]:
    return get_type_hints(kind)


def _needed(given: Mapping[str, Any], name: str) -> Any:
    if name not in given:
        raise MissingField(name, "an event needs it")
    return given[name]


def _read(kind: Any, data: Mapping[str, Any]) -> Any:
    return kind(**{field.name: _needed(data, field.name) for field in fields(kind)})


def _is(value: object, hint: Any) -> bool:
    """Whether a JSON value is of this type: a class, `list[…]` or `… | None`."""
    if isinstance(hint, types.UnionType):
        return any(_is(value, each) for each in hint.__args__)
    if isinstance(hint, types.GenericAlias):
        return isinstance(value, list) and all(_is(each, hint.__args__[0]) for each in value)
    return isinstance(value, hint) and not (hint is int and isinstance(value, bool))
