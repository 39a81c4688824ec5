"""Candidates for a person, best first, each with its reason in words: rules S1 to S4."""

from collections.abc import Iterable

from billing.bank.matching import subsets
from billing.bank.matching.names import folded, likeness
from billing.bank.matching.remittance import Said
from billing.bank.matching.types import Candidate, Incoming, Invoice, OpenItems

#: Candidates that a person is shown; more would hide the best.
SHOWN = 5
#: Invoices of one amount that are compared by name; beyond, only those that share a word.
MAX_COMPARED = 200
#: An invoice is most often paid within this many days.
USUAL_DAYS = 30


def within_account(incoming: Incoming, account_id: int, open_items: OpenItems) -> list[Candidate]:
    """S3: sets of the account's open invoices that add up; every one that the search finds."""
    invoices = [
        one
        for one in open_items.by_account.get(account_id, [])
        if one.currency == incoming.currency
    ]
    sums = subsets.adding_up(invoices, incoming.amount_minor)
    more = "" if sums.is_whole else ", and there may be more"
    count = len(sums.found)
    words = "the only set" if count == 1 and sums.is_whole else f"one of {count} sets{more}"
    return [
        Candidate(
            parts=tuple((one.id, one.due_minor) for one in chosen),
            account_id=account_id,
            score=60 if count == 1 else max(20, 50 - 5 * count),
            why=f"{words} of account {account_id}'s open invoices that add up",
        )
        for chosen in sums.found
    ]


def by_slip_or_number(incoming: Incoming, said: Said) -> list[Candidate]:
    """S4: invoices whose reference was mistyped, or whose number stands in the text."""
    hinted = [
        (invoice, 90, f"{value} has wrong check digits; one slip away is {invoice.reference}")
        for value, invoices in said.mistyped
        for invoice in invoices
    ]
    hinted += [(one, 80, f"the text names invoice {one.number}") for one in said.numbered]
    found = [_of(incoming, invoice, score, why) for invoice, score, why in hinted]
    return [one for one in found if one is not None]


def by_amount(incoming: Incoming, open_items: OpenItems) -> tuple[list[Candidate], int]:
    """S4: open invoices of just this amount, ranked by name and date; and how many there are."""
    amount = (incoming.currency, incoming.amount_minor)
    alike = open_items.by_amount.get(amount, [])
    compared: Iterable[Invoice] = alike
    if len(alike) > MAX_COMPARED:
        words = folded(incoming.payer_name or "")
        sharing = {
            one.id: one
            for word in words
            for one in open_items.by_amount_and_word.get((*amount, word), [])
        }
        compared = [sharing[one] for one in sorted(sharing)][:MAX_COMPARED]
    found = []
    for invoice in compared:
        name = likeness(incoming.payer_name, invoice.names)
        days = (incoming.booking_date - invoice.issued_on).days
        timely = max(0, 20 - abs(days - USUAL_DAYS // 2)) if days >= 0 else 0
        why = f"the amount is that of {invoice.number}; the names share {name} %"
        candidate = _of(incoming, invoice, min(79, 20 + name * 4 // 10 + timely), why)
        if candidate is not None:
            found.append(candidate)
    return found, len(alike)


def ranked(candidates: Iterable[Candidate]) -> tuple[Candidate, ...]:
    """The best few, each set of invoices once."""
    best: dict[tuple[tuple[int, int], ...], Candidate] = {}
    for one in sorted(candidates, key=lambda each: (-each.score, each.parts)):
        best.setdefault(one.parts, one)
    return tuple(list(best.values())[:SHOWN])


def _of(incoming: Incoming, invoice: Invoice, score: int, why: str) -> Candidate | None:
    if not invoice.is_open or invoice.currency != incoming.currency:
        return None
    part = min(invoice.due_minor, incoming.amount_minor)
    return Candidate(((invoice.id, part),), invoice.account_id, score, why)
