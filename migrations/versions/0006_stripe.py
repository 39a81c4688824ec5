"""Create the tables of Stripe's events, objects and prices, and of purchases."""

from pathlib import Path

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB, TIMESTAMP

revision = "0006"
down_revision = "0005"

MOMENT = TIMESTAMP(timezone=True)
SQL = Path(__file__).parent.parent / "sql"


def upgrade() -> None:
    """Create the tables."""
    _create_purchases()
    _create_events()
    _create_objects()
    _create_prices_and_cursors()
    limit = sa.Column("take_back_debt_limit", sa.Integer(), nullable=True)
    op.add_column("plan_policies", limit, schema="billing")
    op.create_check_constraint(
        "plan_policies_take_back_debt_limit_check",
        "plan_policies",
        "take_back_debt_limit >= 0",
        schema="billing",
    )
    # Credits frozen by a dispute do not count as spending.
    op.get_bind().exec_driver_sql((SQL / "place_hold.sql").read_text())


def _create_purchases() -> None:
    op.create_table(
        "purchases",
        sa.Column("id", sa.BigInteger(), sa.Identity(), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("account_id", sa.BigInteger(), nullable=False),
        sa.Column("origin", sa.Text(), nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("plan_id", sa.BigInteger(), nullable=True),
        sa.Column("credits", sa.Integer(), nullable=False),
        sa.Column("lots", sa.Integer(), nullable=False),
        sa.Column("given", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("cancelled", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("taken_back", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("take_backs", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("undone", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("starts_at", MOMENT, nullable=False),
        sa.Column("ends_at", MOMENT, nullable=True),
        sa.Column("next_due_at", MOMENT, nullable=True),
        sa.Column("recorded_at", MOMENT, nullable=False),
        sa.CheckConstraint("credits > 0", name="purchases_credits_check"),
        sa.CheckConstraint("ends_at > starts_at", name="purchases_ends_at_check"),
        sa.CheckConstraint("given BETWEEN 0 AND lots", name="purchases_given_check"),
        sa.CheckConstraint(
            "taken_back BETWEEN 0 AND credits::bigint * lots", name="purchases_taken_back_check"
        ),
        sa.PrimaryKeyConstraint("id", name="purchases_pkey"),
        schema="billing",
    )
    op.create_index(
        "purchases_account_id_ends_at_idx", "purchases", ["account_id", "ends_at"], schema="billing"
    )
    op.create_index(
        "purchases_due_idx",
        "purchases",
        ["next_due_at"],
        schema="billing",
        postgresql_where=sa.text("next_due_at IS NOT NULL"),
    )
    op.create_index("purchases_key_idx", "purchases", ["key"], unique=True, schema="billing")
    op.create_index("purchases_origin_idx", "purchases", ["origin"], schema="billing")


def _create_events() -> None:
    op.create_table(
        "stripe_events",
        sa.Column("id", sa.BigInteger(), sa.Identity(), nullable=False),
        sa.Column("event_id", sa.Text(), nullable=False),
        sa.Column("digest", sa.LargeBinary(), nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("type", sa.Text(), nullable=True),
        sa.Column("object_id", sa.Text(), nullable=True),
        sa.Column("customer", sa.Text(), nullable=True),
        sa.Column("account_id", sa.BigInteger(), nullable=True),
        sa.Column("payload", JSONB, nullable=True),
        sa.Column("raw", sa.LargeBinary(), nullable=True),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("facts", JSONB, nullable=True),
        sa.Column("attempts", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("deliveries", sa.Integer(), server_default=sa.text("1"), nullable=False),
        sa.Column("happened_at", MOMENT, nullable=True),
        sa.Column("received_at", MOMENT, nullable=False),
        sa.Column("recorded_at", MOMENT, nullable=False),
        sa.Column("due_at", MOMENT, nullable=True),
        sa.Column("finished_at", MOMENT, nullable=True),
        sa.CheckConstraint(
            "state IN ('received', 'applied', 'ignored', 'parked', 'failed', 'refused')",
            name="stripe_events_state_check",
        ),
        sa.PrimaryKeyConstraint("id", name="stripe_events_pkey"),
        schema="billing",
        postgresql_with={"fillfactor": 80},
    )
    for column, name in (("customer", "customer"), ("object_id", "object"), ("reason", "reason")):
        op.create_index(
            f"stripe_events_{name}_idx",
            "stripe_events",
            [column],
            schema="billing",
            postgresql_where=sa.text("state = 'parked'"),
        )
    op.create_index(
        "stripe_events_due_idx",
        "stripe_events",
        ["due_at", "id"],
        schema="billing",
        postgresql_where=sa.text("due_at IS NOT NULL"),
    )
    op.create_index(
        "stripe_events_event_id_digest_idx",
        "stripe_events",
        ["event_id", "digest"],
        unique=True,
        schema="billing",
    )
    op.create_index(
        "stripe_events_open_idx",
        "stripe_events",
        ["id"],
        schema="billing",
        postgresql_where=sa.text("state IN ('parked','failed')"),
    )
    op.create_index(
        "stripe_events_recorded_at_idx", "stripe_events", ["recorded_at"], schema="billing"
    )


def _create_objects() -> None:
    op.create_table(
        "stripe_objects",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("customer", sa.Text(), nullable=True),
        sa.Column("account_id", sa.BigInteger(), nullable=True),
        sa.Column("facts", JSONB, nullable=False),
        sa.Column("version_at", MOMENT, nullable=False),
        sa.Column("rank", sa.ARRAY(sa.BigInteger()), nullable=False),
        sa.Column("digest", sa.LargeBinary(), nullable=False),
        sa.Column("recorded_at", MOMENT, nullable=False),
        sa.PrimaryKeyConstraint("id", name="stripe_objects_pkey"),
        schema="billing",
        postgresql_with={"fillfactor": 70},
    )
    op.create_index(
        "stripe_objects_account_id_kind_idx",
        "stripe_objects",
        ["account_id", "kind"],
        schema="billing",
    )
    op.create_index(
        "stripe_objects_customer_kind_idx", "stripe_objects", ["customer", "kind"], schema="billing"
    )
    op.create_table(
        "stripe_links",
        sa.Column("from_id", sa.Text(), nullable=False),
        sa.Column("to_id", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("from_id", "to_id", name="stripe_links_pkey"),
        schema="billing",
    )
    op.create_index("stripe_links_to_id_idx", "stripe_links", ["to_id"], schema="billing")


def _create_prices_and_cursors() -> None:
    op.create_table(
        "stripe_prices",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("plan_id", sa.BigInteger(), nullable=True),
        sa.Column("credits", sa.Integer(), nullable=True),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("recorded_at", MOMENT, nullable=False),
        sa.CheckConstraint("credits > 0", name="stripe_prices_credits_check"),
        sa.CheckConstraint(
            "plan_id IS NULL OR credits IS NULL", name="stripe_prices_meaning_check"
        ),
        sa.PrimaryKeyConstraint("id", name="stripe_prices_pkey"),
        schema="billing",
    )
    op.create_table(
        "stripe_cursors",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("read_until", MOMENT, nullable=False),
        sa.Column("is_live", sa.Boolean(), nullable=False),
        sa.Column("recorded_at", MOMENT, nullable=False),
        sa.PrimaryKeyConstraint("name", name="stripe_cursors_pkey"),
        schema="billing",
    )


def downgrade() -> None:
    """Drop the tables with their rows."""
    op.drop_column("plan_policies", "take_back_debt_limit", schema="billing")
    for table in (
        "stripe_cursors",
        "stripe_prices",
        "stripe_links",
        "stripe_objects",
        "stripe_events",
        "purchases",
    ):
        op.drop_table(table, schema="billing")
