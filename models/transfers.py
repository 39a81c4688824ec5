"""Bank transfers, decisions about them, the invoices they pay and unapplied cash.

Decisions and movements of money are only added; a reversal is a counter-entry that names what it
undoes.
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

#: A transfer's states; docs/glossary.md explains them.
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
    """An invoice that is paid by bank transfer, with its reference and the amount settled.

    `invoice_id` is the main app's row. Amounts are in minor units. A constraint keeps
    `settled_minor` within `due_minor`. `number` and `reference` are never reused. `waived_minor`:
    a shortfall that was accepted, such as a bank's fee. `questioned_at`: when a reviewer was asked
    about money that may be for it.
    """

    __tablename__ = "transfer_invoices"
    __table_args__ = (
        CheckConstraint("due_minor > 0", name="due_minor"),
        CheckConstraint("settled_minor BETWEEN 0 AND due_minor", name="settled_minor"),
        CheckConstraint("waived_minor >= 0", name="waived_minor"),
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
    waived_minor: Mapped[int] = mapped_column(BigInteger, server_default=text("0"))
    state: Mapped[str] = mapped_column(Text, server_default=text("'open'"))
    months: Mapped[int] = mapped_column(Integer)
    period_start: Mapped[dt.datetime | None] = mapped_column(Moment)
    period_end: Mapped[dt.datetime | None] = mapped_column(Moment)
    issued_at: Mapped[dt.datetime] = mapped_column(Moment)
    due_at: Mapped[dt.datetime] = mapped_column(Moment)
    next_step_at: Mapped[dt.datetime | None] = mapped_column(Moment)
    steps_done: Mapped[int] = mapped_column(Integer, server_default=text("0"))
    questioned_at: Mapped[dt.datetime | None] = mapped_column(Moment)
    finished_at: Mapped[dt.datetime | None] = mapped_column(Moment)

    @property
    def open_minor(self) -> int:
        """The amount that is still to be paid."""
        return max(self.due_minor - self.settled_minor - self.waived_minor, 0)


class Transfer(Base):
    """One payment of a bank line: the line itself, or one transaction of a batch booking.

    `amount_minor` is positive for money received, negative for money returned. A constraint keeps
    the sum of allocations and unapplied cash within it. `version` counts the changes, so that two
    reviewers can't both decide. `review`: why a reviewer should look at it; null: no need.
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
    """A decision about a transfer, by a rule or a reviewer, with its evidence.

    `transfer_id` null: a reviewer let an account's unapplied cash pay an invoice.
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
    """Money of a transfer allocated to an invoice; negative if it undoes another allocation.

    `transfer_id` null: the money comes from the account's unapplied cash.
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
    """A movement of an account's money that is on no invoice.

    The sum is the account's unapplied cash; a returned payment may make it negative.
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
    """An IBAN that paid for an account.

    `matched` counts payments by reference, `confirmed` and `declined` the decisions of reviewers.
    """

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
    """A confirmation above the limit that waits for a second reviewer."""

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
    """A refund that a reviewer requested; the worker itself never sends money."""

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
