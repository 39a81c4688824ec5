"""Record for each trial fingerprint whether it was compared, and with what result."""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"


def upgrade() -> None:
    """Add the column; the next sweep compares the existing rows."""
    op.add_column("trial_identities", sa.Column("is_repeated", sa.Boolean()), schema="billing")
    op.create_index(
        "trial_identities_new_idx",
        "trial_identities",
        ["recorded_at", "account_id"],
        schema="billing",
        postgresql_where=sa.text("is_repeated IS NULL"),
    )


def downgrade() -> None:
    """Drop the column and its index."""
    op.drop_index("trial_identities_new_idx", "trial_identities", schema="billing")
    op.drop_column("trial_identities", "is_repeated", schema="billing")
