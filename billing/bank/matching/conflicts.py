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


def find(
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
    conflicts = Conflicts(set(), {})
    for invoice_id, transfers in claimants.items():
        invoice = open_items.invoices[invoice_id]
        if len(transfers) == 1:
            continue
        if _have_one_payer(transfers, invoice.account_id, open_items):
            conflicts.of_one_payer.add(invoice_id)
        elif claimed[invoice_id] > invoice.due_minor or _has_twins(transfers):
            conflicts.of_several[invoice_id] = len(transfers)
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
