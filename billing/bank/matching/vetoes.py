"""Vetoes: the reasons that turn an automatic decision into a suggestion for a reviewer.

Conflicts are those of several transfers of one batch, which together are more than an invoice
takes, or are twins.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import combinations

from billing.bank.matching.open_items import (
    DOUBLE_WITHIN,
    SAME_NAME,
    OpenItems,
    folded,
    likeness,
)
from billing.bank.matching.remittance import RemittanceText
from billing.bank.matching.types import (
    Candidate,
    IncomingTransfer,
    IssuedInvoice,
    MatchDecision,
    MatchingPolicy,
)

#: Rules whose amount proves nothing.
_INEXACT = frozenset({"A3", "A4", "D"})
#: Rules where a reference that is not ours may claim part of the money.
_MAY_PAY_MORE = frozenset({"A3", "A4", "A6"})


def of_decision(
    incoming: IncomingTransfer,
    remittance_text: RemittanceText,
    decision: MatchDecision,
    open_items: OpenItems,
    policy: MatchingPolicy,
) -> list[str]:
    """Reasons against carrying out a decision automatically."""
    reasons = _of_transfer(incoming, remittance_text, policy)
    named = remittance_text.named
    paid = [open_items.invoices[invoice_id] for invoice_id, _ in decision.parts]
    invoices = list(dict.fromkeys([*named, *paid]))
    if len({invoice.account_id for invoice in invoices}) != 1:
        return reasons
    reasons += _of_invoices(incoming, remittance_text, invoices, open_items)
    if decision.rule in _INEXACT:
        reasons += _of_inexact(incoming, named[0], open_items)
    if decision.rule in _MAY_PAY_MORE:
        strange = (*remittance_text.foreign, *(value for value, _ in remittance_text.mistyped))
        reasons += [f"{value} is named too, and is not ours" for value in strange]
    return reasons


def _of_transfer(
    incoming: IncomingTransfer, remittance_text: RemittanceText, policy: MatchingPolicy
) -> list[str]:
    reasons = [*incoming.doubts, *remittance_text.at_odds]
    if incoming.amount_minor > policy.auto_limit_minor:
        reasons.append(f"more than the limit of {policy.auto_limit_minor} for automatic decisions")
    if remittance_text.mentions_return:
        reasons.append("the text speaks of a return, a reversal or a refund")
    return reasons


def _of_invoices(
    incoming: IncomingTransfer,
    remittance_text: RemittanceText,
    invoices: Sequence[IssuedInvoice],
    open_items: OpenItems,
) -> list[str]:
    """Reasons against paying these invoices, all of one account."""
    account_id = invoices[0].account_id
    reasons = []
    known_accounts = open_items.known_for(incoming.payer_iban)
    if known_accounts and account_id not in known_accounts:
        others = ", ".join(str(other) for other in sorted(known_accounts))
        reasons.append(f"the payer's IBAN is known to pay for account {others}")
    if not known_accounts:
        bearer = open_items.bearer_of(incoming.payer_name, besides=invoices[0])
        if bearer is not None:
            reasons.append(f"the payer's name is that of account {bearer}, not of {account_id}")
    other = open_items.named_in(remittance_text.words, incoming, besides=invoices[0])
    if other is not None:
        reasons.append(f"the text names account {other}, and the amount is just what is open of it")
    if incoming.virtual_owner not in {None, account_id}:
        reasons.append(f"it was received on the virtual IBAN of account {incoming.virtual_owner}")
    for invoice in invoices:
        if invoice.currency != incoming.currency:
            reasons.append(f"{invoice.number} is in {invoice.currency}, not {incoming.currency}")
        if invoice.is_contested:
            reasons.append(f"a dispute or credit note is open on {invoice.number}")
    if open_items.was_sent_before(incoming, invoices):
        reasons.append("the same payer sent the same amount for the same invoice within 10 days")
    return reasons


def _of_inexact(
    incoming: IncomingTransfer, invoice: IssuedInvoice, open_items: OpenItems
) -> list[str]:
    """Reasons to doubt the reference if the amount is not what is open.

    A payer who pays for others, such as an accountant, may have named the wrong invoice. So a
    reviewer decides if the payer pays for other customers too, or if the name is another one's and
    the amount is just what other customers owe.
    """
    amount = (incoming.currency, incoming.amount_minor)
    fitting = {other.account_id for other in open_items.by_amount.get(amount, [])}
    fitting -= {invoice.account_id}
    others = open_items.known_for(incoming.payer_iban).keys() - {invoice.account_id}
    if fitting & others:
        other = min(fitting & others)
        return [f"the amount is just what is open of account {other}, for which this payer paid"]
    if others:
        return [f"it is not what is open, and the payer's IBAN pays for account {min(others)} too"]
    if not fitting or likeness(incoming.payer_name, invoice.names) >= SAME_NAME:
        return []
    return ["the amount is just what other customers owe, and the payer's name is not this one's"]


@dataclass(frozen=True, slots=True)
class Conflicts:
    """The invoices that several transfers of a batch could pay.

    Attributes:
        of_one_payer: Ids; all transfers are one customer's, and each pays what the earlier leave.
        of_several: Ids with the number of transfers, about all of which a reviewer decides.
    """

    of_one_payer: set[int]
    of_several: dict[int, int]

    def concern(self, decision: MatchDecision) -> bool:
        """Whether the decision would pay an invoice that one customer's transfers all could pay."""
        return any(invoice_id in self.of_one_payer for invoice_id, _ in decision.parts)

    def resolve(self, decision: MatchDecision) -> MatchDecision:
        """The decision, or a suggestion if other payers' transfers could pay its invoices too."""
        contested = sorted(self.of_several.keys() & {id for id, _ in decision.parts})
        if not contested:
            return decision
        count, invoice_id = self.of_several[contested[0]], contested[0]
        why = f"{count} transfers of this run could pay invoice {invoice_id}"
        assert decision.account_id is not None, "a decision that settles has an account"
        candidate = Candidate(
            decision.parts, decision.account_id, 90, f"{decision.rule}, but {why}"
        )
        return replace(
            decision,
            outcome="suggest",
            parts=(),
            surplus_minor=0,
            vetoes=(*decision.vetoes, why),
            candidates=(candidate, *decision.candidates),
            review=f"{decision.rule}, but {why}",
        )


def conflicts(
    ordered: Sequence[IncomingTransfer],
    decisions: Sequence[MatchDecision],
    open_items: OpenItems,
) -> Conflicts:
    """Find the invoices that several transfers would pay.

    Several payers' transfers conflict only if they are more than is open, or if one payer sent the
    same amount twice.
    """
    claimed: Counter[int] = Counter()
    claimants: dict[int, list[IncomingTransfer]] = {}
    for incoming, decision in zip(ordered, decisions, strict=True):
        if decision.outcome == "settle":
            for invoice_id, amount in decision.parts:
                claimed[invoice_id] += amount
                claimants.setdefault(invoice_id, []).append(incoming)
    of_one_payer: set[int] = set()
    of_several: dict[int, int] = {}
    for invoice_id, transfers in claimants.items():
        invoice = open_items.invoices[invoice_id]
        if len(transfers) == 1:
            continue
        if _have_one_payer(transfers, invoice.account_id, open_items):
            of_one_payer.add(invoice_id)
        elif claimed[invoice_id] > invoice.due_minor or _has_twins(transfers):
            of_several[invoice_id] = len(transfers)
    return Conflicts(of_one_payer, of_several)


def _has_twins(transfers: Sequence[IncomingTransfer]) -> bool:
    """Whether a payer sent an amount twice within days: perhaps one payment sent twice."""
    return any(
        (first.payer_iban, first.amount_minor) == (second.payer_iban, second.amount_minor)
        and second.booking_date - first.booking_date <= DOUBLE_WITHIN
        for first, second in combinations(transfers, 2)
    )


def _have_one_payer(
    transfers: Sequence[IncomingTransfer], account_id: int, open_items: OpenItems
) -> bool:
    """Whether one payer sent all of them, or only payers that are known for the account.

    Names count only where the bank states no IBAN at all, for two people may bear one name.
    """
    ibans = {incoming.payer_iban for incoming in transfers}
    if ibans == {None}:
        return len({folded(incoming.payer_name or "") for incoming in transfers}) == 1
    return len(ibans) == 1 or all(account_id in open_items.known_for(iban) for iban in ibans)
