"""Let matching find what transfers can concern by indexes: amounts, payments and names."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import ARRAY

revision = "0020"
down_revision = "0019"

#: A name is read anew when its account gets an invoice, and when the main app changes it. The rows
#: are only inserted, so that nobody waits for a run of the matching.
_TRIGGERS = """
CREATE FUNCTION billing.note_customer_name() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, billing, pg_temp AS $$
BEGIN
    INSERT INTO billing.names_to_read (account_id)
    VALUES (CASE TG_TABLE_NAME WHEN 'transfer_invoices' THEN (to_jsonb(NEW)->>'account_id')::bigint
            ELSE (to_jsonb(NEW)->>'id')::bigint END);
    RETURN NULL;
END $$;
REVOKE ALL ON FUNCTION billing.note_customer_name() FROM PUBLIC;
CREATE TRIGGER note_customer_name AFTER INSERT ON billing.transfer_invoices
    FOR EACH ROW EXECUTE FUNCTION billing.note_customer_name();
CREATE TRIGGER billing_note_customer_name AFTER UPDATE OF name, billing_email
    ON public.igny8_tenants FOR EACH ROW
    WHEN (OLD.name IS DISTINCT FROM NEW.name
          OR OLD.billing_email IS DISTINCT FROM NEW.billing_email)
    EXECUTE FUNCTION billing.note_customer_name()
"""
_INDEXES = """
CREATE INDEX CONCURRENTLY IF NOT EXISTS transfer_invoices_open_amount_idx
    ON billing.transfer_invoices (currency, (due_minor - settled_minor - waived_minor))
    WHERE state = 'open';
CREATE INDEX CONCURRENTLY IF NOT EXISTS transfers_currency_amount_minor_booking_date_idx
    ON billing.transfers (currency, amount_minor, booking_date)
"""


def upgrade() -> None:
    """Create the tables, the triggers and the indexes; the first run reads all names."""
    op.create_table(
        "customer_names",
        sa.Column("account_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("words", ARRAY(sa.Text()), nullable=False),
        sa.PrimaryKeyConstraint("account_id", name="customer_names_pkey"),
        schema="billing",
    )
    op.create_index(
        "customer_names_words_idx",
        "customer_names",
        ["words"],
        schema="billing",
        postgresql_using="gin",
    )
    op.create_table(
        "names_to_read",
        sa.Column("id", sa.BigInteger(), sa.Identity(), nullable=False),
        sa.Column("account_id", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="names_to_read_pkey"),
        schema="billing",
    )
    op.execute(_TRIGGERS)
    op.execute(
        "INSERT INTO billing.names_to_read (account_id)"
        " SELECT DISTINCT account_id FROM billing.transfer_invoices"
    )
    with op.get_context().autocommit_block():
        for index in _INDEXES.split(";"):
            op.execute(index)


def downgrade() -> None:
    """Drop them."""
    op.drop_index("transfers_currency_amount_minor_booking_date_idx", "transfers", schema="billing")
    op.drop_index("transfer_invoices_open_amount_idx", "transfer_invoices", schema="billing")
    op.execute(
        "DROP TRIGGER billing_note_customer_name ON public.igny8_tenants;"
        "DROP TRIGGER note_customer_name ON billing.transfer_invoices;"
        "DROP FUNCTION billing.note_customer_name()"
    )
    op.drop_table("names_to_read", schema="billing")
    op.drop_table("customer_names", schema="billing")
