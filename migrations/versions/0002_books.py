"""Create our tables: credits, account status, outbox, dead letters, slots, findings."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB, TIMESTAMP

revision = "0002"
down_revision = "0001"

MOMENT = TIMESTAMP(timezone=True)


def upgrade() -> None:
    """Create the tables."""
    op.create_table(
        "books",
        sa.Column("account_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("credits", sa.Integer(), nullable=False),
        sa.Column("debt", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("debt_limit", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("held", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("opened_at", MOMENT, nullable=False),
        sa.Column("opening_credits", sa.Integer(), nullable=False),
        sa.CheckConstraint("credits >= -debt_limit", name="books_floor_check"),
        sa.CheckConstraint("debt BETWEEN 0 AND debt_limit", name="books_debt_check"),
        sa.CheckConstraint("held >= 0", name="books_held_check"),
        sa.PrimaryKeyConstraint("account_id", name="books_pkey"),
        schema="billing",
        postgresql_with={"fillfactor": 50},
    )
    op.create_table(
        "dead_letters",
        sa.Column("id", sa.BigInteger(), sa.Identity(), nullable=False),
        sa.Column("message_id", sa.Text(), nullable=False),
        sa.Column("queue", sa.Text(), nullable=True),
        sa.Column("task", sa.Text(), nullable=True),
        sa.Column("arguments", JSONB, nullable=True),
        sa.Column("raw", sa.LargeBinary(), nullable=True),
        sa.Column("error", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("state", sa.Text(), server_default=sa.text("'open'"), nullable=False),
        sa.Column("first_at", MOMENT, nullable=False),
        sa.Column("last_at", MOMENT, nullable=False),
        sa.Column("closed_by", sa.Text(), nullable=True),
        sa.CheckConstraint(
            "state IN ('open', 'replayed', 'dropped')", name="dead_letters_state_check"
        ),
        sa.PrimaryKeyConstraint("id", name="dead_letters_pkey"),
        schema="billing",
    )
    op.create_index(
        "dead_letters_message_id_idx", "dead_letters", ["message_id"], unique=True, schema="billing"
    )
    op.create_index(
        "dead_letters_open_idx",
        "dead_letters",
        ["id"],
        unique=False,
        schema="billing",
        postgresql_where=sa.text("state = 'open'"),
    )
    op.create_table(
        "findings",
        sa.Column("id", sa.BigInteger(), sa.Identity(), nullable=False),
        sa.Column("check", sa.Text(), nullable=False),
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("facts", JSONB, nullable=False),
        sa.Column("found_at", MOMENT, nullable=False),
        sa.Column("seen_at", MOMENT, nullable=False),
        sa.Column("closed_at", MOMENT, nullable=True),
        sa.PrimaryKeyConstraint("id", name="findings_pkey"),
        schema="billing",
    )
    op.create_index(
        "findings_open_idx",
        "findings",
        ["check", "subject"],
        unique=True,
        schema="billing",
        postgresql_where=sa.text("closed_at IS NULL"),
    )
    op.create_table(
        "keys",
        sa.Column("key", sa.UUID(), nullable=False),
        sa.Column("content", sa.BigInteger(), nullable=False),
        sa.Column("entry_id", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("key", name="keys_pkey"),
        schema="billing",
    )
    op.create_table(
        "lots",
        sa.Column("id", sa.BigInteger(), sa.Identity(), nullable=False),
        sa.Column("account_id", sa.BigInteger(), nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("priority", sa.SmallInteger(), nullable=False),
        sa.Column("is_promotional", sa.Boolean(), nullable=False),
        sa.Column("granted", sa.Integer(), nullable=False),
        sa.Column("remaining", sa.Integer(), nullable=False),
        sa.Column("held", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("starts_at", MOMENT, nullable=True),
        sa.Column("expires_at", MOMENT, nullable=True),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("recorded_at", MOMENT, nullable=False),
        sa.CheckConstraint("expires_at > starts_at", name="lots_expires_at_check"),
        sa.CheckConstraint("granted > 0", name="lots_granted_check"),
        sa.CheckConstraint("held BETWEEN 0 AND remaining", name="lots_held_check"),
        sa.CheckConstraint("remaining BETWEEN 0 AND granted", name="lots_remaining_check"),
        sa.PrimaryKeyConstraint("id", name="lots_pkey"),
        schema="billing",
        postgresql_with={"fillfactor": 50},
    )
    op.create_index(
        "lots_account_id_open_idx",
        "lots",
        ["account_id"],
        unique=False,
        schema="billing",
        postgresql_where=sa.text("remaining > 0"),
    )
    op.create_table(
        "outbox",
        sa.Column("id", sa.BigInteger(), sa.Identity(), nullable=False),
        sa.Column("account_id", sa.BigInteger(), nullable=True),
        sa.Column("type", sa.Text(), nullable=False),
        sa.Column("payload", JSONB, nullable=False),
        sa.Column("happened_at", MOMENT, nullable=False),
        sa.Column("due_at", MOMENT, nullable=False),
        sa.Column("attempts", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("delivered_at", MOMENT, nullable=True),
        sa.PrimaryKeyConstraint("id", name="outbox_pkey"),
        schema="billing",
    )
    op.create_index(
        "outbox_due_idx",
        "outbox",
        ["due_at", "id"],
        unique=False,
        schema="billing",
        postgresql_where=sa.text("delivered_at IS NULL"),
    )
    op.create_table(
        "plan_policies",
        sa.Column("plan_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("debt_limit", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.CheckConstraint("debt_limit >= 0", name="plan_policies_debt_limit_check"),
        sa.PrimaryKeyConstraint("plan_id", name="plan_policies_pkey"),
        schema="billing",
    )
    op.create_table(
        "refusals",
        sa.Column("id", sa.BigInteger(), sa.Identity(), nullable=False),
        sa.Column("account_id", sa.BigInteger(), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("operation", sa.Text(), nullable=False),
        sa.Column("units", sa.Integer(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("facts", JSONB, nullable=False),
        sa.Column("happened_at", MOMENT, nullable=False),
        sa.Column("recorded_at", MOMENT, nullable=False),
        sa.PrimaryKeyConstraint("id", name="refusals_pkey"),
        schema="billing",
    )
    op.create_index(
        "refusals_account_id_id_idx",
        "refusals",
        ["account_id", "id"],
        unique=False,
        schema="billing",
    )
    op.create_index("refusals_key_idx", "refusals", ["key"], unique=False, schema="billing")
    op.create_table(
        "slots",
        sa.Column("job", sa.Text(), nullable=False),
        sa.Column("starts_at", MOMENT, nullable=False),
        sa.Column("claimed_at", MOMENT, nullable=False),
        sa.PrimaryKeyConstraint("job", "starts_at", name="slots_pkey"),
        schema="billing",
    )
    op.create_table(
        "status_changes",
        sa.Column("id", sa.BigInteger(), sa.Identity(), nullable=False),
        sa.Column("account_id", sa.BigInteger(), nullable=False),
        sa.Column("status_from", sa.Text(), nullable=False),
        sa.Column("status_to", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("happened_at", MOMENT, nullable=False),
        sa.PrimaryKeyConstraint("id", name="status_changes_pkey"),
        schema="billing",
    )
    op.create_index(
        "status_changes_account_id_id_idx",
        "status_changes",
        ["account_id", "id"],
        unique=False,
        schema="billing",
    )
    op.create_table(
        "suspensions",
        sa.Column("id", sa.BigInteger(), sa.Identity(), nullable=False),
        sa.Column("account_id", sa.BigInteger(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("status_before", sa.Text(), nullable=False),
        sa.Column("since", MOMENT, nullable=False),
        sa.Column("lifted_at", MOMENT, nullable=True),
        sa.Column("lifted_by", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("id", name="suspensions_pkey"),
        schema="billing",
    )
    op.create_index(
        "suspensions_open_idx",
        "suspensions",
        ["account_id", "reason"],
        unique=True,
        schema="billing",
        postgresql_where=sa.text("lifted_at IS NULL"),
    )


def downgrade() -> None:
    """Drop the tables with their rows."""
    for table in (
        "suspensions",
        "status_changes",
        "slots",
        "refusals",
        "plan_policies",
        "outbox",
        "lots",
        "keys",
        "findings",
        "dead_letters",
        "books",
    ):
        op.drop_table(table, schema="billing")
