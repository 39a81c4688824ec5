"""Let invoices by transfer be paid with an accepted shortfall; remember a question about one."""

from alembic import op

revision = "0014"
down_revision = "0013"


def upgrade() -> None:
    """Add the columns; no row is written."""
    op.execute(
        """
        ALTER TABLE billing.transfer_invoices
            ADD COLUMN waived_minor bigint NOT NULL DEFAULT 0
                CONSTRAINT ck_transfer_invoices_waived_minor CHECK (waived_minor >= 0),
            ADD COLUMN questioned_at timestamptz;
        ALTER TABLE billing.plan_policies
            ADD COLUMN shortfall_minor integer
                CONSTRAINT ck_plan_policies_shortfall_minor CHECK (shortfall_minor >= 0);
        """
    )


def downgrade() -> None:
    """Drop the columns."""
    op.execute(
        """
        ALTER TABLE billing.plan_policies DROP COLUMN shortfall_minor;
        ALTER TABLE billing.transfer_invoices DROP COLUMN questioned_at, DROP COLUMN waived_minor;
        """
    )
