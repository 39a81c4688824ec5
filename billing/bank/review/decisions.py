"""A reviewer's decisions about a transfer: made once, seen by all, never about one's own money.

Each act names the version that the reviewer saw. If the transfer has changed since, the answer is
TransferChanged, so that two reviewers can't both decide.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import insert, select
from sqlalchemy.orm import Session

from billing.bank import allocate, returns, transfers
from billing.bank.allocate import Parts
from billing.bank.errors import NothingToUndo, PartsRefused, UnknownInvoice
from billing.bank.review import reviewers
from billing.bank.review.reviewers import Reviewer
from billing.context import Context
from billing.errors import UnknownAccount
from billing.host import accounts
from models.transfers import (
    Allocation,
    Decision,
    RefundRequest,
    Transfer,
    TransferInvoice,
    UnappliedCash,
)

RULE = "person"
#: The outcome of an act: done, or recorded until a second reviewer requests the same.
DONE, WAITS = "done", "waits for a second person"
_UNDECIDED = frozenset({"open", "waiting", "frozen"})


@dataclass(frozen=True, slots=True)
class Review:
    """A reviewer at work on one transfer, at the version they saw.

    `limit_minor`: above it a second reviewer must request the same.
    """

    ctx: Context
    reviewer: Reviewer
    transfer_id: int
    version: int
    limit_minor: int

    def lock(self) -> Transfer:
        """Lock the transfer. Raises UnknownTransfer or TransferChanged."""
        return transfers.lock(self.ctx.session, self.transfer_id, version=self.version)

    def part_of(self, invoice: TransferInvoice) -> tuple[int, int]:
        """The invoice's id, and as much of the transfer as it may take, in minor units."""
        return invoice.id, min(self.lock().amount_minor, invoice.open_minor)

    def record(self, transfer: Transfer, outcome: str, evidence: Mapping[str, Any]) -> int:
        """Record the decision; return its id."""
        return transfers.record_decision(
            self.ctx,
            transfer,
            actor=self.reviewer.actor,
            rule=RULE,
            outcome=outcome,
            evidence=evidence,
        )


def confirm(
    review: Review, parts: Parts, *, credit_to: int | None = None, reason: str = "confirmed"
) -> str:
    """Let the transfer pay these parts; keep the rest as `credit_to`'s credit.

    If all invoices are one account's, the rest is that account's by default. Raises
    TransferChanged, NotAllowed, PartsRefused, UnknownInvoice, and as `invoice_effects.follow`.
    """
    transfer = review.lock()
    if transfer.state not in _UNDECIDED:
        raise PartsRefused(problem=f"it is {transfer.state}; undo that first")
    return _confirm(review, transfer, parts, credit_to=credit_to, reason=reason)


def confirm_invoice(review: Review, invoice_id: int) -> str:
    """Let the transfer pay the main app's invoice, as `confirm`. Raises UnknownInvoice too."""
    row = select(TransferInvoice).where(TransferInvoice.invoice_id == invoice_id)
    invoice = review.ctx.session.scalars(row).first()
    if invoice is None:
        raise UnknownInvoice(invoice_id=invoice_id)
    return confirm(review, [review.part_of(invoice)])


def reassign(review: Review, parts: Parts, *, credit_to: int | None, reason: str) -> str:
    """Undo what the transfer did, and let it pay these parts or be this account's credit."""
    transfer = review.lock()
    return _confirm(review, transfer, parts, credit_to=credit_to, reason=reason, undoes=True)


def _confirm(
    review: Review,
    transfer: Transfer,
    parts: Parts,
    *,
    credit_to: int | None,
    reason: str,
    undoes: bool = False,
) -> str:
    ctx, reviewer = review.ctx, review.reviewer
    if transfer.amount_minor <= 0 or transfer.reversed_by is not None:
        raise PartsRefused(problem="it brought no money, or its money was taken back")
    owners = _owners(ctx.session, parts)
    credit_to = credit_to or (next(iter(owners)) if len(owners) == 1 else None)
    reviewers.must_not_own(reviewer, owners | ({credit_to} if credit_to else set()))
    requested: list[object] = [[list(part) for part in sorted(parts)], credit_to, undoes]
    limit_minor = review.limit_minor
    if not reviewers.has_second(ctx, transfer, reviewer, requested, limit_minor=limit_minor):
        transfer.review = f"{reviewer.actor} wants to decide; it waits for a second person"
        return WAITS
    evidence = {
        "parts": [list(part) for part in parts],
        "account_id": credit_to,
        "reasons": [reason],
    }
    decision_id = review.record(transfer, "settle" if parts else "credit", evidence)
    if undoes:
        account_ids = allocate.take_out(ctx, transfer, decision_id=decision_id)
        transfers.unlink_payer(ctx.session, transfer.payer_iban, account_ids)
    allocate.apply(ctx, allocate.Application(transfer, parts, decision_id, credit_to, "confirmed"))
    transfer.review = None
    return DONE


def keep_as_credit(review: Review, account_id: int, *, reason: str) -> str:
    """Keep the money as this account's credit, on no invoice. Raises UnknownAccount too."""
    if not accounts.exists(review.ctx.session, account_id):
        raise UnknownAccount(account_id=account_id)
    return confirm(review, (), credit_to=account_id, reason=reason)


def mark_duplicate(review: Review, *, reason: str) -> str:
    """Mark the transfer as paid twice. Its credit stays; a refund is requested separately."""
    transfer = review.lock()
    if transfer.allocated_minor:
        raise PartsRefused(problem="it pays an invoice; undo that first")
    review.record(transfer, "duplicate", {"reasons": [reason]})
    transfer.state, transfer.review = "duplicate", None
    return DONE


def ignore(review: Review, *, reason: str) -> str:
    """Ignore money that is no customer's: interest, or a transfer between our own accounts."""
    transfer = review.lock()
    if transfer.allocated_minor or transfer.credited_minor:
        raise PartsRefused(problem="part of it is applied; undo that first")
    review.record(transfer, "ignore", {"reasons": [reason]})
    transfer.state, transfer.review = "ignored", None
    if transfer.amount_minor < 0:
        returns.free_others(review.ctx, transfer)
    return DONE


def reject(review: Review, *, reason: str) -> str:
    """Reject the suggestion: the transfer waits, and no rule touches it again."""
    transfer = review.lock()
    if transfer.state not in _UNDECIDED:
        raise PartsRefused(problem=f"it is {transfer.state}; undo that first")
    suggested = _suggested(review.ctx.session, transfer)
    transfers.count_payer(review.ctx.session, transfer.payer_iban, suggested, declined=1)
    review.record(transfer, "reject", {"reasons": [reason]})
    transfer.state, transfer.review = "waiting", f"not what was suggested: {reason}"
    return DONE


def undo(review: Review, *, reason: str) -> str:
    """Undo all that the transfer did, by counter-entries. Raises NothingToUndo."""
    transfer = review.lock()
    is_applied = bool(transfer.allocated_minor or transfer.credited_minor)
    is_reversal = transfer.state in {"reversed", "reverses"}
    if is_reversal or not (is_applied or transfer.state in {"duplicate", "ignored"}):
        raise NothingToUndo(transfer_id=transfer.id, state=transfer.state)
    decision_id = review.record(transfer, "undo", {"reasons": [reason]})
    account_ids = allocate.take_out(review.ctx, transfer, decision_id=decision_id)
    reviewers.must_not_own(review.reviewer, set(account_ids))
    transfers.unlink_payer(review.ctx.session, transfer.payer_iban, account_ids)
    transfers.count_payer(review.ctx.session, transfer.payer_iban, account_ids, declined=1)
    transfer.state, transfer.review = "waiting", f"undone: {reason}"
    return DONE


def take_back(review: Review, original_id: int, *, reason: str) -> str:
    """Let a debit take back the earlier transfer, and undo all that this one did."""
    ctx, transfer = review.ctx, review.lock()
    if transfer.amount_minor >= 0 or transfer.state not in _UNDECIDED:
        raise PartsRefused(problem=f"it is {transfer.state}, or brought money")
    returns.take_back(ctx, transfer, original_id, actor=review.reviewer.actor, why=reason)
    reviewers.must_not_own(review.reviewer, _touched(ctx.session, original_id))
    return DONE


def mark_seen(review: Review) -> str:
    """Approve what the rules did, and take the transfer off the queue."""
    transfer = review.lock()
    if transfer.state in _UNDECIDED:
        raise PartsRefused(problem="it is not decided yet")
    review.record(transfer, "seen", {})
    transfer.review = None
    return DONE


def request_refund(review: Review, amount_minor: int, *, reason: str) -> str:
    """Request a refund to the payer; staff send it outside of this system."""
    ctx, transfer = review.ctx, review.lock()
    if not 0 < amount_minor <= transfer.amount_minor - transfer.allocated_minor:
        raise PartsRefused(problem="the refund is more than the part that is on no invoice")
    credited = allocate.credited_accounts(ctx.session, transfer)
    account_id = next(iter(credited), transfer.customer_id)
    ctx.session.execute(
        insert(RefundRequest).values(
            transfer_id=transfer.id,
            account_id=account_id,
            currency=transfer.currency,
            amount_minor=amount_minor,
            reason=reason,
            actor=review.reviewer.actor,
            asked_at=ctx.now,
        )
    )
    review.record(transfer, "refund", {"reasons": [reason], "amount_minor": amount_minor})
    transfers.leave_event(
        ctx,
        "transfer.refund_requested",
        transfer,
        account_id=account_id,
        amount_minor=amount_minor,
    )
    return DONE


def _touched(session: Session, transfer_id: int) -> set[int]:
    """The accounts whose invoices or credit a transfer ever reached."""
    paid = select(TransferInvoice.account_id).join(
        Allocation, Allocation.transfer_invoice_id == TransferInvoice.id
    )
    kept = select(UnappliedCash.account_id).where(UnappliedCash.transfer_id == transfer_id)
    rows = paid.where(Allocation.transfer_id == transfer_id).union(kept)
    return set(session.scalars(rows))


def _owners(session: Session, parts: Parts) -> set[int]:
    """The accounts of these invoices."""
    ids = [invoice_id for invoice_id, _ in parts]
    rows = select(TransferInvoice.account_id).where(TransferInvoice.id.in_(ids))
    return set(session.scalars(rows))


def _suggested(session: Session, transfer: Transfer) -> list[int]:
    """The account of the best candidate, if the last decision has one."""
    if transfer.decision_id is None:
        return []
    evidence: Any = session.get_one(Decision, transfer.decision_id).evidence
    return [candidate["account_id"] for candidate in evidence.get("candidates", ())[:1]]
