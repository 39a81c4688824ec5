"""Tables of bank transfers: invoices, transfers, decisions, allocations and unapplied cash.

Decisions and movements of money are only added. A counter-entry names the entry that it undoes.
"""

import datetime as dt
import uuid

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Date,
    ForeignKey,
    Identity,
    Index,
    Integer,
    Text,
    text,
)
from sqlalchemy.dialects.postgresql import UUID
from sqlalchemy.orm import Mapped, mapped_column

from models.bank import BankLine
from models.base import SCHEMA, Base, Moment

#: A transfer's states; the words are in docs/glossary.md.
STATES = (
    "open",
    "waiting",
    "settled",
    "credited",
    "duplicate",
    "ignored",
    "reversed",
    "reverses",
    "frozen",
)


class TransferInvoice(Base):
    """An invoice to be paid by bank transfer. Its number and reference are never used again.

    Attributes:
        invoice_id: The main app's row of the invoice.
        settled_minor: The paid part of `due_minor`, in minor units; a constraint keeps it within.
    """

    __tablename__ = "transfer_invoices"
    __table_args__ = (
        CheckConstraint("due_minor > 0", name="due_minor"),
        CheckConstraint("settled_minor BETWEEN 0 AND due_minor", name="settled_minor"),
        CheckConstraint("state IN ('open', 'paid', 'void', 'refunded')", name="state"),
        CheckConstraint("period_end > period_start", name="period_end"),
        Index(None, "reference", unique=True),
        Index(None, "number", unique=True),
        Index(None, "key", unique=True),
        Index("transfer_invoices_account_idx", "account_id", "state"),
        Index("transfer_invoices_due_idx", "next_step_at", postgresql_where=text("state = 'open'")),
        {"schema": SCHEMA},
    )

    id: Mapped[int] = mapped_column(BigInteger, Identity(), primary_key=True)
    invoice_id: Mapped[int | None] = mapped_column(BigInteger)
    account_id: Mapped[int] = mapped_column(BigInteger)
    plan_id: Mapped[int] = mapped_column(BigInteger)
    number: Mapped[str] = mapped_column(Text)
    reference: Mapped[str] = mapped_column(Text)
    key: Mapped[str] = mapped_column(Text)
    currency: Mapped[str] = mapped_column(Text)
    due_minor: Mapped[int] = mapped_column(BigInteger)
    settled_minor: Mapped[int] = mapped_column(BigInteger, server_default=text("0"))
    state: Mapped[str] = mapped_column(Text, server_default=text("'open'"))
    months: Mapped[int] = mapped_column(Integer)
    period_start: Mapped[dt.datetime | None] = mapped_column(Moment)
    period_end: Mapped[dt.datetime | None] = mapped_column(Moment)
    issued_at: Mapped[dt.datetime] = mapped_column(Moment)
    due_at: Mapped[dt.datetime] = mapped_column(Moment)
    next_step_at: Mapped[dt.datetime | None] = mapped_column(Moment)
    steps_done: Mapped[int] = mapped_column(Integer, server_default=text("0"))
    finished_at: Mapped[dt.datetime | None] = mapped_column(Moment)


class Transfer(Base):
    """One payment inside a line: the line itself, or one transaction of a batch.

    Attributes:
        amount_minor: Positive for money that came, negative for money taken back. The sum of
            `allocated_minor` and `credited_minor` can't exceed it.
        version: The number of changes, so that two reviewers can't both decide.
        review: The reason why a reviewer should look at it; null if nobody needs to.
    """

    __tablename__ = "transfers"
    __table_args__ = (
        CheckConstraint(f"state IN {STATES!r}", name="state"),
        CheckConstraint("allocated_minor >= 0 AND credited_minor >= 0", name="parts"),
        CheckConstraint(
            "allocated_minor + credited_minor <= greatest(amount_minor, 0)", name="whole"
        ),
        Index(None, "line", "place", unique=True),
        Index(
            "transfers_undecided_idx",
            "id",
            postgresql_where=text("state IN ('open', 'waiting', 'frozen')"),
        ),
        Index("transfers_review_idx", "id", postgresql_where=text("review IS NOT NULL")),
        Index(None, "account", "booking_date"),
        {"schema": SCHEMA},
    )

    id: Mapped[int] = mapped_column(BigInteger, Identity(), primary_key=True)
    line: Mapped[uuid.UUID] = mapped_column(UUID, ForeignKey(BankLine.key))
    place: Mapped[int] = mapped_column(Integer)
    account: Mapped[str] = mapped_column(Text)
    currency: Mapped[str] = mapped_column(Text)
    amount_minor: Mapped[int] = mapped_column(BigInteger)
    booking_date: Mapped[dt.date] = mapped_column(Date)
    payer_iban: Mapped[str | None] = mapped_column(Text)
    customer_id: Mapped[int | None] = mapped_column(BigInteger)
    state: Mapped[str] = mapped_column(Text, server_default=text("'open'"))
    review: Mapped[str | None] = mapped_column(Text)
    allocated_minor: Mapped[int] = mapped_column(BigInteger, server_default=text("0"))
    credited_minor: Mapped[int] = mapped_column(BigInteger, server_default=text("0"))
    decision_id: Mapped[int | None] = mapped_column(BigInteger)
    reversed_by: Mapped[int | None] = mapped_column(BigInteger, unique=True)
    version: Mapped[int] = mapped_column(Integer, server_default=text("1"))
    recorded_at: Mapped[dt.datetime] = mapped_column(Moment)


class Decision(Base):
    """A decision about a transfer, by a rule or a reviewer, with its grounds.

    `transfer_id` is null if a reviewer paid an invoice with unapplied cash.
    """

    __tablename__ = "transfer_decisions"
    __table_args__ = (Index(None, "transfer_id", "id"), {"schema": SCHEMA})

    id: Mapped[int] = mapped_column(BigInteger, Identity(), primary_key=True)
    transfer_id: Mapped[int | None] = mapped_column(ForeignKey(Transfer.id))
    rule: Mapped[str] = mapped_column(Text)
    outcome: Mapped[str] = mapped_column(Text)
    evidence: Mapped[dict[str, object]]
    engine_version: Mapped[str] = mapped_column(Text)
    actor: Mapped[str] = mapped_column(Text)
    decided_at: Mapped[dt.datetime] = mapped_column(Moment)


class Allocation(Base):
    """Money on an invoice, from a transfer or from unapplied cash; negative if it undoes another.

    `transfer_id` is null if the money was the account's unapplied cash.
    """

    __tablename__ = "allocations"
    __table_args__ = (
        CheckConstraint("(amount_minor > 0) = (undoes IS NULL)", name="undoes"),
        CheckConstraint("amount_minor <> 0", name="amount_minor"),
        Index(None, "transfer_id"),
        Index(None, "transfer_invoice_id"),
        {"schema": SCHEMA},
    )

    id: Mapped[int] = mapped_column(BigInteger, Identity(), primary_key=True)
    transfer_id: Mapped[int | None] = mapped_column(ForeignKey(Transfer.id))
    transfer_invoice_id: Mapped[int] = mapped_column(ForeignKey(TransferInvoice.id))
    amount_minor: Mapped[int] = mapped_column(BigInteger)
    decision_id: Mapped[int] = mapped_column(ForeignKey(Decision.id))
    undoes: Mapped[int | None] = mapped_column(BigInteger, unique=True)
    recorded_at: Mapped[dt.datetime] = mapped_column(Moment)


class UnappliedCash(Base):
    """A movement of an account's unapplied cash: money that is on no invoice.

    The account has the sum of its movements. A payment taken back may leave it negative.
    """

    __tablename__ = "unapplied_cash"
    __table_args__ = (
        CheckConstraint("amount_minor <> 0", name="amount_minor"),
        Index(None, "account_id", "currency"),
        Index(None, "transfer_id"),
        {"schema": SCHEMA},
    )

    id: Mapped[int] = mapped_column(BigInteger, Identity(), primary_key=True)
    account_id: Mapped[int] = mapped_column(BigInteger)
    currency: Mapped[str] = mapped_column(Text)
    amount_minor: Mapped[int] = mapped_column(BigInteger)
    why: Mapped[str] = mapped_column(Text)
    transfer_id: Mapped[int | None] = mapped_column(ForeignKey(Transfer.id))
    decision_id: Mapped[int] = mapped_column(ForeignKey(Decision.id))
    recorded_at: Mapped[dt.datetime] = mapped_column(Moment)


class Payer(Base):
    """An IBAN that paid for an account, with counts of references and reviewers' decisions."""

    __tablename__ = "payers"
    __table_args__ = (
        CheckConstraint("confirmed >= 0 AND matched >= 0 AND declined >= 0", name="counts"),
        {"schema": SCHEMA},
    )

    iban: Mapped[str] = mapped_column(Text, primary_key=True)
    account_id: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    confirmed: Mapped[int] = mapped_column(Integer, server_default=text("0"))
    matched: Mapped[int] = mapped_column(Integer, server_default=text("0"))
    declined: Mapped[int] = mapped_column(Integer, server_default=text("0"))


class ConfirmationRequest(Base):
    """A decision above the limit that waits for a second reviewer."""

    __tablename__ = "transfer_confirmations"
    __table_args__ = (
        Index(
            "transfer_confirmations_open_idx",
            "transfer_id",
            unique=True,
            postgresql_where=text("second_actor IS NULL AND NOT is_withdrawn"),
        ),
        {"schema": SCHEMA},
    )

    id: Mapped[int] = mapped_column(BigInteger, Identity(), primary_key=True)
    transfer_id: Mapped[int] = mapped_column(ForeignKey(Transfer.id))
    version: Mapped[int] = mapped_column(Integer)
    parts: Mapped[list[object]]
    first_actor: Mapped[str] = mapped_column(Text)
    second_actor: Mapped[str | None] = mapped_column(Text)
    is_withdrawn: Mapped[bool] = mapped_column(Boolean, server_default=text("false"))
    asked_at: Mapped[dt.datetime] = mapped_column(Moment)


class RefundRequest(Base):
    """A requested refund; this system never sends one."""

    __tablename__ = "refund_requests"
    __table_args__ = (
        CheckConstraint("amount_minor > 0", name="amount_minor"),
        Index(None, "account_id"),
        {"schema": SCHEMA},
    )

    id: Mapped[int] = mapped_column(BigInteger, Identity(), primary_key=True)
    transfer_id: Mapped[int | None] = mapped_column(ForeignKey(Transfer.id))
    account_id: Mapped[int | None] = mapped_column(BigInteger)
    currency: Mapped[str] = mapped_column(Text)
    amount_minor: Mapped[int] = mapped_column(BigInteger)
    reason: Mapped[str] = mapped_column(Text)
    actor: Mapped[str] = mapped_column(Text)
    asked_at: Mapped[dt.datetime] = mapped_column(Moment)
