"""Store for each bank line why it pays nothing; an account's format from a day on; seen files."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import TIMESTAMP

revision = "0012"
down_revision = "0011"

#: Lines without any day get the closing day of their statement.
_DAYS = """
UPDATE billing.bank_lines AS l
SET booking_date = (SELECT min(COALESCE(s.closing_day, s.to_date)) FROM billing.statement_lines AS m
                    JOIN billing.statements AS s ON s.digest = m.statement WHERE m.line = l.key)
WHERE l.booking_date IS NULL AND NOT l.is_split
"""
#: Lines that were split before and have no transfer. The others get a reason when matching runs.
_REASONS = """
UPDATE billing.bank_lines AS l
SET pays_nothing = CASE WHEN l.amount_minor < 0 THEN 'own_payment' ELSE 'no_amount' END
WHERE l.is_split AND NOT EXISTS (SELECT FROM billing.transfers AS t WHERE t.line = l.key)
"""


def upgrade() -> None:
    """Add the columns, the table of format switches, and the reasons of existing lines."""
    op.add_column("bank_lines", sa.Column("pays_nothing", sa.Text()), schema="billing")
    op.execute(_DAYS)
    op.execute(_REASONS)
    op.create_index(
        "bank_lines_no_end_idx",
        "bank_lines",
        ["account", "format"],
        schema="billing",
        postgresql_where=sa.text("NOT is_split AND pays_nothing IS NULL"),
    )
    op.drop_index("bank_lines_unsplit_idx", "bank_lines", schema="billing")
    op.create_index(
        "bank_lines_own_payment_idx",
        "bank_lines",
        ["account", "currency", "amount_minor"],
        schema="billing",
        postgresql_where=sa.text("pays_nothing = 'own_payment'"),
    )
    op.create_index(
        "transfers_account_currency_amount_minor_idx",
        "transfers",
        ["account", "currency", "amount_minor"],
        schema="billing",
    )
    for column in ("seen_by", "seen_because"):
        op.add_column("statement_files", sa.Column(column, sa.Text()), schema="billing")
    op.create_table(
        "bank_format_switches",
        sa.Column("number", sa.Text(), nullable=False),
        sa.Column("currency", sa.Text(), nullable=False),
        sa.Column("from_day", sa.Date(), nullable=False),
        sa.Column("format", sa.Text(), nullable=False),
        sa.Column("former_number", sa.Text(), nullable=False),
        sa.Column("added_by", sa.Text(), nullable=False),
        sa.Column("added_at", TIMESTAMP(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("number", "currency", "from_day", name="bank_format_switches_pkey"),
        sa.ForeignKeyConstraint(
            ["number", "currency"],
            ["billing.bank_accounts.number", "billing.bank_accounts.currency"],
            name="bank_format_switches_number_currency_fkey",
        ),
        schema="billing",
    )


def downgrade() -> None:
    """Drop what was added."""
    op.drop_table("bank_format_switches", schema="billing")
    for column in ("seen_because", "seen_by"):
        op.drop_column("statement_files", column, schema="billing")
    op.drop_index("transfers_account_currency_amount_minor_idx", "transfers", schema="billing")
    op.drop_index("bank_lines_own_payment_idx", "bank_lines", schema="billing")
    op.create_index(
        "bank_lines_unsplit_idx",
        "bank_lines",
        ["account", "format"],
        schema="billing",
        postgresql_where=sa.text("NOT is_split"),
    )
    op.drop_index("bank_lines_no_end_idx", "bank_lines", schema="billing")
    op.drop_column("bank_lines", "pays_nothing", schema="billing")
