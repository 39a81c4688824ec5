"""What a person decides about a transfer: once, seen by all, never about money of their own.

Every act names the version that the person saw; if the transfer has changed since, the answer is
TransferChanged, so that two clerks can't both decide.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import insert, select
from sqlalchemy.orm import Session

from billing.bank import allocate
from billing.bank import undo as undoing
from billing.bank.allocate import Parts
from billing.bank.errors import NothingToUndo, PartsRefused, UnknownInvoice
from billing.bank.matching import payers
from billing.bank.review import reviewers
from billing.bank.review.reviewers import Person
from billing.context import Context
from billing.errors import UnknownAccount
from billing.events import outbox
from billing.host import accounts
from models.transfers import Decision, RefundRequest, Transfer, TransferInvoice

RULE = "person"
#: What became of an act: done, or recorded until a second person wants the same.
DONE, WAITS = "done", "waits for a second person"
_UNDECIDED = frozenset({"open", "waiting", "frozen"})


@dataclass(frozen=True, slots=True)
class Review:
    """A person at work on one transfer, at the version they saw.

    `limit_minor`: above it a second person must want the same.
    """

    ctx: Context
    person: Person
    transfer_id: int
    version: int
    limit_minor: int

    def take(self) -> Transfer:
        """The transfer, locked. Raises UnknownTransfer or TransferChanged."""
        return allocate.lock(self.ctx.session, self.transfer_id, version=self.version)

    def write(self, transfer: Transfer, outcome: str, evidence: Mapping[str, Any]) -> int:
        """Write the decision down."""
        return allocate.remember(
            self.ctx.by(self.person.actor), transfer, rule=RULE, outcome=outcome, evidence=evidence
        )


def confirm(
    review: Review, parts: Parts, *, credit_to: int | None = None, reason: str = "confirmed"
) -> str:
    """The transfer pays these parts [invoice, minor units]; the rest is `credit_to`'s credit.

    Of one customer's invoices the rest is that customer's. Raises TransferChanged, NotAllowed,
    PartsRefused, UnknownInvoice, and what lets no account in.
    """
    transfer = review.take()
    if transfer.state not in _UNDECIDED:
        raise PartsRefused(problem=f"it is {transfer.state}: undo that first")
    return _confirm(review, transfer, parts, credit_to=credit_to, reason=reason)


def reassign(review: Review, parts: Parts, *, credit_to: int | None, reason: str) -> str:
    """Undo what the transfer did, and let it pay these parts, or be this account's credit."""
    transfer = review.take()
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
    session = review.ctx.session
    if transfer.amount_minor <= 0 or transfer.reversed_by is not None:
        raise PartsRefused(problem="it is no money that came, or it was taken back")
    owners = _owners(session, parts)
    credit_to = credit_to or (next(iter(owners)) if len(owners) == 1 else None)
    reviewers.must_not_own(review.person, owners | ({credit_to} if credit_to else set()))
    wanted: list[object] = [[list(part) for part in sorted(parts)], credit_to, undoes]
    may = reviewers.has_second(
        review.ctx, transfer, review.person, wanted, limit_minor=review.limit_minor
    )
    if not may:
        transfer.review = f"{review.person.actor} wants to decide; it waits for a second person"
        return WAITS
    evidence = {
        "parts": [list(part) for part in parts],
        "account_id": credit_to,
        "reasons": [reason],
    }
    decision_id = review.write(transfer, "settle" if parts else "credit", evidence)
    if undoes:
        touched = undoing.take_out(review.ctx, transfer, decision_id=decision_id)
        payers.unshow(session, transfer.payer_iban, touched)
    allocate.apply(review.ctx, transfer, parts, decision_id=decision_id, credit_to=credit_to)
    transfer.review = None
    for account_id in owners or {credit_to or 0} - {0}:
        payers.know(session, transfer.payer_iban, account_id, confirmed=1)
    return DONE


def keep_as_credit(review: Review, account_id: int, *, reason: str) -> str:
    """The money is this account's, and on no invoice yet. Raises UnknownAccount too."""
    _must_exist(review.ctx.session, account_id)
    return confirm(review, (), credit_to=account_id, reason=reason)


def mark_duplicate(review: Review, *, reason: str) -> str:
    """The same was paid twice. What is credited stays so; a refund is asked for apart."""
    transfer = review.take()
    if transfer.allocated_minor:
        raise PartsRefused(problem="it pays an invoice: undo that first")
    review.write(transfer, "duplicate", {"reasons": [reason]})
    transfer.state, transfer.review = "duplicate", None
    return DONE


def ignore(review: Review, *, reason: str) -> str:
    """The money is none of a customer's: interest, a transfer between accounts of ours."""
    transfer = review.take()
    if transfer.allocated_minor or transfer.credited_minor:
        raise PartsRefused(problem="something of it is applied: undo that first")
    review.write(transfer, "ignore", {"reasons": [reason]})
    transfer.state, transfer.review = "ignored", None
    return DONE


def reject(review: Review, *, reason: str) -> str:
    """It is not what was suggested: it waits, and no rule touches it again."""
    transfer = review.take()
    if transfer.state not in _UNDECIDED:
        raise PartsRefused(problem=f"it is {transfer.state}: undo that first")
    for account_id in _suggested(review.ctx.session, transfer):
        payers.know(review.ctx.session, transfer.payer_iban, account_id, declined=1)
    review.write(transfer, "reject", {"reasons": [reason]})
    transfer.state, transfer.review = "waiting", f"not what was suggested: {reason}"
    return DONE


def undo(review: Review, *, reason: str) -> str:
    """Take back all that the transfer did, by counter-entries. Raises NothingToUndo."""
    transfer = review.take()
    if transfer.state in {"reversed", "reverses"}:
        raise NothingToUndo(transfer_id=transfer.id, state=transfer.state)
    is_applied = bool(transfer.allocated_minor or transfer.credited_minor)
    if not is_applied and transfer.state not in {"duplicate", "ignored"}:
        raise NothingToUndo(transfer_id=transfer.id, state=transfer.state)
    decision_id = review.write(transfer, "undo", {"reasons": [reason]})
    touched = undoing.take_out(review.ctx, transfer, decision_id=decision_id)
    reviewers.must_not_own(review.person, set(touched))
    payers.unshow(review.ctx.session, transfer.payer_iban, touched)
    for account_id in touched:
        payers.know(review.ctx.session, transfer.payer_iban, account_id, declined=1)
    transfer.state, transfer.review = "waiting", f"undone: {reason}"
    return DONE


def mark_seen(review: Review) -> str:
    """A person looked, and what the rules did is right."""
    transfer = review.take()
    if transfer.state in _UNDECIDED:
        raise PartsRefused(problem="it is not decided yet")
    review.write(transfer, "seen", {})
    transfer.review = None
    return DONE


def request_refund(review: Review, amount_minor: int, *, reason: str) -> str:
    """Ask for money to go back to the payer; it is sent by people, elsewhere."""
    transfer = review.take()
    if not 0 < amount_minor <= transfer.amount_minor - transfer.allocated_minor:
        raise PartsRefused(problem="more than what of it is on no invoice")
    account_id = next(iter(undoing.kept(review.ctx.session, transfer)), transfer.customer_id)
    review.ctx.session.execute(
        insert(RefundRequest).values(
            transfer_id=transfer.id,
            account_id=account_id,
            currency=transfer.currency,
            amount_minor=amount_minor,
            reason=reason,
            actor=review.person.actor,
            asked_at=review.ctx.now,
        )
    )
    review.write(transfer, "refund", {"reasons": [reason], "amount_minor": amount_minor})
    payload: dict[str, object] = {
        "transfer_id": transfer.id,
        "currency": transfer.currency,
        "amount_minor": amount_minor,
    }
    outbox.leave(review.ctx, "transfer.refund_requested", account_id=account_id, payload=payload)
    return DONE


def part_of(session: Session, transfer_id: int, invoice_id: int) -> tuple[int, int]:
    """[invoice, minor units]: as much of the transfer as the main app's invoice may take.

    Raises UnknownInvoice.
    """
    row = select(TransferInvoice).where(TransferInvoice.invoice_id == invoice_id)
    invoice = session.scalars(row).first()
    if invoice is None:
        raise UnknownInvoice(invoice_id=invoice_id)
    transfer = allocate.lock(session, transfer_id)
    return invoice.id, min(transfer.amount_minor, invoice.due_minor - invoice.settled_minor)


def _owners(session: Session, parts: Parts) -> set[int]:
    ids = [invoice for invoice, _ in parts]
    rows = select(TransferInvoice.account_id).where(TransferInvoice.id.in_(ids))
    return set(session.scalars(rows))


def _suggested(session: Session, transfer: Transfer) -> list[int]:
    if transfer.decision_id is None:
        return []
    evidence: Any = session.get_one(Decision, transfer.decision_id).evidence
    return sorted({one["account_id"] for one in evidence.get("candidates", ())[:1]})


def _must_exist(session: Session, account_id: int) -> None:
    if not accounts.exists(session, account_id):
        raise UnknownAccount(account_id=account_id)
