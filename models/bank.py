"""Bank statements as received: our bank accounts, files, statements, lines and their wordings.

A digest of their content identifies statements and lines, so that files imported in any order, and
more than once, leave the same rows.
"""

import datetime as dt
import uuid

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Date,
    ForeignKey,
    ForeignKeyConstraint,
    Identity,
    Index,
    Integer,
    LargeBinary,
    Text,
    text,
)
from sqlalchemy.dialects.postgresql import UUID
from sqlalchemy.orm import Mapped, mapped_column

from models.base import SCHEMA, Base, Moment

#: The format of an account on days on which it recognises no money: it has another number then.
NO_FORMAT = "none"


class BankAccount(Base):
    """A bank account of ours that may receive money.

    `number`: its IBAN, or bank and number. Only statements in `format` are read for payments.
    `customer_id`: the account that this virtual IBAN belongs to.
    """

    __tablename__ = "bank_accounts"
    __table_args__ = (
        CheckConstraint("currency ~ '^[A-Z]{3}$'", name="currency"),
        {"schema": SCHEMA},
    )

    number: Mapped[str] = mapped_column(Text, primary_key=True)
    currency: Mapped[str] = mapped_column(Text, primary_key=True)
    format: Mapped[str] = mapped_column(Text)
    customer_id: Mapped[int | None] = mapped_column(BigInteger)
    added_by: Mapped[str] = mapped_column(Text)
    added_at: Mapped[dt.datetime] = mapped_column(Moment)


class FormatSwitch(Base):
    """The day from which a bank account of ours recognises money in another format.

    `format`: none, if the account has another number from then on. `former_number`: the account's
    number until then.
    """

    __tablename__ = "bank_format_switches"
    __table_args__ = (
        ForeignKeyConstraint(
            ["number", "currency"],
            ["billing.bank_accounts.number", "billing.bank_accounts.currency"],
        ),
        {"schema": SCHEMA},
    )

    number: Mapped[str] = mapped_column(Text, primary_key=True)
    currency: Mapped[str] = mapped_column(Text, primary_key=True)
    from_day: Mapped[dt.date] = mapped_column(Date, primary_key=True)
    format: Mapped[str] = mapped_column(Text)
    former_number: Mapped[str] = mapped_column(Text)
    added_by: Mapped[str] = mapped_column(Text)
    added_at: Mapped[dt.datetime] = mapped_column(Moment)


class StatementFile(Base):
    """A file as received. `error` and `reason` tell why it was refused.

    `account`: the account number that the sender gave for a file that does not name it. `seen_by`:
    who said that a refused file needs nothing more, and `seen_because` why.
    """

    __tablename__ = "statement_files"
    __table_args__ = (
        CheckConstraint("state IN ('received', 'imported', 'refused')", name="state"),
        Index(None, "sha256", unique=True),
        Index("statement_files_due_idx", "id", postgresql_where=text("state = 'received'")),
        {"schema": SCHEMA},
    )

    id: Mapped[int] = mapped_column(BigInteger, Identity(), primary_key=True)
    sha256: Mapped[bytes] = mapped_column(LargeBinary)
    name: Mapped[str] = mapped_column(Text)
    account: Mapped[str | None] = mapped_column(Text)
    size: Mapped[int] = mapped_column(Integer)
    state: Mapped[str] = mapped_column(Text, server_default=text("'received'"))
    error: Mapped[str | None] = mapped_column(Text)
    reason: Mapped[str | None] = mapped_column(Text)
    received_at: Mapped[dt.datetime] = mapped_column(Moment)
    finished_at: Mapped[dt.datetime | None] = mapped_column(Moment)
    seen_by: Mapped[str | None] = mapped_column(Text)
    seen_because: Mapped[str | None] = mapped_column(Text)


class StatementFilePart(Base):
    """A part of a file's bytes; the parts in order are the file."""

    __tablename__ = "statement_file_parts"
    __table_args__ = ({"schema": SCHEMA},)

    file_id: Mapped[int] = mapped_column(ForeignKey(StatementFile.id), primary_key=True)
    number: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=False)
    content: Mapped[bytes] = mapped_column(LargeBinary)


class Statement(Base):
    """One statement of one account, identified by a digest of all its content.

    `identity`: a digest of its account, number and period. `holds`: problems found when it was
    read. `chain_holds`: contradictions to the account's other statements, recomputed at each
    import. Amounts are in minor units.
    """

    __tablename__ = "statements"
    __table_args__ = (
        Index(None, "account", "format"),
        Index("statements_held_idx", "account", postgresql_where=text("is_held")),
        {"schema": SCHEMA},
    )

    digest: Mapped[uuid.UUID] = mapped_column(UUID, primary_key=True)
    identity: Mapped[uuid.UUID] = mapped_column(UUID)
    account: Mapped[str] = mapped_column(Text)
    format: Mapped[str] = mapped_column(Text)
    family: Mapped[str] = mapped_column(Text)
    currency: Mapped[str | None] = mapped_column(Text)
    statement_id: Mapped[str | None] = mapped_column(Text)
    sequence: Mapped[str | None] = mapped_column(Text)
    page: Mapped[str | None] = mapped_column(Text)
    created: Mapped[str | None] = mapped_column(Text)
    from_date: Mapped[dt.date | None] = mapped_column(Date)
    to_date: Mapped[dt.date | None] = mapped_column(Date)
    opening_minor: Mapped[int | None] = mapped_column(BigInteger)
    opening_day: Mapped[dt.date | None] = mapped_column(Date)
    closing_minor: Mapped[int | None] = mapped_column(BigInteger)
    closing_day: Mapped[dt.date | None] = mapped_column(Date)
    booked_minor: Mapped[int] = mapped_column(BigInteger)
    line_count: Mapped[int] = mapped_column(Integer)
    holds: Mapped[list[object]]
    chain_holds: Mapped[list[object]] = mapped_column(server_default=text("'[]'::jsonb"))
    is_held: Mapped[bool] = mapped_column(Boolean)
    released_by: Mapped[str | None] = mapped_column(Text)
    released_because: Mapped[str | None] = mapped_column(Text)
    recorded_at: Mapped[dt.datetime] = mapped_column(Moment)


class FileStatement(Base):
    """The statements that a file contained."""

    __tablename__ = "file_statements"
    __table_args__ = ({"schema": SCHEMA},)

    file_id: Mapped[int] = mapped_column(ForeignKey(StatementFile.id), primary_key=True)
    statement: Mapped[uuid.UUID] = mapped_column(
        UUID, ForeignKey(Statement.digest), primary_key=True
    )


class BankLine(Base):
    """A line of an account's history, stored once for all the statements that contain it.

    `key`: a digest that distinguishes it from every other line. `is_split`: it was split into
    transfers, or found to be none. `pays_nothing`: why it has no transfer; null for a line that has
    one, or that matching has not seen yet.
    """

    __tablename__ = "bank_lines"
    __table_args__ = (
        Index("bank_lines_account_idx", "account", "format", "booking_date"),
        Index(
            "bank_lines_reference_idx",
            "account",
            "bank_reference",
            postgresql_where=text("bank_reference IS NOT NULL"),
        ),
        Index(
            "bank_lines_no_end_idx",
            "account",
            "format",
            postgresql_where=text("NOT is_split AND pays_nothing IS NULL"),
        ),
        Index(
            "bank_lines_own_payment_idx",
            "account",
            "currency",
            "amount_minor",
            postgresql_where=text("pays_nothing = 'own_payment'"),
        ),
        {"schema": SCHEMA},
    )

    key: Mapped[uuid.UUID] = mapped_column(UUID, primary_key=True)
    account: Mapped[str] = mapped_column(Text)
    format: Mapped[str] = mapped_column(Text)
    currency: Mapped[str] = mapped_column(Text)
    amount_minor: Mapped[int] = mapped_column(BigInteger)
    status: Mapped[str] = mapped_column(Text)
    booking_date: Mapped[dt.date | None] = mapped_column(Date)
    bank_reference: Mapped[str | None] = mapped_column(Text)
    is_split: Mapped[bool] = mapped_column(Boolean, server_default=text("false"))
    pays_nothing: Mapped[str | None] = mapped_column(Text)


class LineWording(Base):
    """The content of a line in a statement. Two wordings of one line go to manual review."""

    __tablename__ = "line_wordings"
    __table_args__ = ({"schema": SCHEMA},)

    line: Mapped[uuid.UUID] = mapped_column(UUID, ForeignKey(BankLine.key), primary_key=True)
    digest: Mapped[uuid.UUID] = mapped_column(UUID, primary_key=True)
    payload: Mapped[dict[str, object]]


class StatementLine(Base):
    """The lines of a statement."""

    __tablename__ = "statement_lines"
    __table_args__ = (Index(None, "line"), {"schema": SCHEMA})

    statement: Mapped[uuid.UUID] = mapped_column(
        UUID, ForeignKey(Statement.digest), primary_key=True
    )
    line: Mapped[uuid.UUID] = mapped_column(UUID, ForeignKey(BankLine.key), primary_key=True)
