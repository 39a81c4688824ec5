"""One run of matching over what is undecided, and each of its decisions made true."""

import dataclasses
from typing import Any

from sqlalchemy import select, text
from sqlalchemy.orm import Session

from billing.bank import allocate
from billing.bank.errors import PartsRefused, TransferChanged
from billing.bank.matching import payers
from billing.bank.matching import rows as match_rows
from billing.bank.matching.rules import match
from billing.bank.matching.types import Decision, Policy
from billing.bank.review import request
from billing.context import Context
from models.transfers import Decision as DecisionRow

ACTOR = "rule"
#: Rules by which a transfer's payer becomes known for an account.
MAKES_PAYER_KNOWN = frozenset({"A1", "A2", "A5"})

#: Whether a run could find anything that the last one did not.
_IS_NEWS = """
SELECT EXISTS (SELECT FROM billing.transfers WHERE state = 'open')
    OR COALESCE((SELECT max(issued_at) FROM billing.transfer_invoices)
                > (SELECT max(decided_at) FROM billing.transfer_decisions), false)
"""


def decide(session: Session, *, policy: Policy) -> list[tuple[Decision, int]]:
    """A decision for each undecided transfer, with the version that it was made for."""
    if not session.scalar(text(_IS_NEWS)):
        return []
    found = [one for one in match_rows.undecided(session) if not one.is_return]
    if not found:
        return []
    since = min(one.incoming.booking_date for one in found)
    versions = {one.incoming.id: one.version for one in found}
    open_items = match_rows.open_items(session, since=since)
    decisions = match([one.incoming for one in found], open_items, policy)
    return [(decision, versions[decision.transfer_id]) for decision in decisions]


def carry_out(ctx: Context, decision: Decision, version: int) -> bool:
    """Make one decision true; False where the world has moved on, and the next run decides anew.

    Raises what `settling.apply` does, less what only says that the invoice is not what it was.
    """
    try:
        transfer = allocate.lock(ctx.session, decision.transfer_id, version=version)
    except TransferChanged:
        return False
    evidence = evidence_of(decision)
    if not decision.is_automatic and _is_known(
        ctx.session, transfer.decision_id, decision, evidence
    ):
        return False
    decision_id = allocate.remember(
        ctx.by(ACTOR), transfer, rule=decision.rule, outcome=decision.outcome, evidence=evidence
    )
    if not decision.is_automatic:
        request.ask_a_person(ctx, transfer, decision.review, rule=decision.rule)
        return True
    transfer.review = decision.review
    allocate.apply(
        ctx, transfer, decision.parts, decision_id=decision_id, credit_to=decision.account_id
    )
    if decision.rule in MAKES_PAYER_KNOWN and decision.account_id is not None:
        payers.know(ctx.session, transfer.payer_iban, decision.account_id, matched=1)
    return True


def leave_to_person(ctx: Context, decision: Decision, version: int, error: Exception) -> None:
    """A decision that could not be made true: the account is gone, its balance full."""
    transfer = allocate.lock(ctx.session, decision.transfer_id, version=version)
    evidence = {**evidence_of(decision), "error": type(error).__name__, "says": str(error)}
    allocate.remember(
        ctx.by(ACTOR), transfer, rule=decision.rule, outcome="suggest", evidence=evidence
    )
    why = f"{decision.rule}, but {type(error).__name__}"
    request.ask_a_person(ctx, transfer, why, rule=decision.rule)


def is_outdated(error: Exception) -> bool:
    """Whether an error only says that the invoice was paid or voided meanwhile."""
    return isinstance(error, PartsRefused)


def evidence_of(decision: Decision) -> dict[str, Any]:
    """What a decision rests on, as it is kept and shown."""
    return {
        "parts": [list(part) for part in decision.parts],
        "account_id": decision.account_id,
        "surplus_minor": decision.surplus_minor,
        "reasons": list(decision.reasons),
        "vetoes": list(decision.vetoes),
        "candidates": [
            {**dataclasses.asdict(one), "parts": [list(part) for part in one.parts]}
            for one in decision.candidates
        ],
    }


def _is_known(
    session: Session, decision_id: int | None, decision: Decision, evidence: dict[str, Any]
) -> bool:
    """Whether the same was decided before: a suggestion is written down once, not each minute."""
    if decision_id is None:
        return False
    before = select(DecisionRow).where(DecisionRow.id == decision_id)
    last = session.scalars(before).one()
    return (last.rule, last.outcome, last.evidence) == (decision.rule, decision.outcome, evidence)
