"""Bank statements as received: our bank accounts, files, statements, lines and their wordings.

A digest of their content identifies statements and lines, so that files imported in any order, and
more than once, leave the same rows.
"""

import datetime as dt
import uuid

from sqlalchemy import CheckConstraint, ForeignKey, ForeignKeyConstraint, Index, text
from sqlalchemy.orm import Mapped, mapped_column

from models.base import BigInt, NewId, Ours, partial_index

#: The format of an account on days on which it recognises no money: it has another number then.
NO_FORMAT = "none"


class BankAccount(Ours, table="bank_accounts"):
    """A bank account of ours that may receive money.

    `number`: its IBAN, or bank and number. Only statements in `format` are read for payments.
    `customer_id`: the account that this virtual IBAN belongs to.
    """

    __table_args__ = (CheckConstraint("currency ~ '^[A-Z]{3}$'", name="currency"),)

    number: Mapped[str] = mapped_column(primary_key=True)
    currency: Mapped[str] = mapped_column(primary_key=True)
    format: Mapped[str]
    customer_id: Mapped[BigInt | None]
    added_by: Mapped[str]
    added_at: Mapped[dt.datetime]


class FormatSwitch(Ours, table="bank_format_switches"):
    """The day from which a bank account of ours recognises money in another format.

    `format`: none, if the account has another number from then on. `former_number`: the account's
    number until then.
    """

    __table_args__ = (
        ForeignKeyConstraint(
            ["number", "currency"],
            ["billing.bank_accounts.number", "billing.bank_accounts.currency"],
        ),
    )

    number: Mapped[str] = mapped_column(primary_key=True)
    currency: Mapped[str] = mapped_column(primary_key=True)
    from_day: Mapped[dt.date] = mapped_column(primary_key=True)
    format: Mapped[str]
    former_number: Mapped[str]
    added_by: Mapped[str]
    added_at: Mapped[dt.datetime]


class StatementFile(Ours, table="statement_files"):
    """A file as received. `error` and `reason` tell why it was refused.

    `account`: the account number that the sender gave for a file that does not name it. `seen_by`:
    who said that a refused file needs nothing more, and `seen_because` why.
    """

    __table_args__ = (
        CheckConstraint("state IN ('received', 'imported', 'refused')", name="state"),
        partial_index("statement_files_due_idx", "id", where="state = 'received'"),
    )

    id: Mapped[NewId]
    sha256: Mapped[bytes] = mapped_column(index=True, unique=True)
    name: Mapped[str]
    account: Mapped[str | None]
    size: Mapped[int]
    state: Mapped[str] = mapped_column(server_default=text("'received'"))
    error: Mapped[str | None]
    reason: Mapped[str | None]
    received_at: Mapped[dt.datetime]
    finished_at: Mapped[dt.datetime | None]
    seen_by: Mapped[str | None]
    seen_because: Mapped[str | None]


class StatementFilePart(Ours, table="statement_file_parts"):
    """A part of a file's bytes; the parts in order are the file."""

    __table_args__ = (CheckConstraint("octet_length(content) <= 1048576", name="size"),)

    file_id: Mapped[int] = mapped_column(ForeignKey(StatementFile.id), primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    content: Mapped[bytes]


class Statement(Ours, table="statements"):
    """One statement of one account, identified by a digest of all its content.

    `identity`: a digest of its account, number and period. `holds`: problems found when it was
    read. `chain_holds`: contradictions to the account's other statements, recomputed at each
    import. Amounts are in minor units.
    """

    __table_args__ = (
        Index(None, "account", "format"),
        partial_index("statements_held_idx", "account", where="is_held"),
    )

    digest: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    identity: Mapped[uuid.UUID]
    account: Mapped[str]
    format: Mapped[str]
    family: Mapped[str]
    currency: Mapped[str | None]
    statement_id: Mapped[str | None]
    sequence: Mapped[str | None]
    page: Mapped[str | None]
    created: Mapped[str | None]
    from_date: Mapped[dt.date | None]
    to_date: Mapped[dt.date | None]
    opening_minor: Mapped[BigInt | None]
    opening_day: Mapped[dt.date | None]
    closing_minor: Mapped[BigInt | None]
    closing_day: Mapped[dt.date | None]
    booked_minor: Mapped[BigInt]
    line_count: Mapped[int]
    holds: Mapped[list[object]]
    chain_holds: Mapped[list[object]] = mapped_column(server_default=text("'[]'::jsonb"))
    is_held: Mapped[bool]
    released_by: Mapped[str | None]
    released_because: Mapped[str | None]
    recorded_at: Mapped[dt.datetime]


class FileStatement(Ours, table="file_statements"):
    """The statements that a file contained."""

    file_id: Mapped[int] = mapped_column(ForeignKey(StatementFile.id), primary_key=True)
    statement: Mapped[uuid.UUID] = mapped_column(ForeignKey(Statement.digest), primary_key=True)


class BankLine(Ours, table="bank_lines"):
    """A line of an account's history, stored once for all the statements that contain it.

    `key`: a digest that distinguishes it from every other line. `is_split`: it was split into
    transfers, or found to be none. `pays_nothing`: why it has no transfer; null for a line that has
    one, or that matching has not seen yet.
    """

    __table_args__ = (
        Index("bank_lines_account_idx", "account", "format", "booking_date"),
        partial_index(
            "bank_lines_reference_idx",
            "account",
            "bank_reference",
            where="bank_reference IS NOT NULL",
        ),
        partial_index(
            "bank_lines_no_end_idx",
            "account",
            "format",
            where="NOT is_split AND pays_nothing IS NULL",
        ),
        partial_index(
            "bank_lines_own_payment_idx",
            "account",
            "currency",
            "amount_minor",
            where="pays_nothing = 'own_payment'",
        ),
    )

    key: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    account: Mapped[str]
    format: Mapped[str]
    currency: Mapped[str]
    amount_minor: Mapped[BigInt]
    status: Mapped[str]
    booking_date: Mapped[dt.date | None]
    bank_reference: Mapped[str | None]
    is_split: Mapped[bool] = mapped_column(server_default=text("false"))
    pays_nothing: Mapped[str | None]


class LineWording(Ours, table="line_wordings"):
    """The content of a line in a statement. Two wordings of one line go to manual review."""

    line: Mapped[uuid.UUID] = mapped_column(ForeignKey(BankLine.key), primary_key=True)
    digest: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    payload: Mapped[dict[str, object]]


class StatementLine(Ours, table="statement_lines"):
    """The lines of a statement."""

    statement: Mapped[uuid.UUID] = mapped_column(ForeignKey(Statement.digest), primary_key=True)
    line: Mapped[uuid.UUID] = mapped_column(ForeignKey(BankLine.key), primary_key=True, index=True)
