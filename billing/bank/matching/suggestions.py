"""Candidates for a reviewer, best first, each with its reason in words: rules S1 to S4."""

from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import timedelta
from typing import NamedTuple

from billing.bank.matching.open_items import OpenItems, folded, is_named, likeness
from billing.bank.matching.remittance import RemittanceText
from billing.bank.matching.types import Candidate, IncomingTransfer, IssuedInvoice

#: Candidates that a reviewer is shown; more would hide the best.
SHOWN = 5
#: Invoices of one amount that are compared by name, if more share a word.
MAX_COMPARED = 200
#: An invoice is most often paid about so many days after its issue; days further off count less.
USUAL_DAYS, TIMELY = 15, 20
#: Bounds of the search for sums, so that 200 open invoices cost milliseconds.
MAX_CANDIDATES, MAX_MEMBERS, MAX_STATES, MAX_SOLUTIONS = 20, 5, 50_000, 10
#: Scores. What a known payer's customers owe comes before what others owe, unless a name says so.
ONLY_SET, ONE_OF_SETS, NAMED, BY_NAME, BY_AMOUNT = 60, 56, 15, 79, 20
_NO_WORDS: frozenset[str] = frozenset()


def within(
    incoming: IncomingTransfer,
    account_ids: Sequence[int],
    open_items: OpenItems,
    *,
    words: frozenset[str] = _NO_WORDS,
) -> list[Candidate]:
    """S3: the sets of these accounts' open invoices that add up; first those the words name."""
    sums = sums_of(incoming, account_ids, open_items)
    more = "" if sums.is_complete else ", and there may be more"
    count = len(sums.solutions)
    is_only = count == 1 and sums.is_complete
    which = "the only set" if is_only else f"one of {count} sets{more}"
    whose = f"account {account_ids[0]}'s" if len(account_ids) == 1 else "the payer's customers'"
    return [
        Candidate(
            parts=tuple((invoice.id, invoice.due_minor) for invoice in invoices),
            account_id=invoices[0].account_id,
            score=(ONLY_SET if count == 1 else ONE_OF_SETS - 2 * len(invoices))
            + (NAMED if any(is_named(invoice.names, words) for invoice in invoices) else 0),
            why=f"{which} of {whose} open invoices that add up",
        )
        for invoices in sums.solutions
    ]


def only_equal(
    incoming: IncomingTransfer, account_id: int, open_items: OpenItems
) -> IssuedInvoice | None:
    """The account's one open invoice of this amount, if no set of invoices adds up to it too."""
    sums = sums_of(incoming, [account_id], open_items, members=3)
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


def by_amount(
    incoming: IncomingTransfer, open_items: OpenItems, *, words: frozenset[str] = _NO_WORDS
) -> list[Candidate]:
    """S4: open invoices of just this amount, ranked by the payer's name, the words and the date.

    One more invoice of the amount changes nothing here unless it is among the best.
    """
    candidates = []
    for invoice in _alike(incoming, open_items, words):
        name = likeness(incoming.payer_name, invoice.names)
        is_in_words = is_named(invoice.names, words)
        days = (incoming.booking_date - invoice.issued_on).days
        timely = max(0, TIMELY - abs(days - USUAL_DAYS)) if days >= 0 else 0
        score = BY_NAME if is_in_words else min(BY_NAME, BY_AMOUNT + name * 4 // 10 + timely)
        names = "the text names its customer" if is_in_words else f"the names share {name} %"
        why = f"the amount is that of {invoice.number}; {names}"
        part = ((invoice.id, invoice.due_minor),)
        candidates.append(Candidate(part, invoice.account_id, score, why))
    return candidates


def _alike(
    incoming: IncomingTransfer, open_items: OpenItems, words: frozenset[str]
) -> list[IssuedInvoice]:
    """Open invoices of this amount that may be among the best, however many there are.

    Those that share most words with the payer's name or the text; else the first ones of each day
    on which a date counts, and the oldest.
    """
    amount = (incoming.currency, incoming.amount_minor)
    shared: Counter[int] = Counter()
    for word in words | folded(incoming.payer_name or ""):
        group = open_items.by_amount_and_word.get((*amount, word), [])
        shared.update(invoice.id for invoice in group)
    most = sorted(shared, key=lambda invoice_id: (-shared[invoice_id], invoice_id))
    first = list(open_items.by_amount.get(amount, [])[:SHOWN])
    for days in range(USUAL_DAYS + TIMELY):
        day = incoming.booking_date - timedelta(days=days)
        first += open_items.by_amount_and_day.get((*amount, day), [])[:SHOWN]
    compared = [open_items.invoices[invoice_id] for invoice_id in most[:MAX_COMPARED]]
    return list({invoice.id: invoice for invoice in (*compared, *first)}.values())


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


def sums_of(
    incoming: IncomingTransfer,
    account_ids: Iterable[int],
    open_items: OpenItems,
    *,
    members: int = MAX_MEMBERS,
) -> Sums:
    """Find sets of at most `members` open invoices of the accounts that add up to the amount.

    With eight open invoices of a price list, one payment in three has a second set of its sum.
    """
    amount = incoming.amount_minor
    invoices = [
        invoice
        for account_id in account_ids
        for invoice in open_items.by_account.get(account_id, [])
        if invoice.currency == incoming.currency and invoice.due_minor <= amount
    ]
    # Just the amount first, so that the bounds never cut it off; then the oldest.
    invoices.sort(key=lambda invoice: (invoice.due_minor != amount, invoice.issued_on, invoice.id))
    search = _Search(invoices[:MAX_CANDIDATES], members)
    search.extend(0, amount, ())
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
