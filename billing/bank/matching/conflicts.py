"""What two transfers of one run could settle is a person's to decide, for both of them."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

from billing.bank.matching.types import Candidate, Decision, Incoming, OpenItems
from billing.bank.matching.vetoes import DOUBLE_WITHIN


def settle_competition(
    ordered: Sequence[Incoming], decisions: Sequence[Decision], open_items: OpenItems
) -> list[Decision]:
    """The decisions, less those whose invoice would get more than is open, or the same twice."""
    claimed: Counter[int] = Counter()
    for decision in decisions:
        if decision.outcome == "settle":
            claimed.update(dict(decision.parts))
            # A surplus counts: it is money for the same invoice.
            claimed[decision.parts[0][0]] += decision.surplus_minor
    claimants = _claimants(decisions)
    contested = {
        invoice
        for invoice, total in claimed.items()
        if len(claimants[invoice]) > 1
        and (
            total > open_items.invoices[invoice].due_minor
            or _has_twins(claimants[invoice], ordered)
        )
    }
    return [_yielded(decision, contested, claimants) for decision in decisions]


def _claimants(decisions: Sequence[Decision]) -> dict[int, list[int]]:
    found: dict[int, list[int]] = {}
    for place, decision in enumerate(decisions):
        if decision.outcome == "settle":
            for invoice, _ in decision.parts:
                found.setdefault(invoice, []).append(place)
    return found


def _has_twins(places: Sequence[int], ordered: Sequence[Incoming]) -> bool:
    """Whether one payer sends one amount twice within days: perhaps one payment sent twice."""
    for at, first in enumerate(places):
        for second in places[at + 1 :]:
            one, other = ordered[first], ordered[second]
            alike = (one.payer_iban, one.amount_minor) == (other.payer_iban, other.amount_minor)
            if alike and other.booking_date - one.booking_date <= DOUBLE_WITHIN:
                return True
    return False


def _yielded(decision: Decision, contested: set[int], claimants: dict[int, list[int]]) -> Decision:
    mine = sorted(contested & {invoice for invoice, _ in decision.parts})
    if decision.outcome != "settle" or not mine:
        return decision
    count = len(claimants[mine[0]])
    why = f"{count} transfers of this run could pay invoice {mine[0]}"
    assert decision.account_id is not None, "what settles is an account's"
    candidate = Candidate(decision.parts, decision.account_id, 90, f"{decision.rule}, but {why}")
    return replace(
        decision,
        outcome="suggest",
        parts=(),
        surplus_minor=0,
        vetoes=(*decision.vetoes, why),
        candidates=(candidate, *decision.candidates),
        review=f"{decision.rule}, but {why}",
    )
