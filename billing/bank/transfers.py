"""Acts on one transfer: locked, decided about, left to a reviewer; its payer becomes known."""

import dataclasses
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from sqlalchemy import insert, select
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.orm import Session

from billing.bank.errors import TransferChanged, UnknownTransfer
from billing.bank.matching.types import ENGINE_VERSION, MatchDecision
from billing.context import Context
from billing.events import outbox
from billing.events.outbox import NewEvent
from billing.lifecycle.trials import fingerprints
from billing.lifecycle.trials.fingerprints import Fingerprint
from models.transfers import Decision, Payer, Transfer


def lock(session: Session, transfer_id: int, *, version: int | None = None) -> Transfer:
    """Lock and return the transfer, after any decision that is being written now.

    Raises UnknownTransfer, or TransferChanged if it is not at this version.
    """
    row = (
        select(Transfer)
        .where(Transfer.id == transfer_id)
        .with_for_update()
        .execution_options(populate_existing=True)
    )
    transfer = session.scalars(row).first()
    if transfer is None:
        raise UnknownTransfer(transfer_id=transfer_id)
    if version is not None and transfer.version != version:
        raise TransferChanged(transfer_id=transfer_id, version=transfer.version)
    return transfer


_FREE = """
SELECT id FROM billing.transfers WHERE id = ANY(%(ids)s::bigint[])
ORDER BY id FOR UPDATE SKIP LOCKED
"""


def lock_free(session: Session, ids: Iterable[int]) -> dict[int, Transfer]:
    """Lock those of these transfers about which nobody decides right now; return them by id."""
    free = session.connection().exec_driver_sql(_FREE, {"ids": list(ids)})
    rows = select(Transfer).where(Transfer.id.in_([row[0] for row in free]))
    fresh = rows.execution_options(populate_existing=True)
    return {transfer.id: transfer for transfer in session.scalars(fresh)}


class NewDecision(NamedTuple):
    """A decision to be recorded, about a locked transfer or about an account's unapplied cash."""

    transfer: Transfer | None
    rule: str
    outcome: str
    evidence: Mapping[str, Any]


def record_decision(
    ctx: Context,
    transfer: Transfer | None,
    *,
    actor: str,
    rule: str,
    outcome: str,
    evidence: Mapping[str, Any],
) -> int:
    """Record a decision and return its id; a locked transfer gets its next version."""
    return record_decisions(ctx, [NewDecision(transfer, rule, outcome, evidence)], actor=actor)[0]


def record_decisions(ctx: Context, decisions: Sequence[NewDecision], *, actor: str) -> list[int]:
    """Record decisions, at most one about each transfer, and return their ids in this order."""
    rows = [
        {
            "transfer_id": new.transfer.id if new.transfer else None,
            "rule": new.rule,
            "outcome": new.outcome,
            "evidence": dict(new.evidence),
            "engine_version": ENGINE_VERSION,
            "actor": actor,
            "decided_at": ctx.now,
        }
        for new in decisions
    ]
    statement = insert(Decision).returning(Decision.id, sort_by_parameter_order=True)
    # Not through the session, which would write what is not finished yet.
    ids = list(ctx.session.connection().execute(statement, rows).scalars())
    for new, decision_id in zip(decisions, ids, strict=True):
        if new.transfer is not None:
            new.transfer.decision_id = decision_id
            new.transfer.version += 1
    return ids


def evidence_of(decision: MatchDecision) -> dict[str, Any]:
    """The grounds of a decision, as they are kept and shown."""
    return {
        "parts": [list(part) for part in decision.parts],
        "account_id": decision.account_id,
        "surplus_minor": decision.surplus_minor,
        "reasons": list(decision.reasons),
        "vetoes": list(decision.vetoes),
        "candidates": [
            {**dataclasses.asdict(candidate), "parts": [list(part) for part in candidate.parts]}
            for candidate in decision.candidates
        ],
    }


class ReviewRequest(NamedTuple):
    """A locked transfer for a reviewer, the reason, and the rule that led to it."""

    transfer: Transfer
    reason: str | None
    rule: str


def request_review(ctx: Context, transfer: Transfer, reason: str | None, *, rule: str) -> None:
    """Let a locked transfer wait for a reviewer; leave `transfer.needs_review` the first time."""
    request_reviews(ctx, [ReviewRequest(transfer, reason, rule)])


def request_reviews(ctx: Context, requests: Iterable[ReviewRequest]) -> None:
    """Let locked transfers wait for a reviewer, as `request_review` does.

    The event belongs to no account, because the owner of the money is not known yet.
    """
    events = []
    for transfer, reason, rule in requests:
        if transfer.state == "open":
            event = event_of(
                "transfer.needs_review",
                transfer,
                None,
                version=transfer.version,
                rule=rule,
                why=reason or "",
            )
            events.append(event)
        transfer.state, transfer.review = "waiting", reason
    if events:
        outbox.leave_all(ctx, events)


def leave_event(
    ctx: Context,
    event_type: str,
    transfer: Transfer,
    *,
    account_id: int | None,
    amount_minor: int | None = None,
    **more: object,
) -> None:
    """Leave an event about a transfer, or about this amount of it, in the outbox."""
    event = event_of(event_type, transfer, account_id, amount_minor=amount_minor, **more)
    outbox.leave_all(ctx, [event])


def event_of(
    event_type: str,
    transfer: Transfer,
    account_id: int | None,
    *,
    amount_minor: int | None = None,
    **more: object,
) -> NewEvent:
    """An event about a transfer, or about this amount of it."""
    payload: dict[str, object] = {
        "transfer_id": transfer.id,
        "currency": transfer.currency,
        "amount_minor": transfer.amount_minor if amount_minor is None else amount_minor,
        **more,
    }
    return NewEvent(event_type, account_id, payload)


def count_payer(
    session: Session,
    iban: str | None,
    account_ids: Iterable[int],
    *,
    confirmed: int = 0,
    matched: int = 0,
    declined: int = 0,
) -> None:
    """Count that this IBAN paid, or did not pay, for these locked accounts."""
    counts = {"confirmed": confirmed, "matched": matched, "declined": declined}
    count_payers(session, [(iban, account_id, counts) for account_id in account_ids])


def count_payers(
    session: Session, counts: Iterable[tuple[str | None, int, dict[str, int]]]
) -> None:
    """Add these counts of payers, by IBAN and locked account; a payer without IBAN has none."""
    sums: dict[tuple[str, int], Counter[str]] = {}
    for iban, account_id, numbers in counts:
        if iban is not None:
            sums.setdefault((iban, account_id), Counter()).update(numbers)
    names = ("confirmed", "matched", "declined")
    rows = [
        {"iban": key[0], "account_id": key[1], **{name: sums[key][name] for name in names}}
        for key in sorted(sums)
    ]
    if not rows:
        return
    row = upsert(Payer)
    added = {name: getattr(Payer, name) + row.excluded[name] for name in names}
    statement = row.on_conflict_do_update(index_elements=["iban", "account_id"], set_=added)
    session.connection().execute(statement, rows)


def link_payers(ctx: Context, payers: Iterable[tuple[str | None, int]]) -> None:
    """Link each IBAN to its account as a trial fingerprint: each payer gets one trial."""
    shown: dict[int, list[Fingerprint]] = {}
    for iban, account_id in payers:
        if iban is not None:
            shown.setdefault(account_id, []).append(fingerprints.of_iban(iban))
    fingerprints.record(ctx, shown)


def unlink_payer(session: Session, iban: str | None, account_ids: Iterable[int]) -> None:
    """Remove that link: a reviewer says that the payment was not for these accounts."""
    if iban is not None:
        fingerprints.forget(session, account_ids, fingerprints.of_iban(iban))
