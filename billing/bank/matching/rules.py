"""The matching rules: which invoices a transfer pays, from sure to unsure, with reasons in words.

Pure: the same transfers, invoices and payers give the same decisions, whatever order they come in.
Precision first: a missed match costs a reviewer one click, a wrong one costs two customers.
"""

from collections.abc import Iterable, Sequence
from dataclasses import replace

from billing.bank.matching import remittance, suggestions, vetoes
from billing.bank.matching.open_items import SAME_NAME, OpenItems, likeness
from billing.bank.matching.remittance import RemittanceText
from billing.bank.matching.types import (
    AUTOMATIC,
    Candidate,
    IncomingTransfer,
    IssuedInvoice,
    MatchDecision,
    MatchingPolicy,
)
from billing.bank.matching.vetoes import Conflicts

#: rule -> its meaning, as a reviewer reads it
RULES = {
    "A1": "one issued reference in the structured field, and just what is open",
    "A2": "one issued reference in the text, and just what is open",
    "A3": "one issued reference, and less than what is open: paid in part",
    "A4": "one issued reference, and more than what is open: the rest is the customer's credit",
    "A5": "several issued references of one customer, and just their sum",
    "A6": "the reference of a paid invoice, from its payer: the one open invoice of this amount",
    "S1": "a known payer, and the one open invoice of this amount",
    "S2": "received on the virtual IBAN of one customer",
    "S3": "open invoices of one customer that add up",
    "S4": "a similar invoice",
    "D": "the reference of an invoice that is no longer open",
    "X": "no reference, amount or payer that we know",
}


def match(
    transfers: Iterable[IncomingTransfer], open_items: OpenItems, policy: MatchingPolicy
) -> list[MatchDecision]:
    """Decide about each transfer, in the order of booking date and line."""
    ordered = sorted(transfers, key=lambda incoming: (incoming.booking_date, incoming.order))
    decisions = [decide(incoming, open_items, policy) for incoming in ordered]
    contested = vetoes.conflicts(ordered, decisions, open_items)
    if not contested.of_one_payer and not contested.of_several:
        return decisions
    return _in_turn(ordered, decisions, open_items, policy, contested)


def _in_turn(
    ordered: Sequence[IncomingTransfer],
    decisions: Sequence[MatchDecision],
    open_items: OpenItems,
    policy: MatchingPolicy,
    contested: Conflicts,
) -> list[MatchDecision]:
    """Settle conflicts: one customer's transfers count one after another, as in runs of their own.

    The first settles, and one that finds nothing open becomes the customer's credit by rule D.
    """
    rest = open_items.copy() if contested.of_one_payer else open_items
    final = []
    for incoming, decision in zip(ordered, decisions, strict=True):
        is_in_turn = contested.concern(decision)
        decided = decide(incoming, rest, policy) if is_in_turn else decision
        decided = contested.resolve(decided)
        if is_in_turn:
            rest.pay(incoming, decided.parts)
        final.append(decided)
    return final


def decide(
    incoming: IncomingTransfer, open_items: OpenItems, policy: MatchingPolicy
) -> MatchDecision:
    """Decide about one transfer as if it were alone."""
    remittance_text = remittance.read(incoming, open_items)
    owners = {invoice.account_id for invoice in remittance_text.named}
    if len(owners) > 1:
        decision = _several_customers(incoming, remittance_text.named)
    elif owners:
        decision = _by_reference(incoming, remittance_text, open_items)
    else:
        decision = _without_reference(incoming, remittance_text, open_items, policy)
    against = vetoes.of_decision(incoming, remittance_text, decision, open_items, policy)
    return _vetoed(decision, against) if against else decision


def _vetoed(decision: MatchDecision, against: Sequence[str]) -> MatchDecision:
    """The decision as a suggestion, with the reasons against it."""
    if decision.outcome not in AUTOMATIC:
        return replace(decision, vetoes=(*decision.vetoes, *against))
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


def _as_candidate(decision: MatchDecision) -> list[Candidate]:
    if not decision.parts or decision.account_id is None:
        return []
    why = f"{decision.rule}: {RULES[decision.rule]}"
    return [Candidate(decision.parts, decision.account_id, 95, why)]


def _several_customers(incoming: IncomingTransfer, named: Sequence[IssuedInvoice]) -> MatchDecision:
    owners = sorted({invoice.account_id for invoice in named})
    why = f"references of different customers: accounts {', '.join(map(str, owners))}"
    return MatchDecision(
        incoming.id,
        "S4",
        "suggest",
        reasons=(why,),
        vetoes=(why,),
        candidates=suggestions.ranked(
            Candidate(
                ((invoice.id, min(invoice.due_minor, incoming.amount_minor)),),
                invoice.account_id,
                70,
                f"{invoice.reference} is named",
            )
            for invoice in named
            if invoice.due_minor
        ),
        review=why,
    )


def _by_reference(
    incoming: IncomingTransfer, remittance_text: RemittanceText, open_items: OpenItems
) -> MatchDecision:
    named = remittance_text.named
    closed = [invoice for invoice in named if not invoice.due_minor]
    if len(named) == 1 and closed:
        standing_order = _standing_order(incoming, remittance_text, open_items)
        return standing_order or _late(incoming, closed[0])
    if len(named) == 1:
        return _one_invoice(incoming, named[0], is_structured=remittance_text.is_structured)
    account_id = named[0].account_id
    due = sum(invoice.due_minor for invoice in named)
    if not closed and due == incoming.amount_minor:
        return MatchDecision(
            incoming.id,
            "A5",
            "settle",
            account_id,
            tuple((invoice.id, invoice.due_minor) for invoice in named),
            reasons=tuple(f"{invoice.reference} is named" for invoice in named),
        )
    why = f"{len(named)} invoices are named; {due} is open, {incoming.amount_minor} came"
    candidates = suggestions.within(incoming, [account_id], open_items)
    return _suggest(incoming, "S3", candidates, why, account_id=account_id)


def _one_invoice(
    incoming: IncomingTransfer, invoice: IssuedInvoice, *, is_structured: bool
) -> MatchDecision:
    where = "in the structured field" if is_structured else "in the text"
    amount, due = incoming.amount_minor, invoice.due_minor
    exact = "A1" if is_structured else "A2"
    rule = exact if amount == due else "A3" if amount < due else "A4"
    surplus = max(0, amount - due)
    return MatchDecision(
        incoming.id,
        rule,
        "settle",
        invoice.account_id,
        ((invoice.id, min(amount, due)),),
        surplus_minor=surplus,
        reasons=(f"{invoice.reference} is named {where}",),
        review=f"{surplus} more than was open: kept as the customer's credit" if surplus else None,
    )


def _standing_order(
    incoming: IncomingTransfer, remittance_text: RemittanceText, open_items: OpenItems
) -> MatchDecision | None:
    """A6: a later payment with the reference of an invoice that an earlier one paid.

    It pays the account's one open invoice of just this amount. If the payer is not surely the
    customer's, or sent the same amount for the account within days, it stays credit by rule D.
    """
    [paid] = remittance_text.named
    equal = suggestions.only_equal(incoming, paid.account_id, open_items)
    if (
        paid.state != "paid"
        or equal is None
        or equal.issued_on > incoming.booking_date
        or not {*remittance_text.numbered} <= {paid, equal}
        or not _is_own_payer(incoming, paid, open_items)
        or open_items.was_sent_for_account(incoming, paid.account_id)
    ):
        return None
    why = f"{paid.reference} is named, and {paid.number} is paid; {equal.number} is the open one"
    part = ((equal.id, equal.due_minor),)
    return MatchDecision(incoming.id, "A6", "settle", paid.account_id, part, reasons=(why,))


def _is_own_payer(
    incoming: IncomingTransfer, invoice: IssuedInvoice, open_items: OpenItems
) -> bool:
    """Whether the payer is known for this customer alone, or unknown and of the same name."""
    known_accounts = open_items.known_for(incoming.payer_iban)
    if not known_accounts:
        return likeness(incoming.payer_name, invoice.names) >= SAME_NAME
    history = known_accounts.get(invoice.account_id)
    return len(known_accounts) == 1 and history is not None and not history.declined


def _late(incoming: IncomingTransfer, invoice: IssuedInvoice) -> MatchDecision:
    why = f"{invoice.reference} is named, and {invoice.number} is {invoice.state}"
    return MatchDecision(
        incoming.id,
        "D",
        "credit",
        invoice.account_id,
        surplus_minor=incoming.amount_minor,
        reasons=(why,),
        review=f"{why}: kept as the customer's credit, paid twice or too late",
    )


def _without_reference(
    incoming: IncomingTransfer,
    remittance_text: RemittanceText,
    open_items: OpenItems,
    policy: MatchingPolicy,
) -> MatchDecision:
    if incoming.virtual_owner is not None:
        return _by_virtual_iban(incoming, incoming.virtual_owner, open_items)
    hints = suggestions.by_typo_or_number(incoming, remittance_text)
    accounts = sorted(open_items.known_for(incoming.payer_iban))
    is_unclear = bool(remittance_text.foreign or remittance_text.mistyped or hints)
    if len(accounts) == 1 and not is_unclear:
        decision = _by_known_payer(incoming, accounts[0], open_items, policy)
        if decision is not None:
            return decision
    hints += suggestions.within(incoming, accounts, open_items, words=remittance_text.words)
    rule = "S3" if hints and len(accounts) == 1 and not remittance_text.mistyped else "S4"
    alike = suggestions.by_amount(incoming, open_items, words=remittance_text.words)
    count = len(open_items.by_amount.get((incoming.currency, incoming.amount_minor), []))
    why = f"no reference of ours; {count} open invoices of this amount"
    if not hints and not alike:
        return MatchDecision(incoming.id, "X", "none", reasons=(why,), review=RULES["X"])
    return _suggest(incoming, rule, [*hints, *alike], why)


def _by_known_payer(
    incoming: IncomingTransfer, account_id: int, open_items: OpenItems, policy: MatchingPolicy
) -> MatchDecision | None:
    """S1: exactly one open invoice of the payer's account has the amount, and no set adds up."""
    equal = suggestions.only_equal(incoming, account_id, open_items)
    if equal is None:
        return None
    history = open_items.payers[incoming.payer_iban or ""][account_id]
    why = (
        f"the payer is known for account {account_id}, and {equal.number} is the one of the amount"
    )
    is_trusted = (
        policy.trust_after and history.confirmed >= policy.trust_after and not history.declined
    )
    part = ((equal.id, equal.due_minor),)
    if is_trusted:
        why += f"; reviewers confirmed it {history.confirmed} times"
        return MatchDecision(incoming.id, "S1", "settle", account_id, part, reasons=(why,))
    return _suggest(incoming, "S1", [Candidate(part, account_id, 85, why)], why)


def _by_virtual_iban(
    incoming: IncomingTransfer, account_id: int, open_items: OpenItems
) -> MatchDecision:
    """S2: the account is sure, and the invoice only if just one has the amount."""
    why = f"received on the virtual IBAN of account {account_id}"
    equal = suggestions.only_equal(incoming, account_id, open_items)
    if equal is not None:
        part = ((equal.id, equal.due_minor),)
        return MatchDecision(incoming.id, "S2", "settle", account_id, part, reasons=(why,))
    return MatchDecision(
        incoming.id,
        "S2",
        "credit",
        account_id,
        surplus_minor=incoming.amount_minor,
        reasons=(why,),
        candidates=suggestions.ranked(suggestions.within(incoming, [account_id], open_items)),
        review=f"{why}; no single invoice is of the amount: kept as the customer's credit",
    )


def _suggest(
    incoming: IncomingTransfer,
    rule: str,
    candidates: Iterable[Candidate],
    why: str,
    *,
    account_id: int | None = None,
) -> MatchDecision:
    return MatchDecision(
        incoming.id,
        rule,
        "suggest",
        account_id,
        reasons=(why,),
        candidates=suggestions.ranked(candidates),
        review=why,
    )
