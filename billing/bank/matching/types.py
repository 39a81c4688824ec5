"""What matching knows of the world, and what it answers: plain values, no database.

Amounts are minor units of the currency beside them.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date

from billing.bank.matching.names import folded
from billing.statements.canonical import Reference

#: Of these rules, which hand is at work: see BANK matching in docs/decisions.
ENGINE_VERSION = "2"


@dataclass(frozen=True, slots=True)
class Invoice:
    """An invoice that a transfer may pay. `due_minor`: what is still open of `total_minor`."""

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

    @property
    def is_open(self) -> bool:
        """Whether it may still be paid."""
        return self.state == "open" and self.due_minor > 0


@dataclass(frozen=True, slots=True)
class Incoming:
    """A transfer that came. `order`: its place among equals, the same in every import.

    `doubts`: in words, why nothing of it may be applied by itself, whatever it says.
    `virtual_owner`: the account whose virtual IBAN received it.
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
class Trust:
    """What is known of an IBAN that paid for an account before.

    `confirmed` and `declined` by people, `matched` by reference.
    """

    confirmed: int = 0
    matched: int = 0
    declined: int = 0


@dataclass(frozen=True, slots=True)
class Earlier:
    """A transfer seen before: whether the same payer sends the same again."""

    payer_iban: str | None
    amount_minor: int
    currency: str
    invoice_ids: frozenset[int]
    booking_date: date


@dataclass(frozen=True, slots=True)
class Policy:
    """`auto_limit_minor`: more than this is never applied by itself.

    `trust_after`: confirmations by people, without one decline, after which S1 applies by itself;
    0: never.
    """

    auto_limit_minor: int = 10_000_00
    trust_after: int = 0


@dataclass(frozen=True, slots=True)
class Candidate:
    """Invoices that a transfer may be for, and why, best first; `score` 0 to 100 only ranks."""

    parts: tuple[tuple[int, int], ...]
    account_id: int
    score: int
    why: str


@dataclass(frozen=True, slots=True)
class Decision:
    """What becomes of a transfer, and on what that rests.

    `outcome`: settle (invoices), credit (the account's unapplied cash), suggest or none.
    `parts`: [invoice, minor units]. `review`: why a person should look, None: nobody need.
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

    @property
    def is_automatic(self) -> bool:
        """Whether it moves money without a person."""
        return self.outcome in {"settle", "credit"}


@dataclass(slots=True)
class OpenItems:
    """The invoices and payers of one run, indexed. `by_word`: one invoice of each account."""

    invoices: Mapping[int, Invoice]
    payers: Mapping[str, Mapping[int, Trust]] = field(default_factory=dict)
    earlier: Mapping[tuple[str | None, int, str], list[Earlier]] = field(default_factory=dict)
    by_reference: dict[str, Invoice] = field(init=False)
    by_number: dict[str, Invoice] = field(init=False)
    by_account: dict[int, list[Invoice]] = field(init=False)
    by_amount: dict[tuple[str, int], list[Invoice]] = field(init=False)
    by_amount_and_word: dict[tuple[str, int, str], list[Invoice]] = field(init=False)
    by_word: dict[str, list[Invoice]] = field(init=False)
    lengths: frozenset[int] = field(init=False)

    def __post_init__(self) -> None:
        every = sorted(self.invoices.values(), key=lambda invoice: invoice.id)
        self.by_reference = {invoice.reference: invoice for invoice in every}
        self.by_number = {invoice.number.upper(): invoice for invoice in every}
        self.lengths = frozenset(len(invoice.reference) for invoice in every)
        self.by_account, self.by_amount, self.by_amount_and_word = {}, {}, {}
        self.by_word = {}
        for invoice in {one.account_id: one for one in every}.values():
            for word in {word for name in invoice.names for word in folded(name)}:
                self.by_word.setdefault(word, []).append(invoice)
        for invoice in every:
            if not invoice.is_open:
                continue
            self.by_account.setdefault(invoice.account_id, []).append(invoice)
            amount = (invoice.currency, invoice.due_minor)
            self.by_amount.setdefault(amount, []).append(invoice)
            for word in {word for name in invoice.names for word in folded(name)}:
                self.by_amount_and_word.setdefault((*amount, word), []).append(invoice)

    def known_for(self, iban: str | None) -> dict[int, Trust]:
        """The accounts that this payer is known to have paid for."""
        known = self.payers.get(iban, {}) if iban else {}
        return {one: trust for one, trust in known.items() if trust.confirmed or trust.matched}


def earlier_by_likeness(
    seen: Iterable[Earlier],
) -> dict[tuple[str | None, int, str], list[Earlier]]:
    """Earlier transfers by payer, amount and currency."""
    found: dict[tuple[str | None, int, str], list[Earlier]] = {}
    for one in seen:
        found.setdefault((one.payer_iban, one.amount_minor, one.currency), []).append(one)
    return found
