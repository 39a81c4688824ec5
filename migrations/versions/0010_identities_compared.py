"""What shows that an account had a trial before says whether it was compared, and with what end."""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"


def upgrade() -> None:
    """Add the column; what was recorded before is compared by the next sweep."""
    op.add_column("trial_identities", sa.Column("is_repeated", sa.Boolean()), schema="billing")
    op.create_index(
        "trial_identities_new_idx",
        "trial_identities",
        ["recorded_at", "account_id"],
        schema="billing",
        postgresql_where=sa.text("is_repeated IS NULL"),
    )


def downgrade() -> None:
    """Take them away."""
    op.drop_index("trial_identities_new_idx", "trial_identities", schema="billing")
    op.drop_column("trial_identities", "is_repeated", schema="billing")
