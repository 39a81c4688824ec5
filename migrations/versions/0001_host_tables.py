"""Create the main app's tables on an empty database; on the app's own, add only what is missing.

What this migration did is recorded in `billing.host_changes`, so that a downgrade undoes that and
nothing else.
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB, TIMESTAMP

revision = "0001"
down_revision = None

MOMENT = TIMESTAMP(timezone=True)

TABLES: dict[str, list[sa.schema.SchemaItem]] = {
    "igny8_plans": [
        sa.Column("id", sa.BigInteger(), sa.Identity(), nullable=False),
        sa.Column("slug", sa.String(length=50), nullable=False),
        sa.Column("name", sa.String(length=255), nullable=False),
        sa.Column("price", sa.Numeric(precision=10, scale=2), nullable=False),
        sa.Column("included_credits", sa.Integer(), nullable=False),
        sa.Column("max_sites", sa.Integer(), nullable=False),
        sa.Column("max_users", sa.Integer(), nullable=False),
        sa.Column("features", JSONB, server_default=sa.text("'[]'::jsonb"), nullable=False),
        sa.Column("is_active", sa.Boolean(), server_default=sa.text("true"), nullable=False),
        sa.PrimaryKeyConstraint("id", name="igny8_plans_pkey"),
        sa.UniqueConstraint("slug", name="igny8_plans_slug_key"),
    ],
    "igny8_users": [
        sa.Column("id", sa.BigInteger(), sa.Identity(), nullable=False),
        sa.Column("email", sa.String(length=254), nullable=False),
        sa.Column("role", sa.String(length=20), nullable=False),
        sa.Column("tenant_id", sa.BigInteger(), nullable=True),
        sa.Column("is_superuser", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.PrimaryKeyConstraint("id", name="igny8_users_pkey"),
        sa.UniqueConstraint("email", name="igny8_users_email_key"),
    ],
    "igny8_tenants": [
        sa.Column("id", sa.BigInteger(), sa.Identity(), nullable=False),
        sa.Column("name", sa.String(length=255), nullable=False),
        sa.Column("slug", sa.String(length=255), nullable=False),
        sa.Column("owner_id", sa.BigInteger(), nullable=True),
        sa.Column("plan_id", sa.BigInteger(), nullable=True),
        sa.Column("credits", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column(
            "status", sa.String(length=20), server_default=sa.text("'trial'"), nullable=False
        ),
        sa.Column("stripe_customer_id", sa.String(length=255), nullable=True),
        sa.Column("billing_email", sa.String(length=254), nullable=True),
        sa.Column(
            "billing_address_line1",
            sa.String(length=255),
            server_default=sa.text("''"),
            nullable=False,
        ),
        sa.Column(
            "billing_address_line2",
            sa.String(length=255),
            server_default=sa.text("''"),
            nullable=False,
        ),
        sa.Column(
            "billing_address_city",
            sa.String(length=100),
            server_default=sa.text("''"),
            nullable=False,
        ),
        sa.Column(
            "billing_address_postal_code",
            sa.String(length=20),
            server_default=sa.text("''"),
            nullable=False,
        ),
        sa.Column(
            "billing_address_country",
            sa.String(length=2),
            server_default=sa.text("''"),
            nullable=False,
        ),
        sa.Column("is_deleted", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("deleted_at", MOMENT, nullable=True),
        sa.Column("deleted_by_id", sa.BigInteger(), nullable=True),
        sa.Column("restore_until", MOMENT, nullable=True),
        sa.Column(
            "deletion_retention_days", sa.Integer(), server_default=sa.text("14"), nullable=False
        ),
        sa.Column("created_at", MOMENT, server_default=sa.text("now()"), nullable=False),
        sa.Column("payment_method", sa.String(length=30), nullable=True),
        sa.ForeignKeyConstraint(
            ["deleted_by_id"],
            ["igny8_users.id"],
            name="igny8_tenants_deleted_by_id_fkey",
            initially="DEFERRED",
            deferrable=True,
        ),
        sa.ForeignKeyConstraint(
            ["owner_id"],
            ["igny8_users.id"],
            name="igny8_tenants_owner_id_fkey",
            initially="DEFERRED",
            deferrable=True,
        ),
        sa.ForeignKeyConstraint(
            ["plan_id"],
            ["igny8_plans.id"],
            name="igny8_tenants_plan_id_fkey",
            initially="DEFERRED",
            deferrable=True,
        ),
        sa.PrimaryKeyConstraint("id", name="igny8_tenants_pkey"),
        sa.UniqueConstraint("slug", name="igny8_tenants_slug_key"),
    ],
    "igny8_sites": [
        sa.Column("id", sa.BigInteger(), sa.Identity(), nullable=False),
        sa.Column("tenant_id", sa.BigInteger(), nullable=False),
        sa.Column("industry_id", sa.BigInteger(), nullable=True),
        sa.Column("name", sa.String(length=255), nullable=False),
        sa.Column("slug", sa.String(length=255), nullable=False),
        sa.Column("domain", sa.String(length=200), nullable=True),
        sa.Column("is_active", sa.Boolean(), server_default=sa.text("true"), nullable=False),
        sa.Column(
            "status", sa.String(length=20), server_default=sa.text("'active'"), nullable=False
        ),
        sa.Column("wp_url", sa.String(length=200), nullable=True),
        sa.Column("wp_username", sa.String(length=255), nullable=True),
        sa.Column("wp_app_password", sa.String(length=255), nullable=True),
        sa.Column("wp_api_key", sa.String(length=255), nullable=True),
        sa.ForeignKeyConstraint(
            ["tenant_id"],
            ["igny8_tenants.id"],
            name="igny8_sites_tenant_id_fkey",
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name="igny8_sites_pkey"),
    ],
    "igny8_sectors": [
        sa.Column("id", sa.BigInteger(), sa.Identity(), nullable=False),
        sa.Column("tenant_id", sa.BigInteger(), nullable=False),
        sa.Column("site_id", sa.BigInteger(), nullable=False),
        sa.Column("industry_sector_id", sa.BigInteger(), nullable=True),
        sa.ForeignKeyConstraint(
            ["site_id"], ["igny8_sites.id"], name="igny8_sectors_site_id_fkey", ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["tenant_id"],
            ["igny8_tenants.id"],
            name="igny8_sectors_tenant_id_fkey",
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name="igny8_sectors_pkey"),
    ],
    "igny8_subscriptions": [
        sa.Column("id", sa.BigInteger(), sa.Identity(), nullable=False),
        sa.Column("tenant_id", sa.BigInteger(), nullable=False),
        sa.Column("status", sa.String(length=20), nullable=False),
        sa.Column("stripe_subscription_id", sa.String(length=255), nullable=True),
        sa.Column("current_period_start", MOMENT, nullable=False),
        sa.Column("current_period_end", MOMENT, nullable=False),
        sa.Column(
            "cancel_at_period_end", sa.Boolean(), server_default=sa.text("false"), nullable=False
        ),
        sa.Column("payment_method", sa.String(length=30), nullable=True),
        sa.Column("external_payment_id", sa.String(length=255), nullable=True),
        sa.ForeignKeyConstraint(
            ["tenant_id"],
            ["igny8_tenants.id"],
            name="igny8_subscriptions_tenant_id_fkey",
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name="igny8_subscriptions_pkey"),
        sa.UniqueConstraint(
            "stripe_subscription_id", name="igny8_subscriptions_stripe_subscription_id_key"
        ),
        sa.UniqueConstraint("tenant_id", name="igny8_subscriptions_tenant_id_key"),
    ],
    "igny8_invoices": [
        sa.Column("id", sa.BigInteger(), sa.Identity(), nullable=False),
        sa.Column("tenant_id", sa.BigInteger(), nullable=False),
        sa.Column("number", sa.String(length=100), nullable=True),
        sa.Column("stripe_invoice_id", sa.String(length=255), nullable=True),
        sa.Column("status", sa.String(length=20), nullable=True),
        sa.Column("currency", sa.String(length=3), nullable=True),
        sa.Column("due_minor", sa.BigInteger(), nullable=True),
        sa.Column("paid_minor", sa.BigInteger(), nullable=True),
        sa.Column("issued_at", MOMENT, nullable=True),
        sa.Column("due_at", MOMENT, nullable=True),
        sa.ForeignKeyConstraint(
            ["tenant_id"],
            ["igny8_tenants.id"],
            name="igny8_invoices_tenant_id_fkey",
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name="igny8_invoices_pkey"),
        sa.UniqueConstraint("number", name="igny8_invoices_number_key"),
        sa.UniqueConstraint("stripe_invoice_id", name="igny8_invoices_stripe_invoice_id_key"),
    ],
    "igny8_payments": [
        sa.Column("id", sa.BigInteger(), sa.Identity(), nullable=False),
        sa.Column("tenant_id", sa.BigInteger(), nullable=False),
        sa.Column("invoice_id", sa.BigInteger(), nullable=True),
        sa.Column("method", sa.String(length=30), nullable=True),
        sa.Column("external_payment_id", sa.String(length=255), nullable=True),
        sa.Column("status", sa.String(length=20), nullable=True),
        sa.Column("currency", sa.String(length=3), nullable=True),
        sa.Column("amount_minor", sa.BigInteger(), nullable=True),
        sa.Column("happened_at", MOMENT, nullable=True),
        sa.ForeignKeyConstraint(
            ["invoice_id"],
            ["igny8_invoices.id"],
            name="igny8_payments_invoice_id_fkey",
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["tenant_id"],
            ["igny8_tenants.id"],
            name="igny8_payments_tenant_id_fkey",
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name="igny8_payments_pkey"),
        sa.UniqueConstraint("external_payment_id", name="igny8_payments_external_payment_id_key"),
    ],
    "igny8_credit_transactions": [
        sa.Column("id", sa.BigInteger(), sa.Identity(), nullable=False),
        sa.Column("tenant_id", sa.BigInteger(), nullable=False),
        sa.Column("type", sa.String(length=20), nullable=False),
        sa.Column("amount", sa.Integer(), nullable=False),
        sa.Column("balance_after", sa.Integer(), nullable=False),
        sa.Column("description", sa.String(length=255), nullable=False),
        sa.Column("created_at", MOMENT, server_default=sa.text("now()"), nullable=False),
        sa.Column("idempotency_key", sa.Text(), nullable=True),
        sa.Column("reference", sa.Text(), nullable=True),
        sa.Column("actor", sa.Text(), nullable=True),
        sa.Column("units", sa.Integer(), nullable=True),
        sa.Column("lots_used", JSONB, nullable=True),
        sa.Column("happened_at", MOMENT, nullable=True),
        sa.Column("metadata", JSONB, nullable=True),
        sa.Column("chain", sa.LargeBinary(), nullable=True),
        sa.ForeignKeyConstraint(
            ["tenant_id"],
            ["igny8_tenants.id"],
            name="igny8_credit_transactions_tenant_id_fkey",
            initially="DEFERRED",
            deferrable=True,
        ),
        sa.PrimaryKeyConstraint("id", name="igny8_credit_transactions_pkey"),
    ],
    "igny8_credit_cost_configs": [
        sa.Column("id", sa.BigInteger(), sa.Identity(), nullable=False),
        sa.Column("operation", sa.String(length=50), nullable=False),
        sa.Column("credits_per_unit", sa.Integer(), nullable=False),
        sa.Column("units_per_price", sa.Integer(), server_default=sa.text("1"), nullable=False),
        sa.Column("is_fixed", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("is_active", sa.Boolean(), server_default=sa.text("true"), nullable=False),
        sa.PrimaryKeyConstraint("id", name="igny8_credit_cost_configs_pkey"),
        sa.UniqueConstraint("operation", name="igny8_credit_cost_configs_operation_key"),
    ],
}

#: Columns that the app's tables lack at its migration 0006: those of its planned 0007, and ours.
ADDED = {
    "igny8_tenants": ("payment_method",),
    "igny8_subscriptions": ("payment_method", "external_payment_id"),
    "igny8_invoices": (
        "number",
        "stripe_invoice_id",
        "status",
        "currency",
        "due_minor",
        "paid_minor",
        "issued_at",
        "due_at",
    ),
    "igny8_payments": (
        "invoice_id",
        "method",
        "external_payment_id",
        "status",
        "currency",
        "amount_minor",
        "happened_at",
    ),
    "igny8_credit_transactions": (
        "idempotency_key",
        "reference",
        "actor",
        "units",
        "lots_used",
        "happened_at",
        "metadata",
        "chain",
    ),
}
#: The app's planned 0007 also allows a subscription without Stripe.
MADE_NULLABLE = ("igny8_subscriptions", "stripe_subscription_id")

#: Only on tables that we create; the app's own tables have theirs.
INDEXES = (
    ("igny8_users_tenant_id_idx", "igny8_users", ["tenant_id"], False),
    ("igny8_tenants_owner_id_idx", "igny8_tenants", ["owner_id"], False),
    ("igny8_tenants_plan_id_idx", "igny8_tenants", ["plan_id"], False),
    ("igny8_sites_tenant_id_slug_uniq", "igny8_sites", ["tenant_id", "slug"], True),
)


def upgrade() -> None:
    """Create missing tables and add missing columns."""
    op.execute(
        "CREATE TABLE billing.host_changes (id int GENERATED ALWAYS AS IDENTITY,"
        " what text NOT NULL, table_name text NOT NULL, column_name text)"
    )
    inspector = sa.inspect(op.get_bind())
    there = set(inspector.get_table_names())
    for name, items in TABLES.items():
        if name not in there:
            op.create_table(name, *items)
            _remember("created", name)
        else:
            _complete(inspector, name, items)
    for index, table, columns, is_unique in INDEXES:
        if table not in there:
            op.create_index(index, table, columns, unique=is_unique)
    if "igny8_users" not in there:
        op.create_foreign_key(
            "igny8_users_tenant_id_fkey",
            "igny8_users",
            "igny8_tenants",
            ["tenant_id"],
            ["id"],
            deferrable=True,
            initially="DEFERRED",
        )


def _complete(inspector: sa.Inspector, table: str, items: list[sa.schema.SchemaItem]) -> None:
    columns = {column["name"]: column for column in inspector.get_columns(table)}
    for item in items:
        is_ours = isinstance(item, sa.Column) and item.name in ADDED.get(table, ())
        if is_ours and item.name not in columns:
            op.add_column(table, item)
            _remember("added", table, item.name)
    if table == MADE_NULLABLE[0] and not columns[MADE_NULLABLE[1]]["nullable"]:
        op.alter_column(*MADE_NULLABLE, nullable=True)
        _remember("made nullable", *MADE_NULLABLE)


def _remember(what: str, table: str, column: str | None = None) -> None:
    op.execute(
        sa.text(
            "INSERT INTO billing.host_changes (what, table_name, column_name)"
            " VALUES (:what, :table, :column)"
        ).bindparams(what=what, table=table, column=column)
    )


def downgrade() -> None:
    """Undo what the upgrade did to this database, in reverse order."""
    changes = op.get_bind().execute(
        sa.text("SELECT what, table_name, column_name FROM billing.host_changes ORDER BY id DESC")
    )
    for what, table, column in changes.all():
        if what == "created":
            op.execute(f"DROP TABLE public.{table} CASCADE")
        elif what == "added":
            op.drop_column(table, column)
        elif _has_no_nulls(table, column):
            op.alter_column(table, column, nullable=False)
    op.execute("DROP TABLE billing.host_changes")


def _has_no_nulls(table: str, column: str) -> bool:
    query = sa.text(f"SELECT NOT EXISTS (SELECT FROM public.{table} WHERE {column} IS NULL)")
    return bool(op.get_bind().execute(query).scalar())
