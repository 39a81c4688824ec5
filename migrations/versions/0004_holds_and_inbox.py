"""Create holds, inbox, spend caps, price versions, entry hashes and the main app's functions."""

from pathlib import Path

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB, TIMESTAMP

revision = "0004"
down_revision = "0003"

MOMENT = TIMESTAMP(timezone=True)
SQL = Path(__file__).parent.parent / "sql"

#: (operation, credits per unit, units per price, is fixed): the prices before any row's.
DEFAULT_PRICES = (
    ("clustering", 10, 1, True),
    ("idea_generation", 2, 1, False),
    ("content_generation", 1, 100, False),
    ("image_generation", 5, 1, False),
    ("image_prompt_extraction", 2, 1, True),
)


def upgrade() -> None:
    """Create tables, columns and functions."""
    spent = sa.Column("spent", sa.Integer(), server_default=sa.text("0"), nullable=False)
    op.add_column("books", spent, schema="billing")
    op.add_column("books", sa.Column("spent_since", MOMENT), schema="billing")
    op.add_column("books", sa.Column("chain", sa.LargeBinary()), schema="billing")
    op.create_table(
        "spend_caps",
        sa.Column("account_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("credits", sa.Integer(), nullable=False),
        sa.CheckConstraint("credits >= 0", name="spend_caps_credits_check"),
        sa.PrimaryKeyConstraint("account_id", name="spend_caps_pkey"),
        schema="billing",
    )
    _create_holds()
    _create_inbox()
    _create_prices()
    for file in ("0004_up.sql", "place_hold.sql"):
        op.get_bind().exec_driver_sql((SQL / file).read_text())


def _create_holds() -> None:
    op.create_table(
        "holds",
        sa.Column("key", sa.UUID(), nullable=False),
        sa.Column("key_text", sa.Text(), nullable=False),
        sa.Column("account_id", sa.BigInteger(), nullable=False),
        sa.Column("operation", sa.Text(), nullable=False),
        sa.Column("units", sa.Integer(), nullable=False),
        sa.Column("credits", sa.Integer(), nullable=False),
        sa.Column("lots", JSONB, nullable=False),
        sa.Column("state", sa.Text(), server_default=sa.text("'held'"), nullable=False),
        sa.Column("placed_at", MOMENT, nullable=False),
        sa.Column("expires_at", MOMENT, nullable=False),
        sa.Column("finished_at", MOMENT, nullable=True),
        sa.CheckConstraint(
            "state IN ('held', 'captured', 'released', 'expired')", name="holds_state_check"
        ),
        sa.CheckConstraint("credits >= 0", name="holds_credits_check"),
        sa.PrimaryKeyConstraint("key", name="holds_pkey"),
        schema="billing",
        postgresql_with={"fillfactor": 80},
    )
    for name, column in (("holds_due_idx", "expires_at"), ("holds_open_idx", "account_id")):
        op.create_index(
            name, "holds", [column], schema="billing", postgresql_where=sa.text("state = 'held'")
        )


def _create_inbox() -> None:
    op.create_table(
        "inbox",
        sa.Column("account_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("id", sa.BigInteger(), sa.Identity(), nullable=False),
        sa.Column("task", sa.Text(), nullable=False),
        sa.Column("arguments", JSONB, nullable=False),
        sa.Column("sent_at", MOMENT, server_default=sa.text("clock_timestamp()"), nullable=False),
        sa.PrimaryKeyConstraint("account_id", "id", name="inbox_pkey"),
        schema="billing",
        postgresql_with={"autovacuum_vacuum_scale_factor": 0.01, "autovacuum_vacuum_cost_delay": 0},
    )


def _create_prices() -> None:
    op.create_table(
        "prices",
        sa.Column("id", sa.BigInteger(), sa.Identity(), nullable=False),
        sa.Column("operation", sa.Text(), nullable=False),
        sa.Column("valid_from", MOMENT, nullable=False),
        sa.Column("credits_per_unit", sa.Integer(), nullable=False),
        sa.Column("units_per_price", sa.Integer(), nullable=False),
        sa.Column("is_fixed", sa.Boolean(), nullable=False),
        sa.Column("is_active", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="prices_pkey"),
        schema="billing",
    )
    op.create_index(
        "prices_operation_valid_from_idx",
        "prices",
        ["operation", "valid_from"],
        unique=True,
        schema="billing",
    )
    for operation, credits_per_unit, units_per_price, is_fixed in DEFAULT_PRICES:
        op.execute(
            sa.text(
                "INSERT INTO billing.prices (operation, valid_from, credits_per_unit,"
                " units_per_price, is_fixed, is_active)"
                " VALUES (:operation, '-infinity', :credits, :units, :fixed, true)"
            ).bindparams(
                operation=operation,
                credits=credits_per_unit,
                units=units_per_price,
                fixed=is_fixed,
            )
        )
    # Earlier prices of the main app are unknown: today's are taken as valid since ever.
    op.execute(
        "INSERT INTO billing.prices (operation, valid_from, credits_per_unit, units_per_price,"
        " is_fixed, is_active)"
        " SELECT operation, '1970-01-01Z', credits_per_unit, units_per_price, is_fixed,"
        " is_active AND credits_per_unit >= 0 AND units_per_price >= 1"
        " FROM igny8_credit_cost_configs"
    )


def downgrade() -> None:
    """Drop them with their rows."""
    op.get_bind().exec_driver_sql((SQL / "0004_down.sql").read_text())
    for table in ("prices", "inbox", "holds", "spend_caps"):
        op.drop_table(table, schema="billing")
    for column in ("chain", "spent_since", "spent"):
        op.drop_column("books", column, schema="billing")
