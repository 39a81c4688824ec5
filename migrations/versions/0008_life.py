"""Create trials, dunning, plan limits, closures, outbox deliveries and the access views."""

from pathlib import Path

from alembic import op

revision = "0008"
down_revision = "0007"

SQL = Path(__file__).parent.parent / "sql"

#: (index, table and columns); built without blocking the main app's writes. They serve: API keys,
#: accounts in trial, deleted accounts due for closing, an account's payments, its sectors.
_INDEXES = (
    (
        "igny8_sites_wp_api_key_billing_idx",
        "igny8_sites (wp_api_key) WHERE wp_api_key <> ''",
    ),
    (
        "igny8_tenants_trial_billing_idx",
        "igny8_tenants (id) WHERE status = 'trial' AND NOT is_deleted",
    ),
    (
        "igny8_tenants_restore_until_billing_idx",
        "igny8_tenants (restore_until) WHERE is_deleted",
    ),
    ("igny8_payments_tenant_id_billing_idx", "igny8_payments (tenant_id, happened_at)"),
    ("igny8_sectors_tenant_id_billing_idx", "igny8_sectors (tenant_id)"),
)


def upgrade() -> None:
    """Create the tables, then build the indexes on the main app's tables concurrently."""
    op.get_bind().exec_driver_sql((SQL / "0008_up.sql").read_text())
    with op.get_context().autocommit_block():
        for name, definition in _INDEXES:
            # An interrupted migration leaves an invalid index, which must be dropped first.
            op.execute(f"DROP INDEX CONCURRENTLY IF EXISTS public.{name}")
            op.execute(f"CREATE INDEX CONCURRENTLY {name} ON public.{definition}")


def downgrade() -> None:
    """Drop them with their rows."""
    for name, _ in _INDEXES:
        op.execute(f"DROP INDEX IF EXISTS public.{name}")
    op.get_bind().exec_driver_sql((SQL / "0008_down.sql").read_text())
