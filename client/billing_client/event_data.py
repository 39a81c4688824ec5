"""The data of each type of event: JSON values, times as ISO 8601, money in minor units."""

from dataclasses import dataclass
from typing import dataclass_transform


@dataclass_transform(frozen_default=True)
class EventData:
    """The base class of the data of events, which makes each a frozen data class."""

    def __init_subclass__(cls) -> None:
        dataclass(frozen=True)(cls)


class StatusChanged(EventData):
    """A change of an account's status; the worker's documentation lists the reasons."""

    status_from: str
    status_to: str
    reason: str
    actor: str


class CreditsLow(EventData):
    """The balance fell to or below `threshold_percent` of the plan's monthly credits."""

    credits: int
    included_credits: int
    threshold_percent: int


class TakenWithoutAccess(EventData):
    """Debits of an account that had no access; `reason` is that of `access`, such as suspended.

    Sent with the first of a day, for each reason; later ones of that day are not counted here.
    """

    reason: str
    debits: int
    credits: int


class CreditsTakenBack(EventData):
    """A clawback: money of `payment` was returned, so the credits it bought are taken back.

    `unspent` came out of the balance, `debt` is now owed, `written_off` is waived.
    """

    payment: str
    unspent: int
    debt: int
    written_off: int


class Paid(EventData):
    """A payment received. `payment` is Stripe's id, or the invoice number of a bank transfer."""

    payment: str
    currency: str
    amount_minor: int


class PaymentFailed(EventData):
    """A failed charge. Stripe tries again at `next_attempt_at`; None: it does not."""

    payment: str
    currency: str
    amount_minor: int
    attempts: int
    next_attempt_at: str | None


class TransferInvoice(EventData):
    """An invoice to be paid by bank transfer; the customer must quote `reference`."""

    invoice_id: int | None
    number: str
    reference: str
    currency: str
    due_minor: int
    settled_minor: int
    due_at: str


class TransferInvoiceIssued(TransferInvoice):
    """A new invoice; `pay_to` lists the bank accounts that it may be paid to."""

    pay_to: list[str]


class Transferred(EventData):
    """A bank transfer, or the part of it that the event is about."""

    transfer_id: int
    currency: str
    amount_minor: int


class TransferNeedsReview(Transferred):
    """A transfer that needs a reviewer's decision.

    A negative `amount_minor` is money returned to a payer that no earlier transfer explains. `why`
    is a sentence, `rule` the matching rule with the best suggestion. `version` rises with every
    change of the transfer; `confirm_transfer` and `reject_transfer` name it.
    """

    version: int
    rule: str
    why: str


class Disputed(EventData):
    """A disputed payment. `status` is Stripe's, such as needs_response, won or lost."""

    payment: str
    currency: str
    amount_minor: int
    status: str


class TrialEnds(EventData):
    """A trial that ends in `days_left` (7, 3, 1 or 0) days; access ends at `suspends_at`."""

    ends_at: str
    suspends_at: str
    days_left: int


class TrialMoved(EventData):
    """A trial with a new end, set by `actor`."""

    ends_at: str
    suspends_at: str
    actor: str


class TrialRepeated(EventData):
    """Trial fingerprints (email, domain, card or iban) that earlier trials of `accounts` share."""

    kinds: list[str]
    accounts: list[int]
    is_refused: bool


class Dunning(EventData):
    """A missed payment, on `day` of the dunning schedule.

    Unless it is paid, the account is suspended at `suspends_at` and cancelled at `cancels_at`.
    """

    case_id: int
    schedule: str
    cause: str
    invoice_id: int | None
    decline_code: str | None
    day: int
    suspends_at: str
    cancels_at: str


class DunningStopped(EventData):
    """A closed dunning case: paid, billed, cancelled, written_off or account_deleted."""

    case_id: int
    invoice_id: int | None
    outcome: str


class LimitExceeded(EventData):
    """An account that uses more of `what` than its plan allows. Nothing was deleted."""

    what: str
    used: int
    allowed: int


class AccountClosed(EventData):
    """A deleted account that can no longer be restored.

    End the subscription that bills it, and erase its personal data in the main app's tables.
    """

    restore_until: str
    stripe_customer_id: str | None
    stripe_subscription_id: str | None
