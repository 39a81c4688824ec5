"""Acts on one transfer: locked, decided about, left to a reviewer; its payer becomes known."""

import dataclasses
from collections.abc import Iterable, Mapping
from typing import Any

from sqlalchemy import insert, select
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.orm import Session

from billing.bank.errors import TransferChanged, UnknownTransfer
from billing.bank.matching.types import ENGINE_VERSION, MatchDecision
from billing.context import Context
from billing.events import outbox
from billing.lifecycle.trials import fingerprints
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
    decision_id = ctx.session.execute(
        insert(Decision)
        .values(
            transfer_id=transfer.id if transfer else None,
            rule=rule,
            outcome=outcome,
            evidence=dict(evidence),
            engine_version=ENGINE_VERSION,
            actor=actor,
            decided_at=ctx.now,
        )
        .returning(Decision.id)
    ).scalar_one()
    if transfer is not None:
        transfer.decision_id = decision_id
        transfer.version += 1
    return decision_id


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


def request_review(ctx: Context, transfer: Transfer, reason: str | None, *, rule: str) -> None:
    """Let a locked transfer wait for a reviewer; leave `transfer.needs_review` the first time.

    The event belongs to no account, because the owner of the money is not known yet.
    """
    is_first_time = transfer.state == "open"
    transfer.state, transfer.review = "waiting", reason
    if is_first_time:
        leave_event(
            ctx,
            "transfer.needs_review",
            transfer,
            account_id=None,
            version=transfer.version,
            rule=rule,
            why=reason or "",
        )


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
    payload: dict[str, object] = {
        "transfer_id": transfer.id,
        "currency": transfer.currency,
        "amount_minor": transfer.amount_minor if amount_minor is None else amount_minor,
        **more,
    }
    outbox.leave(ctx, event_type, account_id=account_id, payload=payload)


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
    if iban is None:
        return
    counts = {"confirmed": confirmed, "matched": matched, "declined": declined}
    for account_id in sorted(account_ids):
        row = upsert(Payer).values(iban=iban, account_id=account_id, **counts)
        added = {name: getattr(Payer, name) + number for name, number in counts.items()}
        session.execute(
            row.on_conflict_do_update(index_elements=["iban", "account_id"], set_=added)
        )


def link_payer(ctx: Context, iban: str | None, account_ids: Iterable[int]) -> None:
    """Link the IBAN to these accounts as a trial fingerprint: each payer gets one trial."""
    if iban is not None:
        payer = [fingerprints.of_iban(iban)]
        fingerprints.record(ctx, dict.fromkeys(account_ids, payer))


def unlink_payer(session: Session, iban: str | None, account_ids: Iterable[int]) -> None:
    """Remove that link: a reviewer says that the payment was not for these accounts."""
    if iban is not None:
        fingerprints.forget(session, account_ids, fingerprints.of_iban(iban))
