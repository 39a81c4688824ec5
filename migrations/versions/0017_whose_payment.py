"""Add the objects named as an account's; find events with money that has no effect."""

import sqlalchemy as sa
from alembic import op

revision = "0017"
down_revision = "0016"

_FOREIGN, _UNANSWERED = "stripe_events_foreign_idx", "stripe_events_unanswered_idx"


def upgrade() -> None:
    """Create the table and the indexes."""
    op.create_table(
        "stripe_owners",
        sa.Column("object_id", sa.Text(), primary_key=True),
        sa.Column("account_id", sa.BigInteger(), nullable=False, index=True),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("recorded_at", sa.DateTime(timezone=True), nullable=False),
        schema="billing",
    )
    op.create_index(
        _FOREIGN,
        "stripe_events",
        ["object_id"],
        schema="billing",
        postgresql_where=sa.text("state = 'ignored' AND reason = 'ForeignProduct'"),
    )
    op.create_index(
        _UNANSWERED,
        "stripe_events",
        ["id"],
        schema="billing",
        postgresql_where=sa.text(
            "state IN ('ignored', 'failed') AND facts ->> 'amount_minor' IS NOT NULL"
        ),
    )


def downgrade() -> None:
    """Drop them."""
    op.drop_index(_UNANSWERED, "stripe_events", schema="billing")
    op.drop_index(_FOREIGN, "stripe_events", schema="billing")
    op.drop_table("stripe_owners", schema="billing")
