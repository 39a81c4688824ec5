"""Bank transfers, decisions about them, the invoices they pay and unapplied cash.

Decisions and movements of money are only added; a reversal is a counter-entry that names what it
undoes.
"""

import datetime as dt
import uuid

from sqlalchemy import CheckConstraint, ForeignKey, Index, Text, text
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.orm import Mapped, mapped_column

from models.bank import BankLine
from models.base import BigInt, Counter, NewId, Ours, OwnerId, partial_index

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


class TransferInvoice(Ours, table="transfer_invoices"):
    """An invoice that is paid by bank transfer, with its reference and the amount settled.

    `invoice_id` is the main app's row. Amounts are in minor units. A constraint keeps
    `settled_minor` within `due_minor`. `number` and `reference` are never reused. `waived_minor`:
    a shortfall that was accepted, such as a bank's fee. `questioned_at`: when a reviewer was asked
    about money that may be for it.
    """

    __table_args__ = (
        CheckConstraint("settled_minor BETWEEN 0 AND due_minor", name="settled_minor"),
        CheckConstraint("waived_minor >= 0", name="waived_minor"),
        CheckConstraint("state IN ('open', 'paid', 'void', 'refunded')", name="state"),
        CheckConstraint("period_end > period_start", name="period_end"),
        Index("transfer_invoices_account_idx", "account_id", "state"),
        Index(None, "account_id", "key", unique=True),
        partial_index("transfer_invoices_due_idx", "next_step_at", where="state = 'open'"),
        Index(
            "transfer_invoices_open_amount_idx",
            "currency",
            text("(due_minor - settled_minor - waived_minor)"),
            postgresql_where=text("state = 'open'"),
        ),
    )

    id: Mapped[NewId]
    invoice_id: Mapped[BigInt | None]
    account_id: Mapped[BigInt]
    plan_id: Mapped[BigInt]
    number: Mapped[str] = mapped_column(index=True, unique=True)
    reference: Mapped[str] = mapped_column(index=True, unique=True)
    key: Mapped[str]
    currency: Mapped[str]
    due_minor: Mapped[BigInt] = mapped_column(CheckConstraint("due_minor > 0", name="due_minor"))
    settled_minor: Mapped[BigInt] = mapped_column(server_default=text("0"))
    waived_minor: Mapped[BigInt] = mapped_column(server_default=text("0"))
    state: Mapped[str] = mapped_column(server_default=text("'open'"))
    months: Mapped[int]
    period_start: Mapped[dt.datetime | None]
    period_end: Mapped[dt.datetime | None]
    issued_at: Mapped[dt.datetime]
    due_at: Mapped[dt.datetime]
    next_step_at: Mapped[dt.datetime | None]
    steps_done: Mapped[Counter]
    questioned_at: Mapped[dt.datetime | None]
    finished_at: Mapped[dt.datetime | None]

    @property
    def open_minor(self) -> int:
        """The amount that is still to be paid."""
        return max(self.due_minor - self.settled_minor - self.waived_minor, 0)


class Transfer(Ours, table="transfers"):
    """One payment of a bank line: the line itself, or one transaction of a batch booking.

    `amount_minor` is positive for money received, negative for money returned. A constraint keeps
    the sum of allocations and unapplied cash within it. `version` counts the changes, so that two
    reviewers can't both decide. `review`: why a reviewer should look at it; null: no need.
    """

    __table_args__ = (
        CheckConstraint(f"state IN {STATES!r}", name="state"),
        CheckConstraint("allocated_minor >= 0 AND credited_minor >= 0", name="parts"),
        CheckConstraint(
            "allocated_minor + credited_minor <= greatest(amount_minor, 0)", name="whole"
        ),
        Index(None, "line", "place", unique=True),
        partial_index(
            "transfers_undecided_idx", "id", where="state IN ('open', 'waiting', 'frozen')"
        ),
        partial_index("transfers_review_idx", "id", where="review IS NOT NULL"),
        Index(None, "account", "booking_date"),
        Index(None, "account", "currency", "amount_minor"),
        Index(None, "currency", "amount_minor", "booking_date"),
    )

    id: Mapped[NewId]
    line: Mapped[uuid.UUID] = mapped_column(ForeignKey(BankLine.key))
    place: Mapped[int]
    account: Mapped[str]
    currency: Mapped[str]
    amount_minor: Mapped[BigInt]
    booking_date: Mapped[dt.date]
    payer_iban: Mapped[str | None]
    customer_id: Mapped[BigInt | None]
    state: Mapped[str] = mapped_column(server_default=text("'open'"))
    review: Mapped[str | None]
    allocated_minor: Mapped[BigInt] = mapped_column(server_default=text("0"))
    credited_minor: Mapped[BigInt] = mapped_column(server_default=text("0"))
    decision_id: Mapped[BigInt | None]
    reversed_by: Mapped[BigInt | None] = mapped_column(unique=True)
    version: Mapped[int] = mapped_column(server_default=text("1"))
    recorded_at: Mapped[dt.datetime]


class CustomerName(Ours, table="customer_names"):
    """The words of the names of an account with invoices, by which matching finds payers."""

    __table_args__ = (Index("customer_names_words_idx", "words", postgresql_using="gin"),)

    account_id: Mapped[OwnerId]
    words: Mapped[list[str]] = mapped_column(ARRAY(Text))


class NameToRead(Ours, table="names_to_read"):
    """An account with a new invoice or another name; the next matching reads its names."""

    id: Mapped[NewId]
    account_id: Mapped[BigInt]


class MatchingMark(Ours, table="matching_marks"):
    """The number of invoices that the last matching saw: one row, so that idle runs rest."""

    __table_args__ = (CheckConstraint("id = 1", name="one_row"),)

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    invoices: Mapped[BigInt]
    matched_at: Mapped[dt.datetime]


class Decision(Ours, table="transfer_decisions"):
    """A decision about a transfer, by a rule or a reviewer, with its evidence.

    `transfer_id` null: a reviewer let an account's unapplied cash pay an invoice.
    """

    __table_args__ = (Index(None, "transfer_id", "id"),)

    id: Mapped[NewId]
    transfer_id: Mapped[int | None] = mapped_column(ForeignKey(Transfer.id))
    rule: Mapped[str]
    outcome: Mapped[str]
    evidence: Mapped[dict[str, object]]
    engine_version: Mapped[str]
    actor: Mapped[str]
    decided_at: Mapped[dt.datetime]


class Allocation(Ours, table="allocations"):
    """Money of a transfer allocated to an invoice; negative if it undoes another allocation.

    `transfer_id` null: the money comes from the account's unapplied cash.
    """

    __table_args__ = (
        CheckConstraint("(amount_minor > 0) = (undoes IS NULL)", name="undoes"),
        CheckConstraint("amount_minor <> 0", name="amount_minor"),
    )

    id: Mapped[NewId]
    transfer_id: Mapped[int | None] = mapped_column(ForeignKey(Transfer.id), index=True)
    transfer_invoice_id: Mapped[int] = mapped_column(ForeignKey(TransferInvoice.id), index=True)
    amount_minor: Mapped[BigInt]
    decision_id: Mapped[int] = mapped_column(ForeignKey(Decision.id))
    undoes: Mapped[BigInt | None] = mapped_column(unique=True)
    recorded_at: Mapped[dt.datetime]


class UnappliedCash(Ours, table="unapplied_cash"):
    """A movement of an account's money that is on no invoice.

    The sum is the account's unapplied cash. A returned transfer takes it off invoices that it paid.
    """

    __table_args__ = (
        CheckConstraint("amount_minor <> 0", name="amount_minor"),
        Index(None, "account_id", "currency"),
    )

    id: Mapped[NewId]
    account_id: Mapped[BigInt]
    currency: Mapped[str]
    amount_minor: Mapped[BigInt]
    why: Mapped[str]
    transfer_id: Mapped[int | None] = mapped_column(ForeignKey(Transfer.id), index=True)
    decision_id: Mapped[int] = mapped_column(ForeignKey(Decision.id))
    recorded_at: Mapped[dt.datetime]


class Payer(Ours, table="payers"):
    """An IBAN that paid for an account.

    `matched` counts payments by reference, `confirmed` and `declined` the decisions of reviewers.
    """

    __table_args__ = (
        CheckConstraint("confirmed >= 0 AND matched >= 0 AND declined >= 0", name="counts"),
    )

    iban: Mapped[str] = mapped_column(primary_key=True)
    account_id: Mapped[OwnerId]
    confirmed: Mapped[Counter]
    matched: Mapped[Counter]
    declined: Mapped[Counter]


class ConfirmationRequest(Ours, table="transfer_confirmations"):
    """A confirmation above the limit that waits for a second reviewer."""

    __table_args__ = (
        partial_index(
            "transfer_confirmations_open_idx",
            "transfer_id",
            unique=True,
            where="second_actor IS NULL AND NOT is_withdrawn",
        ),
    )

    id: Mapped[NewId]
    transfer_id: Mapped[int] = mapped_column(ForeignKey(Transfer.id))
    version: Mapped[int]
    parts: Mapped[list[object]]
    first_actor: Mapped[str]
    second_actor: Mapped[str | None]
    is_withdrawn: Mapped[bool] = mapped_column(server_default=text("false"))
    asked_at: Mapped[dt.datetime]


class RefundRequest(Ours, table="refund_requests"):
    """A refund that a reviewer requested; the worker itself never sends money."""

    __table_args__ = (CheckConstraint("amount_minor > 0", name="amount_minor"),)

    id: Mapped[NewId]
    transfer_id: Mapped[int | None] = mapped_column(ForeignKey(Transfer.id))
    account_id: Mapped[BigInt | None] = mapped_column(index=True)
    currency: Mapped[str]
    amount_minor: Mapped[BigInt]
    reason: Mapped[str]
    actor: Mapped[str]
    asked_at: Mapped[dt.datetime]
