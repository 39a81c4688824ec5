"""What a person decides about a transfer: once, seen by all, never about money of their own.

Every act names the version that the person saw; if the transfer has changed since, the answer is
TransferChanged, so that two clerks can't both decide.
"""

import datetime as dt
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
from billing.errors import UnknownAccount
from billing.events import outbox
from billing.host import accounts
from models.transfers import Decision, RefundRequest, Transfer, TransferInvoice

RULE = "person"
#: What became of an act: done, or recorded until a second person wants the same.
DONE, WAITS = "done", "waits for a second person"
_UNDECIDED = frozenset({"open", "waiting", "frozen"})


@dataclass(frozen=True, slots=True)
class Hand:
    """A person at work on one transfer, at the version they saw.

    `limit_minor`: above it a second person must want the same.
    """

    session: Session
    person: Person
    transfer_id: int
    version: int
    limit_minor: int
    now: dt.datetime

    def take(self) -> Transfer:
        """The transfer, locked. Raises UnknownTransfer or TransferChanged."""
        return allocate.lock(self.session, self.transfer_id, version=self.version)

    def write(self, transfer: Transfer, outcome: str, evidence: Mapping[str, Any]) -> int:
        """Write the decision down."""
        return allocate.remember(
            self.session,
            transfer,
            rule=RULE,
            outcome=outcome,
            evidence=evidence,
            actor=self.person.actor,
            now=self.now,
        )


def confirm(
    hand: Hand, parts: Parts, *, credit_to: int | None = None, reason: str = "confirmed"
) -> str:
    """The transfer pays these parts [invoice, minor units]; the rest is `credit_to`'s credit.

    Of one customer's invoices the rest is that customer's. Raises TransferChanged, NotAllowed,
    PartsRefused, UnknownInvoice, and what lets no account in.
    """
    transfer = hand.take()
    if transfer.state not in _UNDECIDED:
        raise PartsRefused(problem=f"it is {transfer.state}: undo that first")
    return _confirm(hand, transfer, parts, credit_to=credit_to, reason=reason)


def reassign(hand: Hand, parts: Parts, *, credit_to: int | None, reason: str) -> str:
    """Undo what the transfer did, and let it pay these parts, or be this account's credit."""
    transfer = hand.take()
    return _confirm(hand, transfer, parts, credit_to=credit_to, reason=reason, undoes=True)


def _confirm(
    hand: Hand,
    transfer: Transfer,
    parts: Parts,
    *,
    credit_to: int | None,
    reason: str,
    undoes: bool = False,
) -> str:
    session = hand.session
    if transfer.amount_minor <= 0 or transfer.reversed_by is not None:
        raise PartsRefused(problem="it is no money that came, or it was taken back")
    owners = _owners(session, parts)
    credit_to = credit_to or (next(iter(owners)) if len(owners) == 1 else None)
    reviewers.must_not_own(hand.person, owners | ({credit_to} if credit_to else set()))
    wanted: list[object] = [[list(part) for part in sorted(parts)], credit_to, undoes]
    may = reviewers.has_second(
        session, transfer, hand.person, wanted, limit_minor=hand.limit_minor, now=hand.now
    )
    if not may:
        transfer.review = f"{hand.person.actor} wants to decide; it waits for a second person"
        return WAITS
    evidence = {
        "parts": [list(part) for part in parts],
        "account_id": credit_to,
        "reasons": [reason],
    }
    decision_id = hand.write(transfer, "settle" if parts else "credit", evidence)
    if undoes:
        touched = undoing.take_out(session, transfer, decision_id=decision_id, now=hand.now)
        payers.unshow(session, transfer.payer_iban, touched)
    allocate.apply(
        session, transfer, parts, decision_id=decision_id, credit_to=credit_to, now=hand.now
    )
    transfer.review = None
    for account_id in owners or {credit_to or 0} - {0}:
        payers.know(session, transfer.payer_iban, account_id, confirmed=1)
    return DONE


def keep_as_credit(hand: Hand, account_id: int, *, reason: str) -> str:
    """The money is this account's, and on no invoice yet. Raises UnknownAccount too."""
    _must_exist(hand.session, account_id)
    return confirm(hand, (), credit_to=account_id, reason=reason)


def mark_duplicate(hand: Hand, *, reason: str) -> str:
    """The same was paid twice. What is credited stays so; a refund is asked for apart."""
    transfer = hand.take()
    if transfer.allocated_minor:
        raise PartsRefused(problem="it pays an invoice: undo that first")
    hand.write(transfer, "duplicate", {"reasons": [reason]})
    transfer.state, transfer.review = "duplicate", None
    return DONE


def ignore(hand: Hand, *, reason: str) -> str:
    """The money is none of a customer's: interest, a transfer between accounts of ours."""
    transfer = hand.take()
    if transfer.allocated_minor or transfer.credited_minor:
        raise PartsRefused(problem="something of it is applied: undo that first")
    hand.write(transfer, "ignore", {"reasons": [reason]})
    transfer.state, transfer.review = "ignored", None
    return DONE


def reject(hand: Hand, *, reason: str) -> str:
    """It is not what was suggested: it waits, and no rule touches it again."""
    transfer = hand.take()
    if transfer.state not in _UNDECIDED:
        raise PartsRefused(problem=f"it is {transfer.state}: undo that first")
    for account_id in _suggested(hand.session, transfer):
        payers.know(hand.session, transfer.payer_iban, account_id, declined=1)
    hand.write(transfer, "reject", {"reasons": [reason]})
    transfer.state, transfer.review = "waiting", f"not what was suggested: {reason}"
    return DONE


def undo(hand: Hand, *, reason: str) -> str:
    """Take back all that the transfer did, by counter-entries. Raises NothingToUndo."""
    transfer = hand.take()
    if transfer.state in {"reversed", "reverses"}:
        raise NothingToUndo(transfer_id=transfer.id, state=transfer.state)
    is_applied = bool(transfer.allocated_minor or transfer.credited_minor)
    if not is_applied and transfer.state not in {"duplicate", "ignored"}:
        raise NothingToUndo(transfer_id=transfer.id, state=transfer.state)
    decision_id = hand.write(transfer, "undo", {"reasons": [reason]})
    touched = undoing.take_out(hand.session, transfer, decision_id=decision_id, now=hand.now)
    reviewers.must_not_own(hand.person, set(touched))
    payers.unshow(hand.session, transfer.payer_iban, touched)
    for account_id in touched:
        payers.know(hand.session, transfer.payer_iban, account_id, declined=1)
    transfer.state, transfer.review = "waiting", f"undone: {reason}"
    return DONE


def mark_seen(hand: Hand) -> str:
    """A person looked, and what the rules did is right."""
    transfer = hand.take()
    if transfer.state in _UNDECIDED:
        raise PartsRefused(problem="it is not decided yet")
    hand.write(transfer, "seen", {})
    transfer.review = None
    return DONE


def request_refund(hand: Hand, amount_minor: int, *, reason: str) -> str:
    """Ask for money to go back to the payer; it is sent by people, elsewhere."""
    transfer = hand.take()
    if not 0 < amount_minor <= transfer.amount_minor - transfer.allocated_minor:
        raise PartsRefused(problem="more than what of it is on no invoice")
    account_id = next(iter(undoing.kept(hand.session, transfer)), transfer.customer_id)
    hand.session.execute(
        insert(RefundRequest).values(
            transfer_id=transfer.id,
            account_id=account_id,
            currency=transfer.currency,
            amount_minor=amount_minor,
            reason=reason,
            actor=hand.person.actor,
            asked_at=hand.now,
        )
    )
    hand.write(transfer, "refund", {"reasons": [reason], "amount_minor": amount_minor})
    payload: dict[str, object] = {
        "transfer_id": transfer.id,
        "currency": transfer.currency,
        "amount_minor": amount_minor,
    }
    outbox.leave(
        hand.session,
        "transfer.refund_requested",
        account_id=account_id,
        payload=payload,
        now=hand.now,
    )
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
