"""Matching of one batch of transfers, and the carrying out of each of its decisions."""

import dataclasses
import datetime as dt
from collections.abc import Mapping
from typing import Any, NamedTuple

from sqlalchemy import func, select, text
from sqlalchemy.orm import Session

from billing.bank import allocate, transfers
from billing.bank.errors import TransferChanged
from billing.bank.matching import rows, rules
from billing.bank.matching.rows import UndecidedTransfer
from billing.bank.matching.types import AUTOMATIC, MatchDecision, MatchingPolicy
from billing.context import Context
from billing.host import accounts, funding
from models.transfers import Decision, TransferInvoice

ACTOR = "rule"
#: Rules by which a transfer's payer becomes known for an account.
MAKES_PAYER_KNOWN = frozenset({"A1", "A2", "A5"})

#: Whether anything has changed since the last matching: one of these transfers is new, or an
#: invoice is. Invoices are counted, for one with a lower id may be committed later.
_HAS_NEWS = """
SELECT EXISTS (SELECT FROM billing.transfers WHERE state = 'open' AND id = ANY(:ids))
    OR (SELECT count(*) FROM billing.transfer_invoices)
        <> COALESCE((SELECT invoices FROM billing.matching_marks), -1)
"""
_MARK = """
INSERT INTO billing.matching_marks (id, invoices, matched_at) VALUES (1, :invoices, :now)
ON CONFLICT (id) DO UPDATE SET invoices = EXCLUDED.invoices, matched_at = EXCLUDED.matched_at
"""


class Batch(NamedTuple):
    """The undecided transfers of one batch, and the decisions about them.

    Attributes:
        returns: Debits; `returns.settle` decides about each.
        decisions: The others' decisions, each with the version that it is for.
        invoices: The number of invoices that matching saw, for `mark`.
        is_full: Whether more transfers may wait than a batch takes.
    """

    returns: list[UndecidedTransfer]
    decisions: list[tuple[MatchDecision, int]]
    invoices: int
    is_full: bool


def decide(session: Session, *, policy: MatchingPolicy) -> Batch:
    """Read the undecided transfers, and decide about each that is no return."""
    undecided = rows.undecided(session)
    incoming = [transfer.incoming for transfer in undecided if not transfer.is_return]
    # Counted before they are read: one that is issued meanwhile is news for the next run.
    count = select(func.count()).select_from(TransferInvoice)
    invoices = session.execute(count).scalar_one()
    decisions: list[MatchDecision] = []
    ids = [transfer.id for transfer in incoming]
    if ids and session.scalar(text(_HAS_NEWS), {"ids": ids}):
        since = min(transfer.booking_date for transfer in incoming)
        decisions = rules.match(incoming, rows.read(session, since=since), policy)
    versions = {transfer.incoming.id: transfer.version for transfer in undecided}
    return Batch(
        returns=[transfer for transfer in undecided if transfer.is_return],
        decisions=[(decision, versions[decision.transfer_id]) for decision in decisions],
        invoices=invoices,
        is_full=len(undecided) >= rows.MATCH_AT_ONCE,
    )


def mark(ctx: Context, invoices: int) -> None:
    """Record that all that waits was matched with so many invoices, and its decisions are kept.

    So the next run rests until a transfer or an invoice is new.
    """
    ctx.session.execute(text(_MARK), {"invoices": invoices, "now": ctx.now})


def carry_out(ctx: Context, decision: MatchDecision, version: int) -> bool:
    """Carry out one decision; False if the transfer changed or already has this decision.

    Raises as `allocate.apply`. PartsRefused says that the invoice has changed since the decision.
    """
    try:
        transfer = transfers.lock(ctx.session, decision.transfer_id, version=version)
    except TransferChanged:
        return False
    if decision.outcome == "settle" and decision.account_id is not None:
        accounts.lock(ctx.session, [decision.account_id])
        card_until = funding.way(ctx, decision.account_id).card_until
        if card_until is not None:
            decision = _beside_card(decision, card_until)
    is_automatic, evidence = decision.outcome in AUTOMATIC, transfers.evidence_of(decision)
    if not is_automatic and _is_recorded(ctx.session, transfer.decision_id, decision, evidence):
        return False
    decision_id = transfers.record_decision(
        ctx, transfer, actor=ACTOR, rule=decision.rule, outcome=decision.outcome, evidence=evidence
    )
    if not is_automatic:
        transfers.request_review(ctx, transfer, decision.review, rule=decision.rule)
        return True
    transfer.review = decision.review
    allocate.apply(
        ctx,
        transfer,
        decision.parts,
        decision_id=decision_id,
        credit_to=decision.account_id,
        payer_known_by="matched" if decision.rule in MAKES_PAYER_KNOWN else None,
    )
    return True


def _beside_card(decision: MatchDecision, card_until: dt.datetime) -> MatchDecision:
    """Keep the money of an account that pays by card as its unapplied cash, and ask a reviewer.

    The invoice would replace the card's subscription, which goes on charging: a person decides.
    """
    why = (
        f"{decision.rule}, but account {decision.account_id} pays by card until"
        f" {card_until.date()}: use the credit for the invoice to change to transfers, or refund it"
    )
    return dataclasses.replace(
        decision,
        outcome="credit",
        parts=(),
        surplus_minor=0,
        review=why,
        vetoes=(*decision.vetoes, why),
    )


def leave_to_reviewer(
    ctx: Context, decision: MatchDecision, version: int, error: Exception
) -> None:
    """Leave a decision to a reviewer because carrying it out failed: a deleted account, say."""
    transfer = transfers.lock(ctx.session, decision.transfer_id, version=version)
    evidence = {
        **transfers.evidence_of(decision),
        "error": type(error).__name__,
        "says": str(error),
    }
    transfers.record_decision(
        ctx, transfer, actor=ACTOR, rule=decision.rule, outcome="suggest", evidence=evidence
    )
    reason = f"{decision.rule}, but {type(error).__name__}"
    transfers.request_review(ctx, transfer, reason, rule=decision.rule)


def _is_recorded(
    session: Session, decision_id: int | None, decision: MatchDecision, evidence: dict[str, Any]
) -> bool:
    """Whether the last decision is the same: a suggestion is recorded once, not each minute."""
    if decision_id is None:
        return False
    last = session.scalars(select(Decision).where(Decision.id == decision_id)).one()
    is_same = (last.rule, last.outcome) == (decision.rule, decision.outcome)
    return is_same and _substance(last.evidence) == _substance(evidence)


def _substance(evidence: Mapping[str, Any]) -> tuple[object, ...]:
    """Return the part that a reviewer acts on: words and scores may count invoices beside it."""
    candidates = [candidate["parts"] for candidate in evidence["candidates"]]
    return evidence["account_id"], evidence["parts"], evidence["vetoes"], candidates
