"""The values that matching takes and answers, without a database. Amounts are minor units."""

from dataclasses import dataclass
from datetime import date

from billing.statements.canonical import Reference

#: The version of the rules, recorded with each decision.
ENGINE_VERSION = "4"
#: Outcomes that move money without a reviewer.
AUTOMATIC = frozenset({"settle", "credit"})


@dataclass(frozen=True, slots=True)
class IncomingTransfer:
    """A transfer that came.

    Attributes:
        order: Its place among equal ones, the same in every import.
        receiving: The number of our account that received it.
        structured: References in the structured field.
        texts: The payer's words.
        virtual_owner: The account whose virtual IBAN received it.
        doubts: Reasons why nothing of it may be applied automatically.
    """

    id: int
    order: str
    amount_minor: int
    currency: str
    booking_date: date
    receiving: str
    structured: tuple[Reference, ...] = ()
    texts: tuple[str, ...] = ()
    payer_name: str | None = None
    payer_iban: str | None = None
    virtual_owner: int | None = None
    doubts: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class IssuedInvoice:
    """An invoice, open or closed. `due_minor`: the open part of `total_minor`, 0 if closed."""

    id: int
    account_id: int
    reference: str
    number: str
    currency: str
    due_minor: int
    total_minor: int
    state: str
    issued_on: date
    names: tuple[str, ...] = ()
    is_contested: bool = False


@dataclass(frozen=True, slots=True)
class PayerHistory:
    """Counts for a payer's IBAN: matches by reference, and confirmed and declined suggestions."""

    confirmed: int = 0
    matched: int = 0
    declined: int = 0


@dataclass(frozen=True, slots=True)
class EarlierTransfer:
    """An allocated transfer, to notice when the same payer sends the same again."""

    payer_iban: str | None
    amount_minor: int
    currency: str
    invoice_ids: frozenset[int]
    booking_date: date


@dataclass(frozen=True, slots=True)
class MatchingPolicy:
    """The operator's limits on automatic decisions.

    Attributes:
        auto_limit_minor: The largest amount that is applied automatically.
        trust_after: Reviewers' confirmations, without a decline, after which S1 settles
            automatically; 0: never.
    """

    auto_limit_minor: int = 10_000_00
    trust_after: int = 0


@dataclass(frozen=True, slots=True)
class Candidate:
    """Invoices that a transfer may be for, and the reason; `score` (0 to 100) only ranks."""

    parts: tuple[tuple[int, int], ...]
    account_id: int
    score: int
    why: str


@dataclass(frozen=True, slots=True)
class MatchDecision:
    """The decision about a transfer, and its grounds.

    Attributes:
        rule: The rule that made it (`rules.RULES`).
        outcome: settle (invoices), credit (an account's unapplied cash), suggest or none.
        parts: (invoice id, minor units) of each invoice that is paid.
        review: The reason why a reviewer should look at it; None if nobody needs to.
    """

    transfer_id: int
    rule: str
    outcome: str
    account_id: int | None = None
    parts: tuple[tuple[int, int], ...] = ()
    surplus_minor: int = 0
    reasons: tuple[str, ...] = ()
    vetoes: tuple[str, ...] = ()
    candidates: tuple[Candidate, ...] = ()
    review: str | None = None
