"""Create the tables of bank statements, transfers, allocations and unapplied cash."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB, TIMESTAMP

revision = "0007"
down_revision = "0006"

MOMENT = TIMESTAMP(timezone=True)

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
#: Append-only tables: a reversal is a row that names what it undoes.
ONLY_ADDED = ("transfer_decisions", "allocations", "unapplied_cash")


def upgrade() -> None:
    """Create the tables in the order of their foreign keys."""
    _create_bank_accounts()
    _create_bank_lines()
    _create_payers()
    _create_statement_files()
    _create_statements()
    _create_transfer_invoices()
    _create_file_statements()
    _create_line_wordings()
    _create_statement_file_parts()
    _create_statement_lines()
    _create_transfers()
    _create_refund_requests()
    _create_transfer_confirmations()
    _create_transfer_decisions()
    _create_allocations()
    _create_unapplied_cash()
    op.execute(
        "CREATE FUNCTION billing.refuse_bank_change() RETURNS trigger LANGUAGE plpgsql AS $$"
        " BEGIN RAISE EXCEPTION 'rows of % are never changed', TG_TABLE_NAME; END $$"
    )
    for table in ONLY_ADDED:
        op.execute(
            f"CREATE TRIGGER only_added BEFORE UPDATE OR DELETE OR TRUNCATE ON billing.{table}"
            " FOR EACH STATEMENT EXECUTE FUNCTION billing.refuse_bank_change()"
        )


def _create_bank_accounts() -> None:
    op.create_table(
        "bank_accounts",
        sa.Column("number", sa.Text(), nullable=False),
        sa.Column("currency", sa.Text(), nullable=False),
        sa.Column("format", sa.Text(), nullable=False),
        sa.Column("customer_id", sa.BigInteger(), nullable=True),
        sa.Column("added_by", sa.Text(), nullable=False),
        sa.Column("added_at", MOMENT, nullable=False),
        sa.CheckConstraint("currency ~ '^[A-Z]{3}$'", name="bank_accounts_currency_check"),
        sa.PrimaryKeyConstraint("number", "currency", name="bank_accounts_pkey"),
        schema="billing",
    )


def _create_bank_lines() -> None:
    op.create_table(
        "bank_lines",
        sa.Column("key", sa.UUID(), nullable=False),
        sa.Column("account", sa.Text(), nullable=False),
        sa.Column("format", sa.Text(), nullable=False),
        sa.Column("currency", sa.Text(), nullable=False),
        sa.Column("amount_minor", sa.BigInteger(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("booking_date", sa.Date(), nullable=True),
        sa.Column("bank_reference", sa.Text(), nullable=True),
        sa.Column("is_split", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.PrimaryKeyConstraint("key", name="bank_lines_pkey"),
        schema="billing",
    )
    op.create_index(
        "bank_lines_account_idx",
        "bank_lines",
        ["account", "format", "booking_date"],
        schema="billing",
    )
    op.create_index(
        "bank_lines_reference_idx",
        "bank_lines",
        ["account", "bank_reference"],
        schema="billing",
        postgresql_where=sa.text("bank_reference IS NOT NULL"),
    )
    op.create_index(
        "bank_lines_unsplit_idx",
        "bank_lines",
        ["account", "format"],
        schema="billing",
        postgresql_where=sa.text("NOT is_split"),
    )


def _create_payers() -> None:
    op.create_table(
        "payers",
        sa.Column("iban", sa.Text(), nullable=False),
        sa.Column("account_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("confirmed", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("matched", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("declined", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.CheckConstraint(
            "confirmed >= 0 AND matched >= 0 AND declined >= 0", name="payers_counts_check"
        ),
        sa.PrimaryKeyConstraint("iban", "account_id", name="payers_pkey"),
        schema="billing",
    )


def _create_statement_files() -> None:
    op.create_table(
        "statement_files",
        sa.Column("id", sa.BigInteger(), sa.Identity(), nullable=False),
        sa.Column("sha256", sa.LargeBinary(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("account", sa.Text(), nullable=True),
        sa.Column("size", sa.Integer(), nullable=False),
        sa.Column("state", sa.Text(), server_default=sa.text("'received'"), nullable=False),
        sa.Column("error", sa.Text(), nullable=True),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("received_at", MOMENT, nullable=False),
        sa.Column("finished_at", MOMENT, nullable=True),
        sa.CheckConstraint(
            "state IN ('received', 'imported', 'refused')", name="statement_files_state_check"
        ),
        sa.PrimaryKeyConstraint("id", name="statement_files_pkey"),
        schema="billing",
    )
    op.create_index(
        "statement_files_due_idx",
        "statement_files",
        ["id"],
        schema="billing",
        postgresql_where=sa.text("state = 'received'"),
    )
    op.create_index(
        "statement_files_sha256_idx", "statement_files", ["sha256"], unique=True, schema="billing"
    )


def _create_statements() -> None:
    op.create_table(
        "statements",
        sa.Column("digest", sa.UUID(), nullable=False),
        sa.Column("identity", sa.UUID(), nullable=False),
        sa.Column("account", sa.Text(), nullable=False),
        sa.Column("format", sa.Text(), nullable=False),
        sa.Column("family", sa.Text(), nullable=False),
        sa.Column("currency", sa.Text(), nullable=True),
        sa.Column("statement_id", sa.Text(), nullable=True),
        sa.Column("sequence", sa.Text(), nullable=True),
        sa.Column("page", sa.Text(), nullable=True),
        sa.Column("created", sa.Text(), nullable=True),
        sa.Column("from_date", sa.Date(), nullable=True),
        sa.Column("to_date", sa.Date(), nullable=True),
        sa.Column("opening_minor", sa.BigInteger(), nullable=True),
        sa.Column("opening_day", sa.Date(), nullable=True),
        sa.Column("closing_minor", sa.BigInteger(), nullable=True),
        sa.Column("closing_day", sa.Date(), nullable=True),
        sa.Column("booked_minor", sa.BigInteger(), nullable=False),
        sa.Column("line_count", sa.Integer(), nullable=False),
        sa.Column("holds", JSONB, nullable=False),
        sa.Column("chain_holds", JSONB, server_default=sa.text("'[]'::jsonb"), nullable=False),
        sa.Column("is_held", sa.Boolean(), nullable=False),
        sa.Column("released_by", sa.Text(), nullable=True),
        sa.Column("released_because", sa.Text(), nullable=True),
        sa.Column("recorded_at", MOMENT, nullable=False),
        sa.PrimaryKeyConstraint("digest", name="statements_pkey"),
        schema="billing",
    )
    op.create_index(
        "statements_account_format_idx", "statements", ["account", "format"], schema="billing"
    )
    op.create_index(
        "statements_held_idx",
        "statements",
        ["account"],
        schema="billing",
        postgresql_where=sa.text("is_held"),
    )


def _create_transfer_invoices() -> None:
    op.create_table(
        "transfer_invoices",
        sa.Column("id", sa.BigInteger(), sa.Identity(), nullable=False),
        sa.Column("invoice_id", sa.BigInteger(), nullable=True),
        sa.Column("account_id", sa.BigInteger(), nullable=False),
        sa.Column("plan_id", sa.BigInteger(), nullable=False),
        sa.Column("number", sa.Text(), nullable=False),
        sa.Column("reference", sa.Text(), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("currency", sa.Text(), nullable=False),
        sa.Column("due_minor", sa.BigInteger(), nullable=False),
        sa.Column("settled_minor", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("state", sa.Text(), server_default=sa.text("'open'"), nullable=False),
        sa.Column("months", sa.Integer(), nullable=False),
        sa.Column("period_start", MOMENT, nullable=True),
        sa.Column("period_end", MOMENT, nullable=True),
        sa.Column("issued_at", MOMENT, nullable=False),
        sa.Column("due_at", MOMENT, nullable=False),
        sa.Column("next_step_at", MOMENT, nullable=True),
        sa.Column("steps_done", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("finished_at", MOMENT, nullable=True),
        sa.CheckConstraint(
            "state IN ('open', 'paid', 'void', 'refunded')", name="transfer_invoices_state_check"
        ),
        sa.CheckConstraint("due_minor > 0", name="transfer_invoices_due_minor_check"),
        sa.CheckConstraint("period_end > period_start", name="transfer_invoices_period_end_check"),
        sa.CheckConstraint(
            "settled_minor BETWEEN 0 AND due_minor", name="transfer_invoices_settled_minor_check"
        ),
        sa.PrimaryKeyConstraint("id", name="transfer_invoices_pkey"),
        schema="billing",
    )
    op.create_index(
        "transfer_invoices_account_idx",
        "transfer_invoices",
        ["account_id", "state"],
        schema="billing",
    )
    op.create_index(
        "transfer_invoices_due_idx",
        "transfer_invoices",
        ["next_step_at"],
        schema="billing",
        postgresql_where=sa.text("state = 'open'"),
    )
    op.create_index(
        "transfer_invoices_key_idx", "transfer_invoices", ["key"], unique=True, schema="billing"
    )
    op.create_index(
        "transfer_invoices_number_idx",
        "transfer_invoices",
        ["number"],
        unique=True,
        schema="billing",
    )
    op.create_index(
        "transfer_invoices_reference_idx",
        "transfer_invoices",
        ["reference"],
        unique=True,
        schema="billing",
    )


def _create_file_statements() -> None:
    op.create_table(
        "file_statements",
        sa.Column("file_id", sa.BigInteger(), nullable=False),
        sa.Column("statement", sa.UUID(), nullable=False),
        sa.ForeignKeyConstraint(
            ["file_id"], ["billing.statement_files.id"], name="file_statements_file_id_fkey"
        ),
        sa.ForeignKeyConstraint(
            ["statement"], ["billing.statements.digest"], name="file_statements_statement_fkey"
        ),
        sa.PrimaryKeyConstraint("file_id", "statement", name="file_statements_pkey"),
        schema="billing",
    )


def _create_line_wordings() -> None:
    op.create_table(
        "line_wordings",
        sa.Column("line", sa.UUID(), nullable=False),
        sa.Column("digest", sa.UUID(), nullable=False),
        sa.Column("payload", JSONB, nullable=False),
        sa.ForeignKeyConstraint(
            ["line"], ["billing.bank_lines.key"], name="line_wordings_line_fkey"
        ),
        sa.PrimaryKeyConstraint("line", "digest", name="line_wordings_pkey"),
        schema="billing",
    )


def _create_statement_file_parts() -> None:
    op.create_table(
        "statement_file_parts",
        sa.Column("file_id", sa.BigInteger(), nullable=False),
        sa.Column("number", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("content", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(
            ["file_id"], ["billing.statement_files.id"], name="statement_file_parts_file_id_fkey"
        ),
        sa.PrimaryKeyConstraint("file_id", "number", name="statement_file_parts_pkey"),
        schema="billing",
    )


def _create_statement_lines() -> None:
    op.create_table(
        "statement_lines",
        sa.Column("statement", sa.UUID(), nullable=False),
        sa.Column("line", sa.UUID(), nullable=False),
        sa.ForeignKeyConstraint(
            ["line"], ["billing.bank_lines.key"], name="statement_lines_line_fkey"
        ),
        sa.ForeignKeyConstraint(
            ["statement"], ["billing.statements.digest"], name="statement_lines_statement_fkey"
        ),
        sa.PrimaryKeyConstraint("statement", "line", name="statement_lines_pkey"),
        schema="billing",
    )
    op.create_index("statement_lines_line_idx", "statement_lines", ["line"], schema="billing")


def _create_transfers() -> None:
    op.create_table(
        "transfers",
        sa.Column("id", sa.BigInteger(), sa.Identity(), nullable=False),
        sa.Column("line", sa.UUID(), nullable=False),
        sa.Column("place", sa.Integer(), nullable=False),
        sa.Column("account", sa.Text(), nullable=False),
        sa.Column("currency", sa.Text(), nullable=False),
        sa.Column("amount_minor", sa.BigInteger(), nullable=False),
        sa.Column("booking_date", sa.Date(), nullable=False),
        sa.Column("payer_iban", sa.Text(), nullable=True),
        sa.Column("customer_id", sa.BigInteger(), nullable=True),
        sa.Column("state", sa.Text(), server_default=sa.text("'open'"), nullable=False),
        sa.Column("review", sa.Text(), nullable=True),
        sa.Column("allocated_minor", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("credited_minor", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("decision_id", sa.BigInteger(), nullable=True),
        sa.Column("reversed_by", sa.BigInteger(), nullable=True),
        sa.Column("version", sa.Integer(), server_default=sa.text("1"), nullable=False),
        sa.Column("recorded_at", MOMENT, nullable=False),
        sa.CheckConstraint(f"state IN {STATES!r}", name="transfers_state_check"),
        sa.CheckConstraint(
            "allocated_minor + credited_minor <= greatest(amount_minor, 0)",
            name="transfers_whole_check",
        ),
        sa.CheckConstraint(
            "allocated_minor >= 0 AND credited_minor >= 0", name="transfers_parts_check"
        ),
        sa.ForeignKeyConstraint(["line"], ["billing.bank_lines.key"], name="transfers_line_fkey"),
        sa.PrimaryKeyConstraint("id", name="transfers_pkey"),
        sa.UniqueConstraint("reversed_by", name="transfers_reversed_by_key"),
        schema="billing",
    )
    op.create_index(
        "transfers_account_booking_date_idx",
        "transfers",
        ["account", "booking_date"],
        schema="billing",
    )
    op.create_index(
        "transfers_line_place_idx", "transfers", ["line", "place"], unique=True, schema="billing"
    )
    op.create_index(
        "transfers_review_idx",
        "transfers",
        ["id"],
        schema="billing",
        postgresql_where=sa.text("review IS NOT NULL"),
    )
    op.create_index(
        "transfers_undecided_idx",
        "transfers",
        ["id"],
        schema="billing",
        postgresql_where=sa.text("state IN ('open', 'waiting', 'frozen')"),
    )


def _create_refund_requests() -> None:
    op.create_table(
        "refund_requests",
        sa.Column("id", sa.BigInteger(), sa.Identity(), nullable=False),
        sa.Column("transfer_id", sa.BigInteger(), nullable=True),
        sa.Column("account_id", sa.BigInteger(), nullable=True),
        sa.Column("currency", sa.Text(), nullable=False),
        sa.Column("amount_minor", sa.BigInteger(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("asked_at", MOMENT, nullable=False),
        sa.CheckConstraint("amount_minor > 0", name="refund_requests_amount_minor_check"),
        sa.ForeignKeyConstraint(
            ["transfer_id"], ["billing.transfers.id"], name="refund_requests_transfer_id_fkey"
        ),
        sa.PrimaryKeyConstraint("id", name="refund_requests_pkey"),
        schema="billing",
    )
    op.create_index(
        "refund_requests_account_id_idx", "refund_requests", ["account_id"], schema="billing"
    )


def _create_transfer_confirmations() -> None:
    op.create_table(
        "transfer_confirmations",
        sa.Column("id", sa.BigInteger(), sa.Identity(), nullable=False),
        sa.Column("transfer_id", sa.BigInteger(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("parts", JSONB, nullable=False),
        sa.Column("first_actor", sa.Text(), nullable=False),
        sa.Column("second_actor", sa.Text(), nullable=True),
        sa.Column("is_withdrawn", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("asked_at", MOMENT, nullable=False),
        sa.ForeignKeyConstraint(
            ["transfer_id"],
            ["billing.transfers.id"],
            name="transfer_confirmations_transfer_id_fkey",
        ),
        sa.PrimaryKeyConstraint("id", name="transfer_confirmations_pkey"),
        schema="billing",
    )
    op.create_index(
        "transfer_confirmations_open_idx",
        "transfer_confirmations",
        ["transfer_id"],
        unique=True,
        schema="billing",
        postgresql_where=sa.text("second_actor IS NULL AND NOT is_withdrawn"),
    )


def _create_transfer_decisions() -> None:
    op.create_table(
        "transfer_decisions",
        sa.Column("id", sa.BigInteger(), sa.Identity(), nullable=False),
        sa.Column("transfer_id", sa.BigInteger(), nullable=True),
        sa.Column("rule", sa.Text(), nullable=False),
        sa.Column("outcome", sa.Text(), nullable=False),
        sa.Column("evidence", JSONB, nullable=False),
        sa.Column("engine_version", sa.Text(), nullable=False),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("decided_at", MOMENT, nullable=False),
        sa.ForeignKeyConstraint(
            ["transfer_id"], ["billing.transfers.id"], name="transfer_decisions_transfer_id_fkey"
        ),
        sa.PrimaryKeyConstraint("id", name="transfer_decisions_pkey"),
        schema="billing",
    )
    op.create_index(
        "transfer_decisions_transfer_id_id_idx",
        "transfer_decisions",
        ["transfer_id", "id"],
        schema="billing",
    )


def _create_allocations() -> None:
    op.create_table(
        "allocations",
        sa.Column("id", sa.BigInteger(), sa.Identity(), nullable=False),
        sa.Column("transfer_id", sa.BigInteger(), nullable=True),
        sa.Column("transfer_invoice_id", sa.BigInteger(), nullable=False),
        sa.Column("amount_minor", sa.BigInteger(), nullable=False),
        sa.Column("decision_id", sa.BigInteger(), nullable=False),
        sa.Column("undoes", sa.BigInteger(), nullable=True),
        sa.Column("recorded_at", MOMENT, nullable=False),
        sa.CheckConstraint(
            "(amount_minor > 0) = (undoes IS NULL)", name="allocations_undoes_check"
        ),
        sa.CheckConstraint("amount_minor <> 0", name="allocations_amount_minor_check"),
        sa.ForeignKeyConstraint(
            ["decision_id"], ["billing.transfer_decisions.id"], name="allocations_decision_id_fkey"
        ),
        sa.ForeignKeyConstraint(
            ["transfer_id"], ["billing.transfers.id"], name="allocations_transfer_id_fkey"
        ),
        sa.ForeignKeyConstraint(
            ["transfer_invoice_id"],
            ["billing.transfer_invoices.id"],
            name="allocations_transfer_invoice_id_fkey",
        ),
        sa.PrimaryKeyConstraint("id", name="allocations_pkey"),
        sa.UniqueConstraint("undoes", name="allocations_undoes_key"),
        schema="billing",
    )
    op.create_index("allocations_transfer_id_idx", "allocations", ["transfer_id"], schema="billing")
    op.create_index(
        "allocations_transfer_invoice_id_idx",
        "allocations",
        ["transfer_invoice_id"],
        schema="billing",
    )


def _create_unapplied_cash() -> None:
    op.create_table(
        "unapplied_cash",
        sa.Column("id", sa.BigInteger(), sa.Identity(), nullable=False),
        sa.Column("account_id", sa.BigInteger(), nullable=False),
        sa.Column("currency", sa.Text(), nullable=False),
        sa.Column("amount_minor", sa.BigInteger(), nullable=False),
        sa.Column("why", sa.Text(), nullable=False),
        sa.Column("transfer_id", sa.BigInteger(), nullable=True),
        sa.Column("decision_id", sa.BigInteger(), nullable=False),
        sa.Column("recorded_at", MOMENT, nullable=False),
        sa.CheckConstraint("amount_minor <> 0", name="unapplied_cash_amount_minor_check"),
        sa.ForeignKeyConstraint(
            ["decision_id"],
            ["billing.transfer_decisions.id"],
            name="unapplied_cash_decision_id_fkey",
        ),
        sa.ForeignKeyConstraint(
            ["transfer_id"], ["billing.transfers.id"], name="unapplied_cash_transfer_id_fkey"
        ),
        sa.PrimaryKeyConstraint("id", name="unapplied_cash_pkey"),
        schema="billing",
    )
    op.create_index(
        "unapplied_cash_account_id_currency_idx",
        "unapplied_cash",
        ["account_id", "currency"],
        schema="billing",
    )
    op.create_index(
        "unapplied_cash_transfer_id_idx", "unapplied_cash", ["transfer_id"], schema="billing"
    )


def downgrade() -> None:
    """Drop the tables with their rows."""
    for table in (
        "unapplied_cash",
        "allocations",
        "transfer_decisions",
        "transfer_confirmations",
        "refund_requests",
        "transfers",
        "statement_lines",
        "statement_file_parts",
        "line_wordings",
        "file_statements",
        "transfer_invoices",
        "statements",
        "statement_files",
        "payers",
        "bank_lines",
        "bank_accounts",
    ):
        op.drop_table(table, schema="billing")
    op.execute("DROP FUNCTION billing.refuse_bank_change()")
