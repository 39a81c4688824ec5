"""Create credit cycles: due renewals, a lot's period, rollover and expiry."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import TIMESTAMP

revision = "0005"
down_revision = "0004"

MOMENT = TIMESTAMP(timezone=True)


def upgrade() -> None:
    """Create the table, and add the columns that lots and plans need."""
    op.create_table(
        "credit_calendars",
        sa.Column("account_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("anchor_at", MOMENT, nullable=False),
        sa.Column("period_number", sa.Integer(), nullable=False),
        sa.Column("first_period", sa.Integer(), nullable=False),
        sa.Column("next_due_at", MOMENT, nullable=False),
        sa.Column("plan_id", sa.BigInteger(), nullable=False),
        sa.Column("next_plan_id", sa.BigInteger(), nullable=True),
        sa.Column("ended_at", MOMENT, nullable=True),
        sa.Column("recorded_at", MOMENT, nullable=False),
        sa.CheckConstraint("period_number >= 1", name="credit_calendars_period_number_check"),
        sa.CheckConstraint("next_due_at > anchor_at", name="credit_calendars_next_due_at_check"),
        sa.PrimaryKeyConstraint("account_id", name="credit_calendars_pkey"),
        schema="billing",
    )
    op.create_index(
        "credit_calendars_due_idx",
        "credit_calendars",
        ["next_due_at"],
        schema="billing",
        postgresql_where=sa.text("ended_at IS NULL"),
    )
    rollover_cap = sa.Column(
        "rollover_cap", sa.Integer(), server_default=sa.text("0"), nullable=False
    )
    op.add_column("plan_policies", rollover_cap, schema="billing")
    op.create_check_constraint(
        "plan_policies_rollover_cap_check", "plan_policies", "rollover_cap >= 0", schema="billing"
    )
    op.add_column("lots", sa.Column("period_number", sa.Integer()), schema="billing")
    op.create_index(
        "lots_period_idx",
        "lots",
        ["account_id", "period_number"],
        unique=True,
        schema="billing",
        postgresql_where=sa.text("period_number IS NOT NULL"),
    )
    op.create_index(
        "lots_expiry_idx",
        "lots",
        ["expires_at"],
        schema="billing",
        postgresql_where=sa.text("remaining > 0 AND expires_at IS NOT NULL"),
    )


def downgrade() -> None:
    """Drop the table and the columns."""
    op.drop_index("lots_expiry_idx", "lots", schema="billing")
    op.drop_index("lots_period_idx", "lots", schema="billing")
    op.drop_column("lots", "period_number", schema="billing")
    op.drop_column("plan_policies", "rollover_cap", schema="billing")
    op.drop_table("credit_calendars", schema="billing")
