"""Create the mark of the last matching: the number of invoices that it saw."""

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"


def upgrade() -> None:
    """Create the empty table: the next run matches what waits, and marks it."""
    op.create_table(
        "matching_marks",
        sa.Column("id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("invoices", sa.BigInteger(), nullable=False),
        sa.Column("matched_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("id = 1", name="matching_marks_one_row_check"),
        sa.PrimaryKeyConstraint("id", name="matching_marks_pkey"),
        schema="billing",
    )


def downgrade() -> None:
    """Drop it."""
    op.drop_table("matching_marks", schema="billing")
