"""What each kind of event carries: JSON values only, times as ISO 8601, amounts in minor units."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class StatusChanged:
    """A step of an account's life. `reason` is one of the table in the worker's README."""

    status_from: str
    status_to: str
    reason: str
    actor: str


@dataclass(frozen=True, slots=True)
class CreditsLow:
    """The balance fell to `threshold_percent` of the plan's monthly credits, or below."""

    credits: int
    included_credits: int
    threshold_percent: int


@dataclass(frozen=True, slots=True)
class CreditsTakenBack:
    """Money of `payment` went back: of its credits so many were unspent, are owed, or let go."""

    payment: str
    unspent: int
    debt: int
    written_off: int


@dataclass(frozen=True, slots=True)
class Paid:
    """`amount_minor` of `currency` (ISO 4217); `payment`: Stripe's name of it, or our number."""

    payment: str
    currency: str
    amount_minor: int


@dataclass(frozen=True, slots=True)
class PaymentFailed:
    """So many attempts have failed; Stripe tries again at `next_attempt_at`, or not any more."""

    payment: str
    currency: str
    amount_minor: int
    attempts: int
    next_attempt_at: str | None


@dataclass(frozen=True, slots=True)
class TransferInvoice:
    """An invoice to be paid by bank transfer, with `reference`. Amounts in minor units."""

    invoice_id: int | None
    number: str
    reference: str
    currency: str
    due_minor: int
    settled_minor: int
    due_at: str


@dataclass(frozen=True, slots=True)
class TransferInvoiceIssued(TransferInvoice):
    """The same as it is sent: `pay_to` are the accounts that money may go to."""

    pay_to: list[str]


@dataclass(frozen=True, slots=True)
class Transferred:
    """What became of `amount_minor` of a bank transfer."""

    transfer_id: int
    currency: str
    amount_minor: int


@dataclass(frozen=True, slots=True)
class TransferNeedsReview(Transferred):
    """A transfer that no rule may decide; negative: money went back, and nobody knows of what.

    `why` is in words, `rule` the matching rule that suggests most. `version` is what confirming or
    rejecting it names; it rises whenever something about the transfer changes.
    """

    version: int
    rule: str
    why: str


@dataclass(frozen=True, slots=True)
class Disputed:
    """`status` is Stripe's: needs_response, under_review, won, lost and their like."""

    payment: str
    currency: str
    amount_minor: int
    status: str


@dataclass(frozen=True, slots=True)
class TrialEnds:
    """`days_left` is 7, 3, 1 or 0; times are ISO 8601. From `suspends_at` on nobody is let in."""

    ends_at: str
    suspends_at: str
    days_left: int


@dataclass(frozen=True, slots=True)
class TrialMoved:
    """The trial has a new end; `actor` said so."""

    ends_at: str
    suspends_at: str
    actor: str


@dataclass(frozen=True, slots=True)
class TrialRepeated:
    """The same `kinds` (email, domain, card, iban) had a trial before, in `accounts`."""

    kinds: list[str]
    accounts: list[int]
    is_refused: bool


@dataclass(frozen=True, slots=True)
class Dunning:
    """Money is missing. `day` of the schedule; `suspends_at` and `cancels_at` if it stays so."""

    case_id: int
    schedule: str
    cause: str
    invoice_id: int | None
    decline_code: str | None
    day: int
    suspends_at: str
    cancels_at: str


@dataclass(frozen=True, slots=True)
class DunningStopped:
    """The case is closed. `outcome`: paid, billed, cancelled, written_off or account_deleted."""

    case_id: int
    invoice_id: int | None
    outcome: str


@dataclass(frozen=True, slots=True)
class LimitExceeded:
    """The account has more than its plan allows. Nothing was deleted."""

    what: str
    used: int
    allowed: int


@dataclass(frozen=True, slots=True)
class AccountClosed:
    """A deleted account that can't be restored any more; end what bills it, blank what is yours."""

    restore_until: str
    stripe_customer_id: str | None
    stripe_subscription_id: str | None
