"""Which invoices a transfer pays: rules from sure to unsure, vetoes, and reasons in words.

Pure: the same transfers, invoices and payers give the same decisions in whatever order they come.
Precision first: a missed match costs a person one click, a wrong one costs two customers.
"""

from collections.abc import Iterable, Sequence
from dataclasses import replace

from billing.bank.matching import remittance, subsets, suggestions, vetoes
from billing.bank.matching.conflicts import settle_competition
from billing.bank.matching.remittance import Said
from billing.bank.matching.types import Candidate, Decision, Incoming, Invoice, OpenItems, Policy

#: rule -> what it says, as a person reads it
RULES = {
    "A1": "one issued reference in the structured field, and just what is open",
    "A2": "one issued reference in the text, and just what is open",
    "A3": "one issued reference, and less than what is open: paid in part",
    "A4": "one issued reference, and more than what is open: the rest is the customer's credit",
    "A5": "several issued references of one customer, and just their sum",
    "S1": "a known payer, and the one open invoice of this amount",
    "S2": "received on the virtual IBAN of one customer",
    "S3": "open invoices of one customer that add up",
    "S4": "an invoice that is like it",
    "D": "the reference of an invoice that is no longer open",
    "X": "nothing that we know",
}
#: Rules whose amount proves nothing.
_INEXACT = frozenset({"A3", "A4", "D"})


def match(transfers: Iterable[Incoming], open_items: OpenItems, policy: Policy) -> list[Decision]:
    """A decision for each transfer, in the order of booking date and line."""
    ordered = sorted(transfers, key=lambda one: (one.booking_date, one.order))
    decisions = [decide(one, open_items, policy) for one in ordered]
    return settle_competition(ordered, decisions, open_items)


def decide(incoming: Incoming, open_items: OpenItems, policy: Policy) -> Decision:
    """What becomes of one transfer if no other competes with it."""
    said = remittance.read(incoming, open_items)
    named = said.named
    against = vetoes.of_transfer(incoming, said, policy)
    if len({invoice.account_id for invoice in named}) > 1:
        return _several_customers(incoming, named, against)
    if named:
        decision = _by_reference(incoming, said, open_items)
        against += vetoes.of_match(incoming, named, open_items)
        if decision.rule in _INEXACT:
            against += vetoes.of_inexact(incoming, named[0], open_items)
        against += _unread(said) if decision.rule in {"A3", "A4"} else []
    else:
        decision = _without_reference(incoming, said, open_items, policy)
        paid = [open_items.invoices[one] for one, _ in decision.parts]
        against += vetoes.of_match(incoming, paid, open_items) if paid else []
    return vetoed(decision, against)


def vetoed(decision: Decision, against: Sequence[str]) -> Decision:
    """The decision, or, where something stands against it, the same as a suggestion."""
    if not against:
        return decision
    if not decision.is_automatic:
        return replace(decision, vetoes=tuple(against))
    first = _as_candidate(decision)
    return replace(
        decision,
        outcome="suggest",
        parts=(),
        surplus_minor=0,
        vetoes=tuple(against),
        candidates=suggestions.ranked([*first, *decision.candidates]),
        review=f"{decision.rule}, but {against[0]}",
    )


def _as_candidate(decision: Decision) -> list[Candidate]:
    if not decision.parts or decision.account_id is None:
        return []
    why = f"{decision.rule}: {RULES[decision.rule]}"
    return [Candidate(decision.parts, decision.account_id, 95, why)]


def _unread(said: Said) -> list[str]:
    """A reference that we can't read may be for the rest of the money."""
    strange = (*said.foreign, *(value for value, _ in said.mistyped))
    return [f"{value} is named too, and is not ours" for value in strange]


def _several_customers(
    incoming: Incoming, named: Sequence[Invoice], against: list[str]
) -> Decision:
    owners = sorted({invoice.account_id for invoice in named})
    why = f"references of different customers: accounts {', '.join(map(str, owners))}"
    return Decision(
        incoming.id,
        "S4",
        "suggest",
        reasons=(why,),
        vetoes=(why, *against),
        candidates=suggestions.ranked(
            Candidate(
                ((one.id, min(one.due_minor, incoming.amount_minor)),),
                one.account_id,
                70,
                f"{one.reference} is named",
            )
            for one in named
            if one.is_open
        ),
        review=why,
    )


def _by_reference(incoming: Incoming, said: Said, open_items: OpenItems) -> Decision:
    named = said.named
    closed = [invoice for invoice in named if not invoice.is_open]
    if len(named) == 1 and closed:
        return _late(incoming, closed[0])
    if len(named) == 1:
        return _one_invoice(incoming, named[0], is_structured=bool(said.structured))
    due = sum(invoice.due_minor for invoice in named)
    if not closed and due == incoming.amount_minor:
        return Decision(
            incoming.id,
            "A5",
            "settle",
            named[0].account_id,
            tuple((one.id, one.due_minor) for one in named),
            reasons=tuple(f"{one.reference} is named" for one in named),
        )
    why = f"{len(named)} invoices are named; {due} is open, {incoming.amount_minor} came"
    found = suggestions.within_account(incoming, named[0].account_id, open_items)
    return _suggest(incoming, "S3", found, why, account_id=named[0].account_id)


def _one_invoice(incoming: Incoming, invoice: Invoice, *, is_structured: bool) -> Decision:
    where = "in the structured field" if is_structured else "in the text"
    reasons = (f"{invoice.reference} is named {where}",)
    amount, due = incoming.amount_minor, invoice.due_minor
    exact = "A1" if is_structured else "A2"
    rule = exact if amount == due else "A3" if amount < due else "A4"
    surplus = max(0, amount - due)
    return Decision(
        incoming.id,
        rule,
        "settle",
        invoice.account_id,
        ((invoice.id, min(amount, due)),),
        surplus_minor=surplus,
        reasons=reasons,
        review=f"{surplus} more than was open: kept as the customer's credit" if surplus else None,
    )


def _late(incoming: Incoming, invoice: Invoice) -> Decision:
    why = f"{invoice.reference} is named, and {invoice.number} is {invoice.state}"
    return Decision(
        incoming.id,
        "D",
        "credit",
        invoice.account_id,
        surplus_minor=incoming.amount_minor,
        reasons=(why,),
        review=f"{why}: kept as the customer's credit, paid twice or too late",
    )


def _without_reference(
    incoming: Incoming, said: Said, open_items: OpenItems, policy: Policy
) -> Decision:
    if incoming.virtual_owner is not None:
        return _by_virtual_iban(incoming, incoming.virtual_owner, open_items)
    hints = suggestions.by_slip_or_number(incoming, said)
    known = open_items.known_for(incoming.payer_iban)
    if len(known) == 1 and not said.foreign and not said.mistyped and not hints:
        found = _by_known_payer(incoming, next(iter(known)), open_items, policy)
        if found is not None:
            return found
    if len(known) == 1:
        hints += suggestions.within_account(incoming, next(iter(known)), open_items)
    rule = "S3" if hints and len(known) == 1 and not said.mistyped else "S4"
    alike, count = suggestions.by_amount(incoming, open_items)
    if not hints and not alike:
        why = f"no reference of ours; {count} open invoices of this amount, none by this name"
        return Decision(incoming.id, "X", "none", reasons=(why,), review="nothing that we know")
    why = f"no reference of ours; {count} open invoices of this amount"
    return _suggest(incoming, rule, [*hints, *alike], why)


def _by_known_payer(
    incoming: Incoming, account_id: int, open_items: OpenItems, policy: Policy
) -> Decision | None:
    """S1: exactly one open invoice of the payer's customer equals the amount, and no set does."""
    equal = _only_equal(incoming, account_id, open_items)
    if equal is None:
        return None
    trust = open_items.payers[incoming.payer_iban or ""][account_id]
    why = (
        f"the payer is known for account {account_id}, and {equal.number} is the one of the amount"
    )
    trusted = policy.trust_after and trust.confirmed >= policy.trust_after and not trust.declined
    part = ((equal.id, equal.due_minor),)
    if trusted:
        why += f"; people confirmed it {trust.confirmed} times"
        return Decision(incoming.id, "S1", "settle", account_id, part, reasons=(why,))
    return _suggest(incoming, "S1", [Candidate(part, account_id, 85, why)], why)


def _only_equal(incoming: Incoming, account_id: int, open_items: OpenItems) -> Invoice | None:
    mine = [
        one
        for one in open_items.by_account.get(account_id, [])
        if one.currency == incoming.currency
    ]
    sums = subsets.adding_up(mine, incoming.amount_minor, members=3)
    if sums.is_whole and len(sums.found) == 1 and len(sums.found[0]) == 1:
        return sums.found[0][0]
    return None


def _by_virtual_iban(incoming: Incoming, account_id: int, open_items: OpenItems) -> Decision:
    """S2: the customer is sure, the invoice only where just one is of the amount."""
    why = f"received on the virtual IBAN of account {account_id}"
    equal = _only_equal(incoming, account_id, open_items)
    if equal is not None:
        part = ((equal.id, equal.due_minor),)
        return Decision(incoming.id, "S2", "settle", account_id, part, reasons=(why,))
    return Decision(
        incoming.id,
        "S2",
        "credit",
        account_id,
        surplus_minor=incoming.amount_minor,
        reasons=(why,),
        candidates=suggestions.ranked(suggestions.within_account(incoming, account_id, open_items)),
        review=f"{why}; no single invoice is of the amount: kept as the customer's credit",
    )


def _suggest(
    incoming: Incoming,
    rule: str,
    candidates: Iterable[Candidate],
    why: str,
    *,
    account_id: int | None = None,
) -> Decision:
    return Decision(
        incoming.id,
        rule,
        "suggest",
        account_id,
        reasons=(why,),
        candidates=suggestions.ranked(candidates),
        review=why,
    )
