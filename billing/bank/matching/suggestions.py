"""Candidates for a reviewer, best first, each with its reason in words: rules S1 to S4."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from billing.bank.matching.open_items import IssuedInvoice, OpenItems, folded, likeness
from billing.bank.matching.remittance import RemittanceText
from billing.bank.matching.types import Candidate, IncomingTransfer

#: Candidates that a reviewer is shown; more would hide the best.
SHOWN = 5
#: Invoices of one amount that are compared by name; beyond that, only those that share a word.
MAX_COMPARED = 200
#: An invoice is most often paid within this many days.
USUAL_DAYS = 30
#: Bounds of the search for sums, so that 200 open invoices cost milliseconds.
MAX_CANDIDATES, MAX_MEMBERS, MAX_STATES, MAX_SOLUTIONS = 20, 5, 50_000, 10


def within_account(
    incoming: IncomingTransfer, account_id: int, open_items: OpenItems
) -> list[Candidate]:
    """S3: the sets of an account's open invoices that add up to the amount."""
    sums = sums_of_account(incoming, account_id, open_items)
    more = "" if sums.is_complete else ", and there may be more"
    count = len(sums.solutions)
    words = "the only set" if count == 1 and sums.is_complete else f"one of {count} sets{more}"
    return [
        Candidate(
            parts=tuple((invoice.id, invoice.due_minor) for invoice in invoices),
            account_id=account_id,
            score=60 if count == 1 else max(20, 50 - 5 * count),
            why=f"{words} of account {account_id}'s open invoices that add up",
        )
        for invoices in sums.solutions
    ]


def only_equal(
    incoming: IncomingTransfer, account_id: int, open_items: OpenItems
) -> IssuedInvoice | None:
    """The account's one open invoice of this amount, if no set of invoices adds up to it too."""
    sums = sums_of_account(incoming, account_id, open_items, members=3)
    if sums.is_complete and len(sums.solutions) == 1 and len(sums.solutions[0]) == 1:
        return sums.solutions[0][0]
    return None


def by_typo_or_number(
    incoming: IncomingTransfer, remittance_text: RemittanceText
) -> list[Candidate]:
    """S4: invoices whose reference was mistyped, or whose number stands in the text."""
    hints = [
        (invoice, 90, f"{value} has wrong check digits; one slip away is {invoice.reference}")
        for value, invoices in remittance_text.mistyped
        for invoice in invoices
    ]
    hints += [
        (invoice, 80, f"the text names invoice {invoice.number}")
        for invoice in remittance_text.numbered
    ]
    candidates = [_candidate(incoming, invoice, score, why) for invoice, score, why in hints]
    return [candidate for candidate in candidates if candidate is not None]


def by_amount(incoming: IncomingTransfer, open_items: OpenItems) -> tuple[list[Candidate], int]:
    """S4: open invoices of just this amount, ranked by name and date; and their number."""
    amount = (incoming.currency, incoming.amount_minor)
    alike = open_items.by_amount.get(amount, [])
    candidates = []
    for invoice in _sharing_a_word(incoming, open_items) if len(alike) > MAX_COMPARED else alike:
        name = likeness(incoming.payer_name, invoice.names)
        days = (incoming.booking_date - invoice.issued_on).days
        timely = max(0, 20 - abs(days - USUAL_DAYS // 2)) if days >= 0 else 0
        why = f"the amount is that of {invoice.number}; the names share {name} %"
        candidate = _candidate(incoming, invoice, min(79, 20 + name * 4 // 10 + timely), why)
        if candidate is not None:
            candidates.append(candidate)
    return candidates, len(alike)


def _sharing_a_word(incoming: IncomingTransfer, open_items: OpenItems) -> list[IssuedInvoice]:
    """Open invoices of this amount with a word of the payer's name, oldest first."""
    sharing = {
        invoice.id: invoice
        for word in folded(incoming.payer_name or "")
        for invoice in open_items.by_amount_and_word.get(
            (incoming.currency, incoming.amount_minor, word), []
        )
    }
    return [sharing[id] for id in sorted(sharing)][:MAX_COMPARED]


def ranked(candidates: Iterable[Candidate]) -> tuple[Candidate, ...]:
    """The best few candidates; a set of invoices is listed once."""
    best: dict[tuple[tuple[int, int], ...], Candidate] = {}
    for candidate in sorted(candidates, key=lambda candidate: (-candidate.score, candidate.parts)):
        best.setdefault(candidate.parts, candidate)
    return tuple(list(best.values())[:SHOWN])


def _candidate(
    incoming: IncomingTransfer, invoice: IssuedInvoice, score: int, why: str
) -> Candidate | None:
    if not invoice.due_minor or invoice.currency != incoming.currency:
        return None
    part = min(invoice.due_minor, incoming.amount_minor)
    return Candidate(((invoice.id, part),), invoice.account_id, score, why)


class Sums(NamedTuple):
    """Sets of invoices that add up, in order; `is_complete`: every set was tried."""

    solutions: list[tuple[IssuedInvoice, ...]]
    is_complete: bool


def sums_of_account(
    incoming: IncomingTransfer,
    account_id: int,
    open_items: OpenItems,
    *,
    members: int = MAX_MEMBERS,
) -> Sums:
    """Find sets of at most `members` open invoices of the account that add up to the amount.

    With eight open invoices of a price list, one payment in three has a second set of its sum.
    """
    invoices = [
        invoice
        for invoice in open_items.by_account.get(account_id, [])
        if invoice.currency == incoming.currency and invoice.due_minor <= incoming.amount_minor
    ]
    invoices.sort(key=lambda invoice: (invoice.issued_on, invoice.id))
    search = _Search(invoices[:MAX_CANDIDATES], members)
    search.extend(0, incoming.amount_minor, ())
    return Sums(search.solutions, len(invoices) < MAX_CANDIDATES and not search.is_exhausted)


class _Search:
    """A search for sums that ends at its bounds."""

    def __init__(self, invoices: Sequence[IssuedInvoice], members: int) -> None:
        self.solutions: list[tuple[IssuedInvoice, ...]] = []
        self._invoices = invoices
        self._members = members
        self._states = 0

    @property
    def is_exhausted(self) -> bool:
        return self._states >= MAX_STATES or len(self.solutions) >= MAX_SOLUTIONS

    def extend(self, start: int, missing: int, taken: tuple[IssuedInvoice, ...]) -> None:
        if missing == 0:
            self.solutions.append(taken)
            return
        if len(taken) == self._members:
            return
        for place in range(start, len(self._invoices)):
            if self.is_exhausted:
                return
            self._states += 1
            invoice = self._invoices[place]
            if invoice.due_minor <= missing:
                self.extend(place + 1, missing - invoice.due_minor, (*taken, invoice))
