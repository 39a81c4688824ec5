"""Conflicts: transfers of one batch that together are more than an invoice takes, or are twins."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import combinations

from billing.bank.matching.names import folded
from billing.bank.matching.open_items import DOUBLE_WITHIN, OpenItems
from billing.bank.matching.types import Candidate, IncomingTransfer, MatchDecision


@dataclass(frozen=True, slots=True)
class Conflicts:
    """The invoices that several transfers of a batch could pay, and the number of the transfers.

    Attributes:
        of_one_payer: All from one customer; each pays what the earlier ones leave.
        of_several: A reviewer decides about all of them.
    """

    of_one_payer: dict[int, int]
    of_several: dict[int, int]

    def concern(self, decision: MatchDecision) -> bool:
        """Whether the decision would pay an invoice that one customer's transfers all could pay."""
        return any(invoice_id in self.of_one_payer for invoice_id, _ in decision.parts)

    def resolve(self, decision: MatchDecision) -> MatchDecision:
        """The decision, or a suggestion if other payers' transfers could pay its invoices too."""
        contested = sorted(self.of_several.keys() & {id for id, _ in decision.parts})
        if decision.outcome != "settle" or not contested:
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


def find(
    ordered: Sequence[IncomingTransfer],
    decisions: Sequence[MatchDecision],
    open_items: OpenItems,
) -> Conflicts:
    """Find the invoices that get more than is open, or the same amount twice from one payer."""
    claimed: Counter[int] = Counter()
    claimants: dict[int, list[IncomingTransfer]] = {}
    for incoming, decision in zip(ordered, decisions, strict=True):
        if decision.outcome == "settle":
            claimed.update(dict(decision.parts))
            # A surplus counts: it is money for the same invoice.
            claimed[decision.parts[0][0]] += decision.surplus_minor
            for invoice_id, _ in decision.parts:
                claimants.setdefault(invoice_id, []).append(incoming)
    conflicts = Conflicts({}, {})
    for invoice_id, transfers in claimants.items():
        invoice = open_items.invoices[invoice_id]
        is_too_much = claimed[invoice_id] > invoice.due_minor
        if len(transfers) > 1 and (is_too_much or _has_twins(transfers)):
            is_one_payer = _have_one_payer(transfers, invoice.account_id, open_items)
            kind = conflicts.of_one_payer if is_one_payer else conflicts.of_several
            kind[invoice_id] = len(transfers)
    return conflicts


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
