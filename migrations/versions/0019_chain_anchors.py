"""Add the anchors of the hash chains, from which an audit goes on."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import BYTEA, TIMESTAMP

revision = "0019"
down_revision = "0018"

MOMENT = TIMESTAMP(timezone=True)


def upgrade() -> None:
    """Create the tables. No entry is touched: its hash stays, with the version that it has."""
    op.create_table(
        "chain_anchors",
        sa.Column("account_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("entries", sa.BigInteger(), nullable=False),
        sa.Column("entry_id", sa.BigInteger(), nullable=False),
        sa.Column("last_hash", BYTEA, nullable=False),
        sa.Column("balance", sa.BigInteger(), nullable=False),
        sa.Column("mac", BYTEA, nullable=False),
        sa.Column("anchored_at", MOMENT, nullable=False),
        sa.Column(
            "published_entries", sa.BigInteger(), server_default=sa.text("0"), nullable=False
        ),
        sa.PrimaryKeyConstraint("account_id", name="chain_anchors_pkey"),
        schema="billing",
    )
    op.create_table(
        "chain_total",
        sa.Column("id", sa.SmallInteger(), autoincrement=False, nullable=False),
        sa.Column("accounts", sa.BigInteger(), nullable=False),
        sa.Column("digest", BYTEA, nullable=False),
        sa.Column("old_id", sa.BigInteger(), nullable=False),
        sa.Column("old_seen_at", MOMENT, nullable=False),
        sa.Column("old_ended_at", MOMENT, nullable=True),
        sa.Column("full_after", sa.BigInteger(), nullable=True),
        sa.Column("full_began_at", MOMENT, nullable=True),
        sa.Column("full_at", MOMENT, nullable=True),
        sa.Column("mac", BYTEA, nullable=False),
        sa.CheckConstraint("id = 1", name="chain_total_id_check"),
        sa.PrimaryKeyConstraint("id", name="chain_total_pkey"),
        schema="billing",
    )


def downgrade() -> None:
    """Drop the tables; the entries and their hashes stay."""
    op.drop_table("chain_total", schema="billing")
    op.drop_table("chain_anchors", schema="billing")
